/** Examples carry loss on the answers and nothing else, and know their image and their group. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { controlIds, loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { tokenizeConversations, tokenizePictured } from "../../src/nodes/TokenizeText.ts"
import { conversation, conversations, pairs, tokenizerPath, towerOf } from "./support.ts"

const open = Effect.gen(function* () {
  const tokenizer = yield* loadTokenizer({ path: tokenizerPath })
  return { tokenizer, ...(yield* controlIds(tokenizer, tokenizerPath)) }
})
/** Text of the tokens that carry loss, runs of them apart. */
const learned = (labels: Int32Array, decode: (ids: ReadonlyArray<number>) => string): ReadonlyArray<string> => {
  const runs: Array<Array<number>> = []
  labels.forEach((label, i) => {
    if (label === -100) return
    if (i === 0 || labels[i - 1] === -100) runs.push([])
    runs[runs.length - 1]!.push(label)
  })
  return runs.map(decode)
}

describe("tokenizeConversations", () => {
  it.effect.prop("labels are exactly the answers and their ends", [conversations], ([rows]) =>
    Effect.gen(function* () {
      const { eosId, tokenizer } = yield* open
      const given = rows.map((row, i) => ({
        ...row,
        id: `Talk${100 + i}_4`,
        ...(i % 2 === 0 ? { group: row.id } : {})
      }))
      const inputs = { rows: given, tokenizer: tokenizerPath }
      const { out, refused } = yield* Node.run(tokenizeConversations, inputs, { maxTokens: 4096 })
      expect(refused).toEqual([])
      expect(out.rows.map(({ group, id }) => [id, group])).toEqual(
        given.map(({ group, id }) => [id, group ?? id.slice(0, -2)])
      )
      for (const [i, example] of out.rows.entries()) {
        const answers = rows[i]!.conversations.filter(({ from }) => from === "gpt").map(({ value }) => value)
        const found = learned(example.labels, (ids) => {
          expect(ids[ids.length - 1]).toBe(eosId)
          return tokenizer.decode(ids.slice(0, -1)).trimStart()
        })
        expect(found).toEqual(answers)
        example.labels.forEach((label, t) => {
          if (label !== -100) expect(label).toBe(example.ids[t])
        })
        expect([example.image, example.imageAt, example.cut]).toEqual([-1, -1, 0])
        expect(example.words).toBeLessThan(0)
      }
    })
  )

  it.effect("cuts at the limit, says how much, and refuses what has nothing left to learn", () =>
    Effect.gen(function* () {
      const inputs = { rows: [conversation("a_0", [["Hi.", "A long reply. ".repeat(50)]])], tokenizer: tokenizerPath }
      const whole = yield* Node.run(tokenizeConversations, inputs, { maxTokens: 4096 })
      const length = whole.out.rows[0]!.ids.length
      const cut = yield* Node.run(tokenizeConversations, inputs, { maxTokens: length - 7 })
      expect([cut.out.rows[0]!.ids.length, cut.out.rows[0]!.cut]).toEqual([length - 7, 7])
      const none = yield* Node.run(tokenizeConversations, inputs, { maxTokens: 8 })
      expect(none.out.rows).toEqual([])
      expect(none.refused.map(({ reason }) => reason)).toEqual(["BadExample: NothingToLearn"])
    })
  )
})

const Pictured = Arbitrary.map(
  Arbitrary.array(Arbitrary.all([pairs, Arbitrary.schema(Schema.Boolean)]), { maxLength: 12 }),
  (all) =>
    all.map(([of, image], i) => ({
      ...conversation(`r${i}`, image ? of.map(([q, a], k) => [k === 0 ? `<image>\n${q}` : q, a] as const) : of),
      image: image ? `p${i % 4}.jpg` : null
    }))
)

describe("tokenizePictured", () => {
  for (const template of ["plain", "v1"] as const)
    it.effect.prop(
      `${template}: one placeholder a patch in pictured rows, loss on answers alone`,
      [Pictured],
      ([rows]) =>
        Effect.gen(function* () {
          const { imageId, tokenizer } = yield* open
          const inputs = { rows, tokenizer: tokenizerPath, vision: yield* towerOf(2) }
          const { out, refused } = yield* Node.run(tokenizePictured, inputs, { template, maxTokens: 4096 })
          expect(refused).toEqual([])
          let pictures = 0
          for (const [i, example] of out.rows.entries()) {
            const row = rows[i]!
            const places = [...example.ids.keys()].filter((t) => example.ids[t] === imageId)
            if (row.image === null) expect([places, example.imageAt, example.image]).toEqual([[], -1, -1])
            else {
              expect(places).toEqual([0, 1, 2, 3].map((k) => example.imageAt + k))
              expect(example.image).toBe(pictures++)
            }
            expect(example.group).toBe(row.image ?? row.id)
            expect(Math.sign(example.words)).toBe(row.image === null ? -1 : 1)
            for (const t of places) expect(example.labels[t]).toBe(-100)
            const answers = row.conversations.filter(({ from }) => from === "gpt").map(({ value }) => value)
            const found = learned(example.labels, (ids) => tokenizer.decode(ids, { skipSpecial: true }))
            if (template === "plain") expect(found.join("")).toBe(answers.map((answer) => `${answer}\n`).join(""))
            else expect(found.map((text) => text.trimStart())).toEqual(answers)
          }
        })
    )

  it.effect("counts pictures past refused rows, and refuses a picture that does not fit whole", () =>
    Effect.gen(function* () {
      const of = (id: string, reply: string) => ({
        ...conversation(id, [["<image>\nWhat?", reply]]),
        image: `${id}.jpg`
      })
      const rows = [of("a", "One."), of("b", ""), of("c", "Three.")]
      const inputs = { rows, tokenizer: tokenizerPath, vision: yield* towerOf(2) }
      const { out, refused } = yield* Node.run(tokenizePictured, inputs, { template: "v1", maxTokens: 4096 })
      expect(out.rows.map(({ id, image }) => [id, image])).toEqual([
        ["a", 0],
        ["c", 2]
      ])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([[1, "BadExample: EmptyAnswer"]])
      const fine = { ...inputs, vision: yield* towerOf(8) }
      const wide = yield* Node.run(tokenizePictured, fine, { template: "v1", maxTokens: 40 })
      expect(wide.refused.map(({ reason }) => reason)).toContain("BadExample: ImageDoesNotFit")
    })
  )

  it.effect("parts of one ShareGPT conversation in a mixture share a group; other numbered ids do not", () =>
    Effect.gen(function* () {
      const ids = ["wgByO4Y_0", "wgByO4Y_8", "text_1", "text_2"]
      const rows = ids.map((id) => ({ ...conversation(id, [["Hi.", "Hello."]]), image: null }))
      const inputs = { rows, tokenizer: tokenizerPath, vision: yield* towerOf(2) }
      const groups = (params: { readonly group?: "part" | "id" }) =>
        Effect.map(Node.run(tokenizePictured, inputs, { template: "v1", maxTokens: 512, ...params }), ({ out }) =>
          out.rows.map(({ group }) => group)
        )
      expect(yield* groups({})).toEqual(["wgByO4Y", "wgByO4Y", "text_1", "text_2"])
      expect(yield* groups({ group: "part" })).toEqual(["wgByO4Y", "wgByO4Y", "text", "text"])
      expect(yield* groups({ group: "id" })).toEqual(ids)
    })
  )

  it.effect("rows about one image share its group, however its name is written", () =>
    Effect.gen(function* () {
      const images = ["coco/a.jpg", "./coco/a.jpg", "coco//a.jpg", "coco/b.jpg"]
      const rows = images.map((image, i) => ({ ...conversation(`r${i}`, [["<image>\nWhat?", "A kettle."]]), image }))
      const inputs = { rows, tokenizer: tokenizerPath, vision: yield* towerOf(2) }
      const { out } = yield* Node.run(tokenizePictured, inputs, { template: "v1", maxTokens: 512 })
      expect(out.rows.map(({ group }) => group)).toEqual(["coco/a.jpg", "coco/a.jpg", "coco/a.jpg", "coco/b.jpg"])
    })
  )
})
