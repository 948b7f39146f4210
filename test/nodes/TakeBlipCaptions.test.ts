/**
 * BLIP's captions meet their rows by id, whatever the order of the two files; rows without one go where the parameter
 * says.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { readCaptions } from "../../src/nodes/ReadLlava.ts"
import { takeBlipCaptions } from "../../src/nodes/TakeBlipCaptions.ts"
import { inShards, sample, scratch, shuffled } from "./support.ts"

const row = (id: string) => ({
  id,
  image: `${id}.jpg`,
  caption: `raw ${id}`,
  conversations: [
    { from: "human" as const, value: "<image>\nDescribe it." },
    { from: "gpt" as const, value: `raw ${id}` }
  ]
})
type Row = ReturnType<typeof row>
const write = Effect.fnUntraced(function* (metadata: ReadonlyArray<unknown> | string) {
  const file = join(yield* scratch, "metadata.json")
  writeFileSync(file, typeof metadata === "string" ? metadata : JSON.stringify(metadata))
  return file
})
const run = Effect.fnUntraced(function* (
  rows: ReadonlyArray<Row>,
  metadata: ReadonlyArray<unknown> | string,
  params: { readonly blip?: "only" | "beside"; readonly missing?: "refuse" | "raw" } = {},
  sizes: ReadonlyArray<number> = []
) {
  const inputs = { rows: inShards(rows, sizes), metadata: yield* write(metadata) }
  return yield* Node.run(takeBlipCaptions, inputs, { shardRows: 4, blip: "only", missing: "refuse", ...params })
})
const entry = (id: string, blip_caption?: string | null) => ({
  id,
  image: `${id}.jpg`,
  caption: "x",
  url: "u",
  blip_caption
})

/** Rows of which some are in the metadata, some with a caption, in another order and among strangers. */
const Fate = Schema.Literals(["captioned", "empty", "null", "without", "absent", "stranger"])
const tables = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Fate), { maxLength: 40 }), (fates) => {
  const captions: Record<(typeof fates)[number], string | null | undefined> = {
    captioned: "an image 日本",
    empty: " ",
    null: null,
    without: undefined,
    absent: undefined,
    stranger: "who?"
  }
  return {
    fates: fates.filter((fate) => fate !== "stranger"),
    rows: fates.flatMap((fate, i) => (fate === "stranger" ? [] : [row(`r${i}`)])),
    metadata: shuffled(
      fates.flatMap((fate, i) => {
        const caption = fate === "captioned" ? `${captions[fate]}${i}` : captions[fate]
        return fate === "absent" ? [] : [entry(`r${i}`, caption)]
      })
    )
  }
})

describe("takeBlipCaptions", () => {
  it.effect.prop("takes each row's own caption, and says of every row without one what it lacks", [tables], ([table]) =>
    Effect.gen(function* () {
      const { fates, metadata, rows } = table
      const { out, refused } = yield* run(rows, metadata)
      const captioned = rows.filter((_, i) => fates[i] === "captioned")
      expect(out.rows.map(({ id }) => id)).toEqual(captioned.map(({ id }) => id))
      for (const one of out.rows) {
        expect(one.caption).toBe(`an image 日本${one.id.slice(1)}`)
        expect(one.conversations[1]).toEqual({ from: "gpt", value: one.caption })
        expect(one.conversations[0]).toEqual(rows[0]!.conversations[0])
      }
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
        fates.flatMap((fate, i) =>
          fate === "captioned" ? [] : [[i, `NoBlipCaption: ${fate === "absent" ? "NotInMetadata" : "NoCaption"}`]]
        )
      )
    })
  )

  it.effect.prop("beside the raw ones: every row stays, some twice; shards change nothing", [tables], ([table]) =>
    Effect.gen(function* () {
      const { fates, metadata, rows } = table
      const params = { blip: "beside", missing: "raw" } as const
      const { out, refused } = yield* run(rows, metadata, params)
      expect(refused).toEqual([])
      expect(out.rows.map(({ id }) => id)).toEqual(
        rows.flatMap(({ id }, i) => (fates[i] === "captioned" ? [id, `${id}/blip`] : [id]))
      )
      expect(out.rows.filter(({ id }) => !id.endsWith("/blip"))).toEqual(rows)
      expect(yield* run(rows, metadata, params, [3, 0, 7])).toEqual({ out, refused })
    })
  )

  it.effect("a row of metadata that cannot be used is refused, and its picture is one without metadata", () =>
    Effect.gen(function* () {
      const metadata = `[${JSON.stringify(entry("a", "first"))}, {"id": true}, {bad}, ${JSON.stringify(entry("a", "second"))}]`
      const { out, refused } = yield* run([row("a"), row("b")], metadata, { missing: "raw" })
      expect(out.rows.map(({ caption }) => caption)).toEqual(["first", "raw b"])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [1, "BadMetadataRow"],
        [2, "BadJsonRow: syntax"],
        [3, "BadMetadataRow"]
      ])
      expect((yield* Effect.flip(run([row("a")], "{}"))).reason).toBe("not-an-array")
    })
  )

  it.effect("the sample: nine in ten rows have a caption by BLIP", () =>
    Effect.gen(function* () {
      const read = yield* Node.run(readCaptions, { file: sample("cc595k/chat.json") }, { shardRows: 256 })
      const inputs = { rows: read.out.rows, metadata: sample("cc595k/metadata.json") }
      const { out, refused } = yield* Node.run(takeBlipCaptions, inputs, {
        shardRows: 256,
        blip: "only",
        missing: "refuse"
      })
      const metadata = JSON.parse(readFileSync(sample("cc595k/metadata.json"), "utf8")) as ReadonlyArray<{
        readonly id: string
        readonly blip_caption?: string
      }>
      const wanted = metadata.filter((one) => one.blip_caption !== undefined)
      expect(out.rows.map(({ caption, id }) => [id, caption])).toEqual(wanted.map((one) => [one.id, one.blip_caption]))
      expect([out.rows.length + refused.length, new Set(refused.map(({ reason }) => reason))]).toEqual([
        1200,
        new Set(["NoBlipCaption: NoCaption"])
      ])
    })
  )
})
