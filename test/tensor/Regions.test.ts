/**
 * Every native region equals its plain form: values within 2e-6, gradients within 2e-5 (norm of the difference over norm),
 * and the plain form on wasm equals the plain form on the independent cpu backend.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Engine from "../../src/tensor/Engine.ts"
import type { Tensor } from "../../src/tensor/Ops.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { stream } from "../../src/tensor/Random.ts"
import type { Regions } from "../../src/tensor/Regions.ts"
import { gradients } from "../../src/tensor/Tape.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { cpu, relativeError, values } from "./support.ts"

interface Case {
  readonly name: string
  readonly shapes: ReadonlyArray<ReadonlyArray<number>>
  readonly f: (r: Regions, xs: ReadonlyArray<Tensor>) => Tensor
}

const ints = (...xs: ReadonlyArray<number>) => Int32Array.from(xs)
// Two rows of 7: two packed segments and padding; one segment that fills the row.
const segments = ints(1, 1, 1, 2, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1)
const positions = ints(0, 1, 2, 0, 1, 5, 6, 0, 1, 2, 3, 4, 5, 6)
const long = (n: number, f: (i: number) => number) => Int32Array.from({ length: n }, (_, i) => f(i))

const attention = (
  name: string,
  [batch, queries, keys, heads, headDim]: readonly [number, number, number, number, number],
  kind: "none" | "causal" | "keys",
  seg: Int32Array
): Case => ({
  name: `attention, ${name}`,
  shapes: [
    [batch, queries, heads * headDim],
    [batch, keys, heads * headDim],
    [batch, keys, heads * headDim]
  ],
  f: (r, [q, k, v]) => {
    const s = tf.tensor(seg, [batch, keys], "int32")
    const mask =
      kind === "none" ? ({ kind } as const) : kind === "causal" ? { kind, segments_BT: s } : { kind, segments_BK: s }
    return r.attention(q!, k!, v!, { heads, mask })
  }
})

const cases: ReadonlyArray<Case> = [
  { name: "linear", shapes: [[3, 5, 7], [11, 7], [11]], f: (r, [x, w, b]) => r.linear(x!, w!, b) },
  {
    name: "linear without bias, large",
    shapes: [
      [130, 300],
      [70, 300]
    ],
    f: (r, [x, w]) => r.linear(x!, w!)
  },
  { name: "layerNorm", shapes: [[3, 5, 22], [22], [22]], f: (r, [x, w, b]) => r.layerNorm(x!, w!, b!, 1e-5) },
  ...(["tanh", "erf", "quick"] as const).map(
    (kind): Case => ({ name: `gelu ${kind}`, shapes: [[3, 37]], f: (r, [x]) => r.gelu(tf.mul(x!, tf.scalar(3)), kind) })
  ),
  {
    name: "rotary",
    shapes: [[2, 7, 20]],
    f: (r, [x]) =>
      r.rotary(x!, tf.tensor(positions, [2, 7], "int32"), { heads: 2, rotaryDim: 4, theta: 10000, maxPositions: 16 })
  },
  attention("bidirectional", [2, 9, 9, 3, 5], "none", ints(...new Array<number>(18).fill(1))),
  attention("causal with packed segments and padding", [2, 7, 7, 2, 6], "causal", segments),
  attention(
    "causal over several blocks",
    [1, 211, 211, 2, 8],
    "causal",
    long(211, (i) => (i < 120 ? 1 : i < 200 ? 2 : 0))
  ),
  attention(
    "decoding over valid keys, one row with none",
    [2, 1, 7, 2, 6],
    "keys",
    ints(0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0)
  ),
  {
    name: "crossEntropy with rows that have no label",
    shapes: [[6, 13]],
    f: (r, [x]) => r.crossEntropy(x!, tf.tensor1d(ints(3, -100, 12, 0, -100, 7), "int32"), 4)
  },
  {
    name: "dropout",
    shapes: [[2, 7, 3]],
    f: (r, [x]) => r.dropout(x!, [stream(1, "a"), stream(2 ** 40, "b")], 0.3)
  },
  {
    name: "rows, repeated",
    shapes: [[5, 6]],
    f: (r, [x]) => r.rows(x!, tf.tensor2d(ints(4, 1, 1, 0, 1, 4), [2, 3], "int32"))
  }
]

const evaluate = (c: Case) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const before = yield* tensors.memory
    const results = yield* tensors.run((compute) => {
      const xs = c.shapes.map((shape, i) => tf.tensor(values(tf.util.sizeFromShape([...shape]), i + 7), [...shape]))
      const shape = c.f(compute, xs).shape
      const dy = tf.tensor(values(tf.util.sizeFromShape(shape), 99), shape)
      const { value, grads } = gradients(() => c.f(compute, xs), xs, dy)
      return [value, ...grads]
    })
    const arrays = yield* Effect.forEach(results, tensors.read)
    yield* tensors.free(...results)
    const after = yield* tensors.memory
    return { arrays, leaked: after.tensors - before.tensors }
  })

describe("Regions", () => {
  for (const c of cases)
    it.effect(`${c.name}: native equals plain, in value and gradients`, () =>
      Effect.gen(function* () {
        const native = yield* evaluate(c).pipe(Effect.provide(Engine.wasm))
        const plain = yield* evaluate(c).pipe(Effect.provide(Engine.wasmPlain))
        const reference = yield* evaluate(c).pipe(Effect.provide(cpu))
        native.arrays.forEach((array, i) => {
          const what = i === 0 ? "value" : `gradient ${i - 1}`
          expect(relativeError(array, reference.arrays[i]!), `${what}, native`).toBeLessThan(i === 0 ? 2e-6 : 2e-5)
          expect(relativeError(plain.arrays[i]!, reference.arrays[i]!), `${what}, plain`).toBeLessThan(2e-5)
        })
        // The rotary table is kept on purpose, once.
        if (c.name !== "rotary") expect(native.leaked).toBe(0)
        expect(plain.leaked).toBe(0)
      })
    )

  it.effect("shapes that do not fit are refused with a hint, and an index out of range is named", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const shape = yield* Effect.flip(tensors.run((c) => c.linear(tf.zeros([2, 3]), tf.zeros([5, 4]))))
      expect(shape).toMatchObject({ _tag: "ShapeMismatch", operation: "linear" })
      const index = yield* Effect.flip(tensors.run((c) => c.rows(tf.zeros([4, 2]), tf.tensor1d(ints(0, 4), "int32"))))
      expect(index).toMatchObject({ _tag: "ShapeMismatch", operation: "rows" })
      expect(index.message).toContain("index 4 at 1")
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("products of any transposition and broadcast batch equal the cpu backend's over tiled operands", () =>
    Effect.gen(function* () {
      const product = (tile: boolean) =>
        Effect.gen(function* () {
          const tensors = yield* Tensors
          const outs = yield* tensors.run(() =>
            [false, true].flatMap((ta) =>
              [false, true].map((tb) => {
                const a = tf.tensor(values(2 * 1 * 9 * 5, 1), ta ? [2, 1, 5, 9] : [2, 1, 9, 5])
                const b = tf.tensor(values(3 * 5 * 11, 2), tb ? [1, 3, 11, 5] : [1, 3, 5, 11])
                return tile
                  ? tf.matMul(tf.tile(a, [1, 3, 1, 1]), tf.tile(b, [2, 1, 1, 1]), ta, tb)
                  : tf.matMul(a, b, ta, tb)
              })
            )
          )
          return yield* Effect.forEach(outs, tensors.read)
        })
      const native = yield* product(false).pipe(Effect.provide(Engine.wasm))
      const reference = yield* product(true).pipe(Effect.provide(cpu))
      native.forEach((array, i) => {
        expect(relativeError(array, reference[i]!)).toBeLessThan(1e-6)
      })
    })
  )
})
