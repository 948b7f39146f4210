/**
 * The named fused regions: parts of a model that an engine may provide natively, each with a plain form made of TF.js
 * operations that defines what it computes.
 *
 * Not a layer library: no weights are kept here. All functions are synchronous, run inside `Tensors.run` or
 * `valueAndGrad`, are differentiable in their float inputs, and throw `ShapeMismatch`.
 *
 * Shapes: B batch, T or Q queries, K keys, D = H * hd model width, N rows, V vocabulary. Integer tensors are int32.
 */
import { expectShape } from "./Errors.ts"
import type { Tensor } from "./Ops.ts"
import { tf } from "./Ops.ts"
import { fillUniform, type RandomStream } from "./Random.ts"

/**
 * What a query may see.
 *
 * - `none`: every key.
 * - `causal`: `segments_BT` (0 = padding). Query i sees key j when j <= i, both are in one segment and j is no padding.
 *   A padding query sees every real key before it: its output is never used, and so it equals that of `transformers`.
 * - `keys`: `segments_BK`; key j is seen unless it is 0. For decoding with a cache.
 *
 * A query that sees nothing gets zeros.
 */
export type Mask =
  | { readonly kind: "none" }
  | { readonly kind: "causal"; readonly segments_BT: Tensor }
  | { readonly kind: "keys"; readonly segments_BK: Tensor }

export type GeluKind = "tanh" | "erf" | "quick"

export interface RotaryOptions {
  readonly heads: number
  /** Leading dimensions of each head that turn; even. */
  readonly rotaryDim: number
  readonly theta: number
  /** Positions are below this. */
  readonly maxPositions: number
}

export interface Regions {
  /** y = x W^T + b. `x_[..]I`, `weight_OI`, `bias_O`. */
  readonly linear: (x: Tensor, weight_OI: Tensor, bias_O?: Tensor) => Tensor
  /** Over the last axis; biased variance, `eps` inside the root. */
  readonly layerNorm: (x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: number) => Tensor
  /** `tanh` is gelu_new, `erf` the exact one, `quick` x * sigmoid(1.702 x). */
  readonly gelu: (x: Tensor, kind: GeluKind) => Tensor
  /** Rotary embedding, rotate-half, on the first `rotaryDim` of each head of `x_BTD`. */
  readonly rotary: (x_BTD: Tensor, positions_BT: Tensor, options: RotaryOptions) => Tensor
  /** softmax(q k^T / sqrt(hd), masked) v, heads side by side in D. */
  readonly attention: (
    q_BQD: Tensor,
    k_BKD: Tensor,
    v_BKD: Tensor,
    options: { readonly heads: number; readonly mask: Mask }
  ) => Tensor
  /** Sum over rows with a label >= 0 of -log softmax(logits)[label], divided by `normaliser`; a scalar. */
  readonly crossEntropy: (logits_NV: Tensor, labels_N: Tensor, normaliser: number) => Tensor
  /**
   * Zeroes a share `rate` of `x_B..` and scales the rest by 1 / (1 - rate). Element i of row b is kept when number i of
   * `fillUniform(streams[b])` reaches `rate`: a pure function, so a replay under checkpointing drops the same.
   */
  readonly dropout: (x: Tensor, streams: ReadonlyArray<RandomStream>, rate: number) => Tensor
  /** Rows of `table_ND` at `indices` (any shape, in range): `[..indices, D]`. The gradient sums over equal indices. */
  readonly rows: (table_ND: Tensor, indices: Tensor) => Tensor
}

/**
 * Cosines then sines by position: `[maxPositions, rotaryDim]`, computed in float32 steps as `transformers` does.
 *
 * @example rotaryTable({ heads: 32, rotaryDim: 32, theta: 10000, maxPositions: 2048 }).length // 65536
 */
export const rotaryTable = (options: RotaryOptions): Float32Array => {
  const half = options.rotaryDim / 2
  const table = new Float32Array(options.maxPositions * options.rotaryDim)
  for (let i = 0; i < half; i++) {
    const inverse = Math.fround(1 / Math.fround(options.theta ** Math.fround((2 * i) / options.rotaryDim)))
    for (let p = 0; p < options.maxPositions; p++) {
      const angle = Math.fround(p * inverse)
      table[p * options.rotaryDim + i] = Math.cos(angle)
      table[p * options.rotaryDim + half + i] = Math.sin(angle)
    }
  }
  return table
}

const tables = new Map<string, Float32Array>()

/** `rotaryTable`, computed once per options. */
export const cachedRotaryTable = (options: RotaryOptions): Float32Array => {
  const key = `${options.rotaryDim}/${options.theta}/${options.maxPositions}`
  const known = tables.get(key)
  if (known !== undefined) return known
  const made = rotaryTable(options)
  tables.set(key, made)
  return made
}

const last = (x: Tensor): number => x.shape[x.shape.length - 1]!
const show = (x: Tensor): string => `[${x.shape.join(", ")}]`

/** Throws unless the shapes fit; used by every implementation, so that engines agree on what they refuse. */
export const check = {
  linear: (x: Tensor, w: Tensor, b?: Tensor): void =>
    expectShape(
      w.rank === 2 &&
        x.rank >= 1 &&
        last(x) === w.shape[1] &&
        (b === undefined || (b.rank === 1 && b.size === w.shape[0])),
      "linear",
      () => `x ${show(x)}, weight ${show(w)}${b === undefined ? "" : `, bias ${show(b)}`}`,
      "The weight is [out, in] as in the checkpoint: its second size must be the last size of x."
    ),
  layerNorm: (x: Tensor, w: Tensor, b: Tensor): void =>
    expectShape(
      w.rank === 1 && b.rank === 1 && w.size === last(x) && b.size === last(x),
      "layerNorm",
      () => `x ${show(x)}, weight ${show(w)}, bias ${show(b)}`,
      "Weight and bias have one number for each column of x."
    ),
  rotary: (x: Tensor, positions: Tensor, o: RotaryOptions): void =>
    expectShape(
      x.rank === 3 &&
        positions.size === x.shape[0]! * x.shape[1]! &&
        last(x) % o.heads === 0 &&
        o.rotaryDim % 2 === 0 &&
        o.rotaryDim <= last(x) / o.heads,
      "rotary",
      () => `x ${show(x)}, positions ${show(positions)}, ${o.heads} heads, rotary dimension ${o.rotaryDim}`,
      "x is [B, T, heads * head size]; the rotary dimension is even and at most the head size."
    ),
  attention: (q: Tensor, k: Tensor, v: Tensor, heads: number, mask: Mask): void => {
    expectShape(
      q.rank === 3 &&
        k.rank === 3 &&
        q.shape[0] === k.shape[0] &&
        last(q) === last(k) &&
        k.shape.every((n, i) => n === v.shape[i]) &&
        last(q) % heads === 0,
      "attention",
      () => `q ${show(q)}, k ${show(k)}, v ${show(v)}, ${heads} heads`,
      "q is [B, Q, D], k and v are [B, K, D], and the heads divide D."
    )
    if (mask.kind === "none") return
    const segments = mask.kind === "causal" ? mask.segments_BT : mask.segments_BK
    expectShape(
      segments.size === k.shape[0]! * k.shape[1]! && (mask.kind === "keys" || q.shape[1] === k.shape[1]),
      "attention",
      () => `q ${show(q)}, k ${show(k)}, segments ${show(segments)}, mask ${mask.kind}`,
      "Segments are [B, K]; a causal mask needs as many queries as keys, use `keys` when decoding."
    )
  },
  crossEntropy: (logits: Tensor, labels: Tensor): void =>
    expectShape(
      logits.rank === 2 && labels.size === logits.shape[0],
      "crossEntropy",
      () => `logits ${show(logits)}, labels ${show(labels)}`,
      "Logits are [N, V] and labels [N]; flatten batch and time first."
    ),
  linearCrossEntropy: (x: Tensor, labels: Tensor): void =>
    expectShape(
      x.rank === 2 && labels.size === x.shape[0],
      "linearCrossEntropy",
      () => `x ${show(x)}, labels ${show(labels)}`,
      "x is [N, D] and labels [N]; flatten batch and time first."
    ),
  dropout: (x: Tensor, streams: ReadonlyArray<RandomStream>, rate: number): void =>
    expectShape(
      x.shape[0] === streams.length && rate >= 0 && rate < 1,
      "dropout",
      () => `x ${show(x)}, ${streams.length} streams, rate ${rate}`,
      "Give one random stream for each row of x, and a rate in [0, 1)."
    ),
  rows: (table: Tensor, indices: Tensor): void =>
    expectShape(
      table.rank === 2 && indices.dtype === "int32",
      "rows",
      () => `table ${show(table)}, indices ${show(indices)} ${indices.dtype}`,
      "The table is [N, D] and the indices are int32."
    )
}

export const allowed_BQK = (mask: Exclude<Mask, { kind: "none" }>, queries: number, keys: number): Tensor => {
  if (mask.kind === "keys") {
    const real = tf.notEqual(tf.reshape(mask.segments_BK, [-1, 1, keys]), tf.scalar(0, "int32"))
    return tf.tile(tf.cast(real, "float32"), [1, queries, 1])
  }
  const zero = tf.scalar(0, "int32")
  const key = tf.reshape(mask.segments_BT, [-1, 1, keys])
  const query = tf.reshape(mask.segments_BT, [-1, queries, 1])
  const same = tf.logicalOr(tf.equal(key, query), tf.equal(query, zero))
  const before = tf.lessEqual(
    tf.reshape(tf.range(0, keys, 1, "int32"), [1, 1, keys]),
    tf.reshape(tf.range(0, queries, 1, "int32"), [1, queries, 1])
  )
  return tf.cast(tf.logicalAnd(tf.logicalAnd(same, before), tf.notEqual(key, zero)), "float32")
}

/** The plain forms: what every native region must equal within its stated tolerance. */
export const plain: Regions = {
  linear: (x, w, b) => {
    check.linear(x, w, b)
    const flat = tf.reshape(x, [-1, w.shape[1]!])
    const y = tf.matMul(flat as tf.Tensor2D, w as tf.Tensor2D, false, true)
    return tf.reshape(b === undefined ? y : tf.add(y, b), [...x.shape.slice(0, -1), w.shape[0]!])
  },
  layerNorm: (x, w, b, eps) => {
    check.layerNorm(x, w, b)
    const centred = tf.sub(x, tf.mean(x, -1, true))
    const variance = tf.mean(tf.square(centred), -1, true)
    return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, tf.scalar(eps)))), w), b)
  },
  gelu: (x, kind) => {
    if (kind === "quick") return tf.mul(x, tf.sigmoid(tf.mul(x, tf.scalar(1.702))))
    if (kind === "erf")
      return tf.mul(tf.mul(x, tf.scalar(0.5)), tf.add(tf.scalar(1), tf.erf(tf.mul(x, tf.scalar(Math.SQRT1_2)))))
    const cubed = tf.mul(tf.mul(tf.square(x), x), tf.scalar(0.044715))
    const inner = tf.mul(tf.add(x, cubed), tf.scalar(Math.sqrt(2 / Math.PI)))
    return tf.mul(tf.mul(x, tf.scalar(0.5)), tf.add(tf.scalar(1), tf.tanh(inner)))
  },
  rotary: (x, positions, options) => {
    check.rotary(x, positions, options)
    const [batch, time, width] = x.shape as [number, number, number]
    const headDim = width / options.heads
    const half = options.rotaryDim / 2
    const table = tf.tensor2d(cachedRotaryTable(options), [options.maxPositions, options.rotaryDim])
    const angles = tf.reshape(tf.gather(table, tf.reshape(positions, [-1]) as tf.Tensor1D), [
      batch,
      time,
      1,
      options.rotaryDim
    ])
    const [cos, sin] = tf.split(angles, 2, 3) as [Tensor, Tensor]
    const heads = tf.reshape(x, [batch, time, options.heads, headDim])
    const [x1, x2, rest] = tf.split(heads, [half, half, headDim - 2 * half], 3) as [Tensor, Tensor, Tensor]
    const turned = [tf.sub(tf.mul(x1, cos), tf.mul(x2, sin)), tf.add(tf.mul(x2, cos), tf.mul(x1, sin))]
    return tf.reshape(tf.concat(headDim > 2 * half ? [...turned, rest] : turned, 3), x.shape)
  },
  attention: (q, k, v, { heads, mask }) => {
    check.attention(q, k, v, heads, mask)
    const [batch, queries, width] = q.shape as [number, number, number]
    const keys = k.shape[1]!
    const split = (x: Tensor, n: number) => tf.transpose(tf.reshape(x, [batch, n, heads, width / heads]), [0, 2, 1, 3])
    const scores = tf.mul(
      tf.matMul(split(q, queries), split(k, keys), false, true),
      tf.scalar(1 / Math.sqrt(width / heads))
    )
    const probabilities = () => {
      if (mask.kind === "none") return tf.softmax(scores)
      const allowed = tf.expandDims(allowed_BQK(mask, queries, keys), 1)
      const hidden = tf.mul(tf.sub(allowed, tf.scalar(1)), tf.scalar(1e9))
      return tf.mul(tf.softmax(tf.add(scores, hidden)), allowed)
    }
    const out = tf.matMul(probabilities(), split(v, keys))
    return tf.reshape(tf.transpose(out, [0, 2, 1, 3]), [batch, queries, width])
  },
  crossEntropy: (logits, labels, normaliser) => {
    check.crossEntropy(logits, labels)
    const flat = tf.reshape(labels, [-1])
    const counted = tf.greaterEqual(flat, tf.scalar(0, "int32"))
    const safe = tf.maximum(flat, tf.scalar(0, "int32"))
    // The wasm backend's oneHot is right for int32 only.
    const hot = tf.cast(tf.oneHot(tf.cast(safe, "int32"), logits.shape[1]!, 1, 0, "int32"), "float32")
    const oneHot = tf.mul(hot, tf.expandDims(tf.cast(counted, "float32"), 1))
    return tf.div(tf.neg(tf.sum(tf.mul(tf.logSoftmax(logits), oneHot))), tf.scalar(normaliser))
  },
  dropout: (x, streams, rate) => {
    check.dropout(x, streams, rate)
    const mask = new Float32Array(x.size)
    const columns = streams.length === 0 ? 0 : x.size / streams.length
    for (const [b, key] of streams.entries()) {
      const row = fillUniform(key, mask.subarray(b * columns, (b + 1) * columns))
      for (let i = 0; i < columns; i++) row[i] = row[i]! >= rate ? 1 / (1 - rate) : 0
    }
    return tf.mul(x, tf.tensor(mask, x.shape))
  },
  rows: (table, indices) => {
    check.rows(table, indices)
    return tf.reshape(tf.gather(table, tf.reshape(indices, [-1]) as tf.Tensor1D), [...indices.shape, table.shape[1]!])
  }
}
