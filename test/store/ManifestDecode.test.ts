/** Lists of shards are decoded by hand, for speed, with the same results and refusals as the Schema. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { decoder } from "../../src/store/Checksum.ts"
import { decodeManifest, Manifest, OutputEntry, ShardEntry } from "../../src/store/Manifest.ts"
import { codeOf, partsOf } from "./Support.ts"

const bySchema = decoder(Manifest)

const manifestOf = (outputs: Manifest["outputs"]): Manifest => ({
  format: 2,
  key: "key",
  code: codeOf("code"),
  parts: partsOf("node"),
  parents: {},
  outputs,
  rowsIn: 0,
  refused: {},
  refusedFiles: [],
  begunBy: [],
  peakMemory: 0
})

/** As it comes from a file: parsed, so that nothing is shared and nothing is undefined. */
const parsed = (value: unknown): any => JSON.parse(JSON.stringify(value))

type Place = { readonly holder: any; readonly name: string }
/** Every field and item below a value; those of shards often enough that edits meet them. */
const placesIn = (holder: any): ReadonlyArray<Place> =>
  typeof holder !== "object" || holder === null
    ? []
    : Object.keys(holder).flatMap((name) => [{ holder, name }, ...placesIn(holder[name])])

const Edit = Schema.Struct({
  at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })),
  how: Schema.Literals(["remove", "replace", "add", "prototype", "sums"]),
  value: Schema.Json
})

const edit = (manifest: any, { at, how, value }: typeof Edit.Type): void => {
  const places = placesIn(manifest.outputs)
  if (places.length === 0) return
  const { holder, name } = places[at % places.length]!
  if (how === "remove") {
    if (Array.isArray(holder)) holder.splice(Number(name), 1)
    else delete holder[name]
  } else if (how === "replace") holder[name] = value
  else {
    const field = how === "add" ? "more" : how === "sums" ? "sums" : "__proto__"
    Object.defineProperty(holder, field, { value, enumerable: true, configurable: true, writable: true })
  }
}

const Rows = Schema.Struct({
  kind: Schema.Literal("rows"),
  tag: Schema.String,
  format: Schema.String,
  transient: Schema.Boolean,
  digest: Schema.String,
  rows: Schema.Int,
  bytes: Schema.Int,
  shards: Schema.Array(ShardEntry)
})

describe("decoding a manifest", () => {
  it.prop(
    "gives and refuses what the Schema does, of manifests and of ones that were altered",
    {
      outputs: Schema.Record(Schema.String, Schema.Union([Rows, OutputEntry])),
      edits: Schema.Array(Edit).check(Schema.isMaxLength(4))
    },
    ({ edits, outputs }) => {
      const input = parsed(manifestOf(outputs))
      for (const one of [undefined, ...edits]) {
        if (one !== undefined) edit(input, one)
        for (const exact of [false, true]) {
          const before = JSON.stringify(input)
          const [is, says] = [decodeManifest, bySchema].map((decode) =>
            Result.try({ try: () => decode(input, exact), catch: () => "refused" })
          )
          assert.deepStrictEqual(is, says)
          assert.strictEqual(JSON.stringify(input), before)
        }
      }
    },
    { arbitrary: { runs: 150 } }
  )

  it("takes a list as it is only if each shard has the fields of one and no others", () => {
    const shard = { file: "00000.jsonl", rows: 1, bytes: 2, sha256: "3" }
    const taken = (second: object): boolean => {
      const rows = { kind: "rows", tag: "t", format: "f", transient: false, digest: "d", rows: 1, bytes: 2 } as const
      const input = parsed(manifestOf({ rows: { ...rows, shards: [shard, second as ShardEntry] } }))
      const output = decodeManifest(input, false).outputs["rows"]
      return output?.kind === "rows" && output.shards === input.outputs.rows.shards
    }
    assert.isTrue(taken(shard))
    assert.isTrue(taken({ ...shard, sums: "4" }))
    assert.isFalse(taken({ ...shard, more: "4" }))
    const wrong = { rows: "1", bytes: null, file: 1, sha256: {}, sums: 5 }
    for (const [name, value] of Object.entries(wrong)) assert.throws(() => taken({ ...shard, [name]: value }))
  })
})
