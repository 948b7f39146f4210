/** Inputs for each region: packed segments, padding, rows that see nothing, labels that do not count. */
import type { Tensor } from "../../src/tensor/Ops.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { stream } from "../../src/tensor/Random.ts"
import type { Regions } from "../../src/tensor/Regions.ts"

export interface Case {
  readonly name: string
  readonly shapes: ReadonlyArray<ReadonlyArray<number>>
  readonly f: (r: Regions, xs: ReadonlyArray<Tensor>) => Tensor
}

export const ints = (...xs: ReadonlyArray<number>) => Int32Array.from(xs)
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

export const cases: ReadonlyArray<Case> = [
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
