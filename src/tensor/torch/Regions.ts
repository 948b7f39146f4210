/**
 * The fused regions as ATen has them; what is left out runs from plain operations.
 *
 * Differentiated by libtorch's tape. Shapes as in `../Regions.ts`; tolerances against the plain forms are in the tests.
 */
import { type Tensor, tf } from "../Ops.ts"
import {
  allowed_BQK,
  cachedRotaryTable,
  check,
  type Mask,
  plain,
  type Regions,
  type RotaryOptions
} from "../Regions.ts"
import { dtypes, type Made } from "./Addon.ts"
import type { TorchBackend } from "./Backend.ts"

/** `cross_entropy_loss`: the sum over rows. */
const SUM = 2

export const makeRegions = (backend: TorchBackend): Partial<Regions> => {
  const { addon } = backend
  const h = (x: Tensor): number => backend.handle(x)
  /** Runs steps whose results but the last are freed. */
  const steps = (run: (keep: (made: Made) => number) => Made): Tensor => {
    const made: Array<number> = []
    try {
      return backend.tensor(
        run((one) => {
          made.push(one.handle)
          return one.handle
        })
      )
    } finally {
      addon.free(made)
    }
  }

  /** Tables of cosines and sines, kept for the life of the process. */
  const tables = new Map<string, Tensor>()
  const tableOf = (options: RotaryOptions): Tensor => {
    const key = `${options.rotaryDim}/${options.theta}/${options.maxPositions}`
    const known = tables.get(key)
    if (known !== undefined) return known
    const made = tf.keep(tf.tensor2d(cachedRotaryTable(options), [options.maxPositions, options.rotaryDim]))
    tables.set(key, made)
    return made
  }

  /** What each query may see, `[B, 1, Q, K]`; undefined for everything. */
  const maskOf = (mask: Mask, queries: number, keys: number): Tensor | undefined =>
    mask.kind === "none" ? undefined : tf.expandDims(tf.cast(allowed_BQK(mask, queries, keys), "bool"), 1)

  return {
    linear: (x, w, b) => {
      check.linear(x, w, b)
      return backend.tensor(
        addon
          .aten("linear")(h(x), h(w), b === undefined ? null : h(b))
          .tensor()
      )
    },
    layerNorm: (x, w, b, eps) => {
      check.layerNorm(x, w, b)
      return backend.tensor(addon.aten("layer_norm")(h(x), [w.size], h(w), h(b), eps).tensor())
    },
    gelu: (x, kind) =>
      kind === "quick"
        ? plain.gelu(x, kind)
        : backend.tensor(
            addon
              .aten("gelu")(h(x), kind === "tanh" ? "tanh" : "none")
              .tensor()
          ),
    rotary: (x, positions, options) => {
      check.rotary(x, positions, options)
      const [batch, time, width] = x.shape as [number, number, number]
      const headDim = width / options.heads
      const half = options.rotaryDim / 2
      return steps((keep) => {
        const flat = keep(addon.aten("reshape")(h(positions), [-1]).tensor())
        const rows = keep(
          addon
            .aten("index_select")(h(tableOf(options)), 0, flat)
            .tensor()
        )
        const angles = keep(addon.aten("reshape")(rows, [batch, time, 1, options.rotaryDim]).tensor())
        const cos = keep(addon.aten("narrow")(angles, -1, 0, half).tensor())
        const sin = keep(addon.aten("narrow")(angles, -1, half, half).tensor())
        const heads = keep(addon.aten("reshape")(h(x), [batch, time, options.heads, headDim]).tensor())
        const x1 = keep(addon.aten("narrow")(heads, -1, 0, half).tensor())
        const x2 = keep(addon.aten("narrow")(heads, -1, half, half).tensor())
        const product = (a: number, b: number): number => keep(addon.aten("mul.Tensor")(a, b).tensor())
        const turned = [
          keep(addon.aten("sub.Tensor")(product(x1, cos), product(x2, sin)).tensor()),
          keep(addon.aten("add.Tensor")(product(x2, cos), product(x1, sin)).tensor())
        ]
        if (headDim > 2 * half)
          turned.push(
            keep(
              addon
                .aten("narrow")(heads, -1, 2 * half, headDim - 2 * half)
                .tensor()
            )
          )
        return addon
          .aten("reshape")(keep(addon.aten("cat")(turned, -1).tensor()), [batch, time, width])
          .tensor()
      })
    },
    attention: (q, k, v, { heads, mask }) => {
      check.attention(q, k, v, heads, mask)
      const [batch, queries, width] = q.shape as [number, number, number]
      const keys = k.shape[1]!
      const allowed = maskOf(mask, queries, keys)
      return steps((keep) => {
        const split = (x: Tensor, n: number): number =>
          keep(
            addon
              .aten("transpose.int")(
                keep(
                  addon
                    .aten("reshape")(h(x), [batch, n, heads, width / heads])
                    .tensor()
                ),
                1,
                2
              )
              .tensor()
          )
        const [qs, ks, vs] = [split(q, queries), split(k, keys), split(v, keys)] as const
        const attend = addon.aten("scaled_dot_product_attention")
        const joined = (out: number): Made =>
          addon
            .aten("reshape")(keep(addon.aten("transpose.int")(out, 1, 2).tensor()), [batch, queries, width])
            .tensor()
        if (allowed === undefined) return joined(keep(attend(qs, ks, vs, null, 0, false).tensor()))
        // A query that sees nothing attends to everything, and its output is then zeroed: no softmax of nothing.
        const some = keep(addon.aten("any.dim")(h(allowed), -1, true).tensor())
        const none = keep(addon.aten("logical_not")(some).tensor())
        const seen = keep(addon.aten("logical_or")(h(allowed), none).tensor())
        const out = keep(attend(qs, ks, vs, seen, 0, false).tensor())
        const real = keep(addon.aten("to.dtype")(some, dtypes.float32).tensor())
        return joined(keep(addon.aten("mul.Tensor")(out, real).tensor()))
      })
    },
    crossEntropy: (logits, labels, normaliser) => {
      check.crossEntropy(logits, labels)
      return steps((keep) => {
        const flat = keep(addon.aten("reshape")(h(labels), [-1]).tensor())
        const known = keep(
          addon
            .aten("to.dtype")(keep(addon.aten("clamp_min")(flat, -1).tensor()), dtypes.int64)
            .tensor()
        )
        const sum = keep(addon.aten("cross_entropy_loss")(h(logits), known, null, SUM, -1).tensor())
        return addon.aten("div.Scalar")(sum, normaliser).tensor()
      })
    },
    rows: (table, indices) => {
      check.rows(table, indices)
      return backend.tensor(addon.aten("embedding")(h(table), h(indices)).tensor())
    }
  }
}
