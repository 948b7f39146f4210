/** Held-out examples are a part of their own: chosen by group and seed, whatever else is in the file. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { mix665k } from "../../datasets/llavaInstruct.ts"
import { shareGpt, shareGptVicuna } from "../../datasets/shareGpt.ts"
import * as Node from "../../src/dag/RunNode.ts"
import type { Examples } from "../../src/nodes/Artifacts.ts"
import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"
import { holdOut, holdOutConversations } from "../../src/nodes/HoldOut.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { splitConversations } from "../../src/nodes/SplitConversations.ts"
import { tokenizeConversations } from "../../src/nodes/TokenizeText.ts"
import { groupOf } from "../../src/text/Group.ts"
import { conversation, conversations, inShards, scratch, shuffled, tokenizerPath } from "./support.ts"

const example = (id: string, group: string): typeof Examples.schema.Type => ({
  id,
  group,
  shard: 0,
  image: -1,
  ids: Int32Array.of(1, 2),
  labels: Int32Array.of(-100, 2),
  imageAt: -1,
  words: -1,
  cut: 0
})
const Group = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const examples = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Group), { maxLength: 80 }), (groups) =>
  groups.map((group, i) => example(`e${i}`, `g${group}`))
)
/** A node gives copies of the rows it was given. */
const placeOf = ({ id }: { readonly id: string }) => Number(id.slice(1))
const ids = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)

describe("holdOut", () => {
  it.effect.prop("is a partition that tears no group apart, in order", [examples], ([rows]) =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(holdOut, { rows }, { share: 0.4, seed: 0 })
      const inOrder = [...out.train, ...out.heldOut].toSorted((a, b) => placeOf(a) - placeOf(b))
      expect(inOrder).toEqual(rows)
      const held = new Set(out.heldOut.map(({ group }) => group))
      expect(out.train.some(({ group }) => held.has(group))).toBe(false)
      expect(ids(out.train)).toEqual(ids(rows.filter(({ group }) => !held.has(group))))
    })
  )

  it.effect.prop("does not depend on shards, order or other rows", [examples], ([rows]) =>
    Effect.gen(function* () {
      const params = { share: 0.4, seed: 3 }
      const { out } = yield* Node.run(holdOut, { rows }, params)
      expect((yield* Node.run(holdOut, { rows: inShards(rows, [5, 0, 1]) }, params)).out).toEqual(out)
      const mixed = yield* Node.run(holdOut, { rows: shuffled(rows) }, params)
      expect(ids(mixed.out.heldOut).toSorted()).toEqual(ids(out.heldOut).toSorted())
      const half = yield* Node.run(holdOut, { rows: rows.slice(0, 10) }, params)
      expect(ids(half.out.heldOut)).toEqual(ids(out.heldOut.filter((row) => placeOf(row) < 10)))
    })
  )

  it.effect("holds out about the share asked for, of caption ids that end in numbers too", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 4000 }, (_, i) => example(`GCC_train_${i}`, `GCC_train_${i}.jpg`))
      const { out } = yield* Node.run(holdOut, { rows }, { share: 0.04, seed: 0 })
      // 160 expected, standard deviation 12.4.
      expect(Math.abs(out.heldOut.length - 160)).toBeLessThan(50)
      expect((yield* Node.run(holdOut, { rows }, { share: 0, seed: 0 })).out.heldOut).toEqual([])
      expect((yield* Node.run(holdOut, { rows }, { share: 1, seed: 0 })).out.train).toEqual([])
    })
  )
})

describe("holdOutConversations", () => {
  it.effect.prop("is the same partition, by the conversation", [conversations], ([rows]) =>
    Effect.gen(function* () {
      const params = { share: 0.4, seed: 3 }
      const { out } = yield* Node.run(holdOutConversations, { rows }, params)
      const asExamples = yield* Node.run(holdOut, { rows: rows.map(({ id }) => example(id, id)) }, params)
      expect(ids(out.train)).toEqual(ids(asExamples.out.train))
      expect(ids(out.heldOut)).toEqual(ids(asExamples.out.heldOut))
      expect(out.train.length + out.heldOut.length).toBe(rows.length)
      expect((yield* Node.run(holdOutConversations, { rows: inShards(rows, [1, 2]) }, params)).out).toEqual(out)
    })
  )
})

/** Rows of talks that came split: the talk's name, and the row with an id that says it by one of the rules. */
const idOf: Readonly<Record<"sharegpt" | "part" | "id" | "field", (talk: number, turn: number) => string>> = {
  sharegpt: (talk, turn) => `Talk0${String(talk).padStart(2, "0")}_${turn}`,
  part: (talk, turn) => `a talk_${talk}_${turn}`,
  id: (talk) => `example_${talk}`,
  field: (talk, turn) => `row ${talk * 31 + turn * 7}`
}
const Piece = Schema.Struct({
  talk: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
  turn: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 })),
  pairs: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))
})
const split = Schema.Struct({
  pieces: Schema.Array(Piece).check(Schema.isMaxLength(40)),
  share: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  seed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  maxTokens: Schema.Int.check(Schema.isBetween({ minimum: 60, maximum: 200 })),
  shards: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))).check(Schema.isMaxLength(4))
})

describe("no group lies on both sides", () => {
  for (const rule of ["sharegpt", "part", "id", "field"] as const)
    it.effect.prop(
      `for any rows, shares, seeds and shards, split by us or before, where groups are said by ${rule}`,
      [Arbitrary.schema(split)],
      ([{ maxTokens, pieces, seed, shards, share }]) =>
        Effect.gen(function* () {
          const folder = yield* scratch
          const file = join(folder, "rows.json")
          const raw = pieces.map(({ pairs, talk, turn }, i) => ({
            ...conversation(
              idOf[rule](talk, turn),
              Array.from({ length: pairs }, (_, k) => [`What is ${k} of ${i}?`, "It is a kettle on a stove."] as const)
            ),
            talk
          }))
          writeFileSync(file, JSON.stringify(raw))
          const group = rule === "field" ? { field: "talk" } : rule
          const read = yield* Node.run(readShareGpt, { file }, { shardRows: 8, group })
          expect(read.out.rows.map(groupOf)).toEqual(
            pieces.map(({ talk }) =>
              rule === "field" ? String(talk) : rule === "id" ? idOf.id(talk, 0) : idOf[rule](talk, 0).slice(0, -2)
            )
          )
          const clean = yield* Node.run(
            cleanShareGpt,
            { rows: inShards(read.out.rows, shards) },
            {
              values: "markdown",
              humanTurns: "reference",
              specialTokens: []
            }
          )
          const sides = { share, seed }
          const cut = (rows: typeof clean.out.rows) =>
            Node.run(
              splitConversations,
              { rows: inShards(rows, shards), tokenizer: tokenizerPath },
              { maxTokens, perMessage: 6 }
            )
          const groupsOf = (rows: ReadonlyArray<{ readonly id: string; readonly group?: string }>) =>
            new Set(rows.map(groupOf))
          const apart = ({
            heldOut,
            train
          }: {
            readonly [side in "train" | "heldOut"]: ReadonlyArray<{ readonly id: string; readonly group?: string }>
          }) => expect([...groupsOf(train)].filter((one) => groupsOf(heldOut).has(one))).toEqual([])

          const before = yield* Node.run(holdOutConversations, { rows: inShards(clean.out.rows, shards) }, sides)
          apart(before.out)
          const [train, heldOut] = [yield* cut(before.out.train), yield* cut(before.out.heldOut)]
          apart({ train: train.out.rows, heldOut: heldOut.out.rows })
          const parts = yield* cut(clean.out.rows)
          const after = yield* Node.run(holdOutConversations, { rows: inShards(parts.out.rows, shards) }, sides)
          apart(after.out)
          const inputs = { rows: inShards(parts.out.rows, shards), tokenizer: tokenizerPath }
          const examples = yield* Node.run(tokenizeConversations, inputs, { maxTokens: 4096 })
          const measured = yield* Node.run(holdOut, { rows: inShards(examples.out.rows, shards) }, sides)
          apart(measured.out)
          // Three ways, one partition: a talk is on the same side wherever it is split.
          expect(ids(measured.out.heldOut)).toEqual(ids(after.out.heldOut))
          expect(ids(heldOut.out.rows).toSorted()).toEqual(ids(after.out.heldOut).toSorted())
        }),
      { arbitrary: { runs: 25 } }
    )

  it.effect("the copies of ShareGPT say so of themselves, also the one that came split", () =>
    Effect.gen(function* () {
      const { group } = shareGptVicuna.files.rows
      expect([shareGpt.files.part1.group, mix665k.files.rows.group, group]).toEqual([
        "sharegpt",
        "sharegpt",
        "sharegpt"
      ])
      const file = join(yield* scratch, "ShareGPT_unfiltered_cleaned_split.json")
      const ids = ["QWJhYvA_0", "QWJhYvA_16", "QWJhYvA_16_4", "i6IyJda_0", "identity_3"]
      const rows = ids.map((id) => conversation(id, [["So?", "Yes."]]))
      writeFileSync(file, JSON.stringify(rows))
      const { out } = yield* Node.run(readShareGpt, { file }, { shardRows: 8, group: group! })
      expect(out.rows.map(groupOf)).toEqual(["QWJhYvA", "QWJhYvA", "QWJhYvA", "i6IyJda", "identity_3"])
    })
  )

  it.effect("also of rows that no reader of ours gave, where their ids are ShareGPT's and came split", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 200 }, (_, i) =>
        [0, 4, 8].map((part) =>
          conversation(`Conv${String(i).padStart(3, "0")}_${part}`, [["What is it?", "A kettle."]])
        )
      ).flat()
      const talk = (row: { readonly id: string }) => row.id.slice(0, 7)
      const both = (out: { readonly [side in "train" | "heldOut"]: ReadonlyArray<{ readonly id: string }> }) => {
        expect(out.heldOut.length).toBeGreaterThan(30)
        const train = new Set(out.train.map(talk))
        return out.heldOut.filter((row) => train.has(talk(row)))
      }
      const sides = { share: 0.1, seed: 0 }
      expect(both((yield* Node.run(holdOutConversations, { rows }, sides)).out)).toEqual([])
      const inputs = { rows, tokenizer: tokenizerPath }
      const parts = yield* Node.run(splitConversations, inputs, { maxTokens: 384, perMessage: 6 })
      const examples = yield* Node.run(
        tokenizeConversations,
        { rows: parts.out.rows, tokenizer: tokenizerPath },
        { maxTokens: 384 }
      )
      expect(both((yield* Node.run(holdOut, { rows: examples.out.rows }, sides)).out)).toEqual([])
    })
  )

  it.effect("a row without the field that names its group is refused", () =>
    Effect.gen(function* () {
      const file = join(yield* scratch, "rows.json")
      const talk = conversation("a", [["What is it?", "A kettle."]])
      writeFileSync(file, JSON.stringify([{ ...talk, talk: 7 }, talk, { ...talk, talk: null }, { ...talk, talk: "x" }]))
      const { out, refused } = yield* Node.run(readShareGpt, { file }, { shardRows: 8, group: { field: "talk" } })
      expect(out.rows.map(groupOf)).toEqual(["7", "x"])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [1, "BadRow"],
        [2, "BadRow"]
      ])
    })
  )
})
