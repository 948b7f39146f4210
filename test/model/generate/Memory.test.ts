/** A cached row gives the same tokens as a fresh one, computes only new tokens, and frees its memory. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { type GenerateOptions, generateLlava } from "../../../src/model/Generate.ts"
import { type Row, remembering } from "../../../src/model/generate/Memory.ts"
import { segmentsOfLengths } from "../../../src/model/TokenBatch.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import type { Weights } from "../../../src/tensor/Ops.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { tinyLlava, uploadLlava } from "../support.ts"

const IMAGE = Array<number>(4).fill(tinyLlava.imageToken)
const pictures = [1, 2].map((seed) => Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (i * 37 * seed) % 256))

const ids = (stream: ReturnType<typeof generateLlava>) =>
  Effect.map(Stream.runCollect(stream), (tokens) => tokens.map(({ id }) => id))

const atOnce = (weights: Weights, { ids_T, pixels_HWC }: Row, options: GenerateOptions) =>
  ids(
    generateLlava(
      weights,
      tinyLlava,
      {
        rows: 1,
        time: ids_T.length,
        ids_BT: ids_T,
        segments_BT: segmentsOfLengths([ids_T.length], ids_T.length),
        labels_BT: new Int32Array(ids_T.length).fill(-100),
        images: pixels_HWC === undefined ? 0 : 1,
        pixels: pixels_HWC ?? new Uint8Array(0)
      },
      [ids_T.length],
      options
    )
  )

/** The engine, counting the tokens whose embeddings are looked up in `seen`. */
const counting = (seen: Array<number>) =>
  Effect.map(Tensors, (tensors) =>
    Tensors.of({
      ...tensors,
      run: (f) =>
        tensors.run((c) =>
          f({
            ...c,
            rows: (table, at) => {
              if (table.shape[0] === tinyLlava.text.vocabSize) seen.push(at.size)
              return c.rows(table, at)
            }
          })
        )
    })
  )

const Token = Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 59 }))
const Turn = Schema.Struct({
  /** Which image the row has, 0 for none. */
  picture: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })),
  /** How many tokens of the row before it keeps at most. */
  keeps: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })),
  adds: Schema.NonEmptyArray(Token).check(Schema.isMaxLength(5)),
  asks: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))
})

describe("remembering", () => {
  it.effect.prop(
    "rows in any order have the tokens of rows read at once, and nothing leaks",
    { turns: Schema.NonEmptyArray(Turn).check(Schema.isMaxLength(6)) },
    ({ turns }) =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const weights = yield* uploadLlava
        // The first row leaves a table of rotary angles, which the engine keeps.
        yield* atOnce(weights, { ids_T: Int32Array.of(2), pixels_HWC: undefined }, { maxNewTokens: 1 })
        const before = (yield* tensors.memory).tensors
        yield* Effect.scoped(
          Effect.gen(function* () {
            const continued = yield* remembering(weights, tinyLlava)
            let said: ReadonlyArray<number> = []
            for (const { adds, asks, keeps, picture } of turns) {
              const words = said.filter((id) => id !== tinyLlava.imageToken).slice(0, keeps)
              const pixels_HWC = pictures[picture - 1]
              const row = {
                pixels_HWC,
                ids_T: Int32Array.from([2, ...(pixels_HWC === undefined ? [] : IMAGE), ...words.slice(1), ...adds])
              }
              const made = yield* ids(continued(row, { maxNewTokens: asks }))
              expect(made).toEqual(yield* atOnce(weights, row, { maxNewTokens: asks }))
              said = [...row.ids_T, ...made]
            }
          })
        )
        expect((yield* tensors.memory).tensors).toBe(before)
        yield* tensors.free(weights)
      }).pipe(Effect.provide(Engine.wasm)),
    { arbitrary: { runs: 40 } }
  )

  it.effect("a next turn reads its own tokens, a picture is seen once, another picture begins anew", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const tensors = yield* counting(seen)
      yield* Effect.gen(function* () {
        const continued = yield* remembering(yield* uploadLlava, tinyLlava)
        const first = Int32Array.from([2, ...IMAGE, 7, 8, 9])
        const made = yield* ids(continued({ ids_T: first, pixels_HWC: pictures[0] }, { maxNewTokens: 3 }))
        expect(seen.splice(0)).toEqual([8, 1, 1])
        const next = Int32Array.from([...first, ...made, 11, 12])
        yield* ids(continued({ ids_T: next, pixels_HWC: pictures[0] }, { maxNewTokens: 2 }))
        // The third new token was never read, since nothing came after it.
        expect(seen.splice(0)).toEqual([3, 1])
        yield* ids(continued({ ids_T: next, pixels_HWC: pictures[1] }, { maxNewTokens: 1 }))
        expect(seen.splice(0)).toEqual([next.length])
      }).pipe(Effect.provideService(Tensors, tensors))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
