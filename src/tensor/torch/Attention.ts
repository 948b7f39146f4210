/**
 * Attention by ATen's fused kernels, without a mask matrix where the rows allow it.
 *
 * Not the other regions. Shapes as in `../Regions.ts`. Rows that are one segment each run as one causal batch; packed
 * and padded ones piece by piece (`Pieces.ts`), or on a GPU in half precision as one call over all segments; anything
 * else takes a mask. Which it is, is known from the segments as they were uploaded.
 */
import type { Tensor } from "../Ops.ts"
import { allowed_BQK, check, type Mask, type Regions } from "../Regions.ts"
import { dtypes, type Made } from "./Addon.ts"
import type { TorchBackend } from "./Backend.ts"
import { type Piece, piecesOf } from "./Pieces.ts"

/** What a batch's segments ask for. */
type Plan =
  | { readonly kind: "causal" }
  | { readonly kind: "pieces"; readonly pieces: ReadonlyArray<Piece> }
  | { readonly kind: "mask" }

const planOf = (segments: Int32Array, rows: number, time: number): Plan => {
  const pieces = piecesOf(segments, rows, time)
  if (pieces === undefined) return { kind: "mask" }
  return pieces.length === rows && pieces.every(({ sees }) => sees === "causal")
    ? { kind: "causal" }
    : { kind: "pieces", pieces }
}

/** Collects handles, and frees them when the steps are through. */
export type Keep = (made: Made) => number

/** Runs steps whose results but the last are freed. */
export const inSteps = (backend: TorchBackend, run: (keep: Keep) => Made): Tensor => {
  const made: Array<number> = []
  try {
    const last = run((one) => {
      made.push(one.handle)
      return one.handle
    })
    return backend.tensor(last)
  } finally {
    backend.addon.free(made)
  }
}

/**
 * `varlen`: whether flash attention over segments of different lengths can be had (CUDA, bf16).
 *
 * Long: the ways to compute one region, which share the handles of its inputs.
 */
export const makeAttention = (
  backend: TorchBackend,
  wide: (x: Tensor, keep: Keep) => number,
  varlen: boolean
): Regions["attention"] => {
  const { addon } = backend
  const aten = addon.aten
  const plans = new WeakMap<Int32Array, Plan>()
  const planFor = (mask: Mask, rows: number, time: number): Plan => {
    const segments = mask.kind === "causal" ? backend.host(mask.segments_BT) : undefined
    if (segments === undefined) return { kind: "mask" }
    const known = plans.get(segments) ?? planOf(segments, rows, time)
    plans.set(segments, known)
    return known
  }

  /** Where each piece ends, with a zero before: int32 on the device. */
  const endsOf = (segments: Tensor, pieces: ReadonlyArray<Piece>): number =>
    backend.derived(segments, "ends", () => {
      const ends = Int32Array.of(0, ...pieces.map(({ end }) => end))
      return addon.upload(ends, [ends.length], dtypes.int32)
    })
  const longest = (pieces: ReadonlyArray<Piece>): number =>
    pieces.reduce((most, { end, start }) => Math.max(most, end - start), 0)

  return (q, k, v, { heads, mask }) => {
    check.attention(q, k, v, heads, mask)
    const [batch, queries, width] = q.shape as [number, number, number]
    const keys = k.shape[1]!
    const headDim = width / heads
    const plan: Plan = mask.kind === "none" ? { kind: "causal" } : planFor(mask, batch, queries)
    return inSteps(backend, (keep) => {
      const [qs, ks, vs] = [wide(q, keep), wide(k, keep), wide(v, keep)]
      const attend = aten("scaled_dot_product_attention")
      const transposed = (x: number): number => keep(aten("transpose.int")(x, 1, 2).tensor())

      if (plan.kind === "pieces" && varlen && mask.kind === "causal") {
        const flat = (x: number): number => keep(aten("reshape")(x, [-1, heads, headDim]).tensor())
        const ends = endsOf(mask.segments_BT, plan.pieces)
        const most = longest(plan.pieces)
        const causal = true
        const out = aten("_flash_attention_forward")(
          flat(qs),
          flat(ks),
          flat(vs),
          ends,
          ends,
          most,
          most,
          0,
          causal,
          false
        )
        const first = out.tensor()
        // logsumexp, two of the random state, a debug mask: not wanted.
        for (let i = 0; i < 4; i++) {
          const other = out.maybe()
          if (other !== undefined) keep(other)
        }
        return aten("reshape")(keep(first), [batch, queries, width]).tensor()
      }

      if (plan.kind === "pieces") {
        const { pieces } = plan
        /** Parts of `[B * T, H, hd]`, each as `[1, H, n, hd]`. */
        const flat = (x: number): number => keep(aten("reshape")(x, [1, -1, heads, headDim]).tensor())
        const part = (x: number, start: number, end: number): number =>
          transposed(keep(aten("narrow")(x, 1, start, end - start).tensor()))
        const split = (x: number): ReadonlyArray<number> => {
          const parts = aten("split_with_sizes")(
            flat(x),
            pieces.map(({ end, start }) => end - start),
            1
          )
          const made = Array.from({ length: parts.number() }, () => keep(parts.tensor()))
          return made.map(transposed)
        }
        const [qp, kp, vp] = [split(qs), split(ks), split(vs)]
        const outs = pieces.map(({ keysEnd, keysStart, sees }, i) => {
          if (sees === "empty") return transposed(keep(aten("zeros_like")(qp[i]!).tensor()))
          const own = sees === "causal"
          const keysOf = own ? kp[i]! : part(flat(ks), keysStart, keysEnd)
          const valuesOf = own ? vp[i]! : part(flat(vs), keysStart, keysEnd)
          return transposed(keep(attend(qp[i]!, keysOf, valuesOf, null, 0, own).tensor()))
        })
        return aten("reshape")(keep(aten("cat")(outs, 1).tensor()), [batch, queries, width]).tensor()
      }

      const split = (x: number, n: number): number =>
        transposed(keep(aten("reshape")(x, [batch, n, heads, headDim]).tensor()))
      const joined = (out: number): Made => aten("reshape")(transposed(out), [batch, queries, width]).tensor()
      const [qh, kh, vh] = [split(qs, queries), split(ks, keys), split(vs, keys)]
      if (plan.kind === "causal") return joined(keep(attend(qh, kh, vh, null, 0, mask.kind !== "none").tensor()))
      if (mask.kind === "none") throw new Error("unreachable: no mask has no plan")
      // A query that sees nothing attends to everything, and its output is then zeroed: no softmax of nothing.
      const seen_BQK = allowed_BQK(mask, queries, keys)
      const allowed = keep(
        aten("unsqueeze")(keep(aten("to.dtype")(backend.handle(seen_BQK), dtypes.bool).tensor()), 1).tensor()
      )
      const some = keep(aten("any.dim")(allowed, -1, true).tensor())
      const none = keep(aten("logical_not")(some).tensor())
      const out = keep(attend(qh, kh, vh, keep(aten("logical_or")(allowed, none).tensor()), 0, false).tensor())
      return joined(keep(aten("mul.Tensor")(out, some).tensor()))
    })
  }
}
