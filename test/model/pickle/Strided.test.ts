/** Any view of a storage comes out in the order of its shape, whatever pieces it is read in. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { isContiguous, readView } from "../../../src/model/pickle/Strided.ts"

const Dimension = Schema.Tuple([
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 })),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))
])

describe("Strided", () => {
  it.effect.prop(
    "is what reading element by element gives, in every element size and piece size",
    {
      dimensions: Schema.Array(Dimension).check(Schema.isMaxLength(4)),
      offset: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 })),
      piece: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60 })),
      size: Schema.Literals([1, 2, 4, 8])
    },
    ({ dimensions, offset, piece, size }) =>
      Effect.gen(function* () {
        const shape = dimensions.map(([n]) => n)
        const strides = dimensions.map(([, step]) => step)
        const last = shape.reduce((at, n, i) => at + Math.max(0, n - 1) * strides[i]!, offset)
        const storage = Uint8Array.from({ length: (last + 1) * size }, (_, i) => (i * 37) % 251)
        let largest = 0
        const readAt = async (at: number, length: number) => {
          largest = Math.max(largest, length)
          expect(at + length).toBeLessThanOrEqual(storage.length)
          return storage.slice(at, at + length)
        }
        const expected: Array<number> = []
        const walk = (depth: number, at: number): void => {
          if (depth === shape.length) expected.push(...storage.subarray(at * size, (at + 1) * size))
          else for (let i = 0; i < shape[depth]!; i++) walk(depth + 1, at + i * strides[depth]!)
        }
        walk(0, offset)
        const view = { offset, shape, strides }
        const read = yield* Effect.promise(() => readView(readAt, 0, view, size, piece))
        expect([...read]).toEqual(expected)
        if (!isContiguous(view)) expect(largest).toBeLessThanOrEqual(Math.max(piece, size))
      }),
    { arbitrary: { runs: 500 } }
  )
})
