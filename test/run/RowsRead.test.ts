/** Rows read are reported per input, from the entries that were read. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import llavaPhi from "../../pipelines/llava-phi.ts"
import { build } from "../../src/run/Recipe.ts"
import { rowsReadByPort } from "../../src/run/RowsRead.ts"
import type { Manifest } from "../../src/store/Manifest.ts"
import { Store } from "../../src/store/Store.ts"

const { nodes } = build(llavaPhi, { preset: "sample", settings: [], engine: "wasm" })
const node = (id: string) => nodes.find((one) => one.id === id)!

/** Entries by key: the rows of each output, whose digest is its name and key. */
const storeOf = (entries: Readonly<Record<string, Readonly<Record<string, number>>>>) =>
  Layer.succeed(Store, {
    find: (key: string) =>
      Effect.succeed(
        key in entries
          ? [
              {
                manifest: {
                  outputs: Object.fromEntries(
                    Object.entries(entries[key]!).map(([port, rows]) => [
                      port,
                      { kind: "rows", rows, digest: `${key}.${port}` }
                    ])
                  )
                }
              }
            ]
          : []
      )
  } as unknown as Store["Service"])

const parents = { data: "kept", heldOut: "kept", images: "features" }
const inputs = { data: "kept.train", heldOut: "kept.heldOut", images: "features.rows" }
const manifest = { parents, parts: { inputs } } as unknown as Manifest
const kept = { train: 2697, heldOut: 113 }

it.effect("one number an input, in the order of the declaration", () =>
  Effect.gen(function* () {
    const read = yield* rowsReadByPort(node("instruct/train"), manifest)
    expect(Object.entries(read!)).toEqual([
      ["data", 2697],
      ["heldOut", 113],
      ["images", 2750]
    ])
    // One input of rows, and none: the sum says it.
    expect(yield* rowsReadByPort(node("filterCaptions"), manifest)).toBeUndefined()
    expect(yield* rowsReadByPort(node("initLanguageModel"), manifest)).toBeUndefined()
  }).pipe(Effect.provide(storeOf({ kept, features: { rows: 2750 } })))
)

it.effect("nothing where an input is not in the store any more, or holds other rows now", () =>
  Effect.gen(function* () {
    expect(yield* rowsReadByPort(node("instruct/train"), manifest)).toBeUndefined()
    const other = { parents, parts: { inputs: { ...inputs, data: "another digest" } } } as unknown as Manifest
    expect(yield* rowsReadByPort(node("instruct/train"), other)).toBeUndefined()
  }).pipe(Effect.provide(storeOf({ kept })))
)
