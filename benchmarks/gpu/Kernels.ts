/**
 * Fused regions on the device against their plain definitions there in float32: values and gradients.
 *
 * A figure is the largest error of all: the norm of the difference over the norm of the plain one, by tensor. It is
 * held to a limit, as the peer of the row.
 */
import { Effect } from "effect"
import { type Tensor, tf, type Weights } from "../../src/tensor/Ops.ts"
import { fillNormal, stream } from "../../src/tensor/Random.ts"
import { plain, type Regions } from "../../src/tensor/Regions.ts"
import { type Compute, Tensors } from "../../src/tensor/Tensors.ts"
import type { Benchmark } from "../Row.ts"
import { onEngine } from "../work/TrainSteps.ts"
import { type Gpu, onDevice } from "./Gpu.ts"

type Ops = Regions & Pick<Compute, "linearCrossEntropy">

interface Case {
  readonly name: string
  /** Inputs, standard normal times `scale`. */
  readonly shapes: ReadonlyArray<ReadonlyArray<number>>
  readonly scale?: number
  readonly f: (r: Ops, xs: ReadonlyArray<Tensor>) => Tensor
}

/** Two rows: one of three packed conversations and padding, one of a single conversation. */
const TIME = 192
const segments = Int32Array.from({ length: 2 * TIME }, (_, i) =>
  i >= TIME ? 1 : i < 70 ? 1 : i < 101 ? 2 : i < 180 ? 3 : 0
)
const positions = Int32Array.from({ length: 2 * TIME }, (_, i) => i % TIME)
const HEADS = 4
const WIDTH = HEADS * 80

const attention = (name: string, seg: Int32Array | undefined, heads: number, width: number): Case => ({
  name,
  shapes: Array.from({ length: 3 }, () => [2, TIME, width]),
  f: (r, [q, k, v]) =>
    r.attention(q!, k!, v!, {
      heads,
      mask: seg === undefined ? { kind: "none" } : { kind: "causal", segments_BT: tf.tensor(seg, [2, TIME], "int32") }
    })
})

const cases: ReadonlyArray<Case> = [
  {
    name: "linear",
    shapes: [[2, TIME, WIDTH], [4 * WIDTH, WIDTH], [4 * WIDTH]],
    scale: 0.3,
    f: (r, [x, w, b]) => r.linear(x!, w!, b)
  },
  {
    name: "layer norm",
    shapes: [[2, TIME, WIDTH], [WIDTH], [WIDTH]],
    f: (r, [x, w, b]) => r.layerNorm(x!, w!, b!, 1e-5)
  },
  ...(["tanh", "erf", "quick"] as const).map(
    (kind): Case => ({ name: `gelu ${kind}`, shapes: [[2, TIME, WIDTH]], f: (r, [x]) => r.gelu(x!, kind) })
  ),
  {
    name: "rotary",
    shapes: [[2, TIME, WIDTH]],
    f: (r, [x]) =>
      r.rotary(x!, tf.tensor(positions, [2, TIME], "int32"), {
        heads: HEADS,
        rotaryDim: 32,
        theta: 10_000,
        maxPositions: 2048
      })
  },
  attention("attention, causal, heads of 80", new Int32Array(2 * TIME).fill(1), HEADS, WIDTH),
  attention("attention, packed rows and padding", segments, HEADS, WIDTH),
  attention("attention, a tower's, heads of 64", undefined, 4, 256),
  {
    name: "head and loss",
    shapes: [[2 * TIME, WIDTH], [5000, WIDTH], [5000]],
    scale: 0.1,
    f: (r, [x, w, b]) => {
      const labels = Int32Array.from({ length: 2 * TIME }, (_, i) => (i % 7 === 0 ? -100 : (i * 131) % 5000))
      return r.linearCrossEntropy(x!, w!, b, tf.tensor1d(labels, "int32"), 300)
    }
  },
  {
    name: "dropout",
    shapes: [[2, TIME, WIDTH]],
    f: (r, [x]) => r.dropout(x!, [stream(1, "a"), stream(2 ** 40, "b")], 0.1)
  },
  {
    name: "embedding",
    shapes: [[500, WIDTH]],
    f: (r, [x]) =>
      r.rows(
        x!,
        tf.tensor2d(
          Int32Array.from({ length: 2 * TIME }, (_, i) => (i * i) % 500),
          [2, TIME],
          "int32"
        )
      )
  }
]

const reference: Ops = {
  ...plain,
  linearCrossEntropy: (x, w, b, labels, normaliser) => plain.crossEntropy(plain.linear(x, w, b), labels, normaliser)
}

/** The value and the gradients of sum(value * dy), all read back. */
const evaluate = (engine: string, one: Case, choose: (c: Compute) => Ops): Promise<ReadonlyArray<Float32Array>> =>
  onEngine(
    engine,
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const inputs: Record<string, Tensor> = {}
      for (const [i, shape] of one.shapes.entries()) {
        const values = new Float32Array(shape.reduce((product, n) => product * n, 1))
        inputs[`x${i}`] = yield* tensors.upload(
          fillNormal(stream(0, one.name, i), values, { std: one.scale ?? 1 }),
          shape
        )
      }
      const names = Object.keys(inputs)
      const apply = (c: Compute, from: Weights): Tensor =>
        one.f(
          choose(c),
          names.map((name) => from[name]!)
        )
      const value = yield* tensors.run((c) => apply(c, inputs))
      const dy = yield* tensors.upload(fillNormal(stream(1, one.name), new Float32Array(value.size)), value.shape)
      const { grads } = yield* tensors.valueAndGrad((c, from) => tf.sum(tf.mul(apply(c, from), dy)), inputs)
      const read = [(yield* tensors.read(value)) as Float32Array]
      for (const name of names) read.push((yield* tensors.read(grads[name]!)) as Float32Array)
      yield* tensors.free(value, dy, inputs, grads)
      return read
    })
  )

/** Norm of the difference over the norm of the second; infinite where one is not finite. */
export const errorOf = (ours: Float32Array, theirs: Float32Array): number => {
  let [difference, norm] = [0, 0]
  for (let i = 0; i < theirs.length; i++) {
    difference += (ours[i]! - theirs[i]!) ** 2
    norm += theirs[i]! ** 2
  }
  const error = Math.sqrt(difference / (norm || 1))
  return ours.length === theirs.length && Number.isFinite(error) ? error : Number.POSITIVE_INFINITY
}

const row = (gpu: Gpu, precision: "f32" | "bf16", limit: number): Benchmark =>
  onDevice(gpu, {
    name: `kernels-${precision}`,
    about: `fused regions in ${precision} against their definitions in f32, values and gradients`,
    unit: "error",
    better: "less",
    goal: 1,
    peerName: "a limit",
    run: async () => {
      const errors: Array<{ readonly what: string; readonly error: number }> = []
      for (const one of cases) {
        const expected = await evaluate("torch", one, () => reference)
        const got = await evaluate(precision === "f32" ? "torch" : "torch-bf16", one, (c) => c)
        for (const [i, values] of expected.entries())
          errors.push({
            what: `${one.name}, ${i === 0 ? "value" : `gradient ${i}`}`,
            error: errorOf(got[i] ?? new Float32Array(0), values)
          })
      }
      const worst = errors.reduce((a, b) => (b.error > a.error ? b : a))
      const note = `${errors.length} tensors of ${cases.length} regions, the worst: ${worst.what}; norm of the difference over the norm`
      // A limit is a ratio's numerator: an error of zero would have none.
      return { ours: [Math.max(worst.error, 1e-12)], peer: [limit], note }
    }
  })

export const kernelRows = (gpu: Gpu): ReadonlyArray<Benchmark> => [row(gpu, "f32", 1e-4), row(gpu, "bf16", 3e-2)]
