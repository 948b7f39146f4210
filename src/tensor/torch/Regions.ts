/**
 * The fused regions as ATen has them; what is left out runs from plain operations.
 *
 * Differentiated by libtorch's tape. Shapes as in `../Regions.ts`; tolerances against the plain forms are in the tests.
 */
import { type Tensor, tf } from "../Ops.ts"
import { cachedRotaryTable, check, plain, type Regions, type RotaryOptions } from "../Regions.ts"
import type { Compute } from "../Tensors.ts"
import { dtypes } from "./Addon.ts"
import { inSteps, type Keep, makeAttention } from "./Attention.ts"
import type { TorchBackend } from "./Backend.ts"
import { makeHead } from "./Head.ts"
import { expectKnownInRange } from "./Indices.ts"
import { makeNf4 } from "./Nf4.ts"

/** `cross_entropy_loss`: the sum over rows. */
const SUM = 2

/**
 * How the engine computes. `bf16`: regions round activations and weights to bfloat16 on the way in; weights and moments
 * stay f32, and so do sums, losses and gradients by weights.
 */
export interface TorchOptions {
  readonly device: "cpu" | "cuda"
  readonly precision: "f32" | "bf16"
}

/**
 * The regions that a torch engine computes natively.
 *
 * Long: a list of regions, each of a few lines, over one backend.
 */
export const makeRegions = (
  backend: TorchBackend,
  { device, precision }: TorchOptions
): Partial<Regions> & Pick<Compute, "bytes" | "linearCrossEntropy" | "nf4Linear"> => {
  const { addon } = backend
  const { aten } = addon
  const h = (x: Tensor): number => backend.handle(x)
  /** Activations as the regions take them. */
  const wide = (x: Tensor, keep: Keep): number =>
    precision === "f32" ? h(x) : keep(aten("to.dtype")(h(x), dtypes.bfloat16).tensor())
  /** Weights likewise: recorded where they are trained, else kept beside them until they change. */
  const weight = (w: Tensor, keep: Keep): number => {
    if (precision === "f32") return h(w)
    const narrowed = () => aten("to.dtype")(h(w), dtypes.bfloat16).tensor()
    return backend.trains(w) ? keep(narrowed()) : backend.derived(w, "bf16", narrowed)
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

  return {
    linear: (x, w, b) => {
      check.linear(x, w, b)
      return inSteps(backend, (keep) =>
        aten("linear")(wide(x, keep), weight(w, keep), b === undefined ? null : weight(b, keep)).tensor()
      )
    },
    layerNorm: (x, w, b, eps) => {
      check.layerNorm(x, w, b)
      return inSteps(backend, (keep) =>
        aten("layer_norm")(wide(x, keep), [w.size], weight(w, keep), weight(b, keep), eps).tensor()
      )
    },
    gelu: (x, kind) =>
      kind === "quick"
        ? plain.gelu(x, kind)
        : inSteps(backend, (keep) => aten("gelu")(wide(x, keep), kind === "tanh" ? "tanh" : "none").tensor()),
    rotary: (x, positions, options) => {
      check.rotary(x, positions, options)
      expectKnownInRange(backend, "rotary", positions, options.maxPositions)
      const rows = backend.derived(positions, "rows", () => {
        const flat = aten("reshape")(h(positions), [-1]).tensor()
        const made = aten("to.dtype")(flat.handle, dtypes.int64).tensor()
        addon.free([flat.handle])
        return made
      })
      return inSteps(backend, (keep) =>
        addon.own("rotary", [wide(x, keep), h(tableOf(options)), rows, options.heads], (results) => results.tensor())
      )
    },
    attention: makeAttention(backend, wide, device === "cuda" && precision === "bf16"),
    crossEntropy: (logits, labels, normaliser) => {
      check.crossEntropy(logits, labels)
      expectKnownInRange(backend, "crossEntropy", labels, logits.shape[1]!, "ignore negative")
      return inSteps(backend, (keep) => {
        const wideLogits = keep(aten("to.dtype")(h(logits), dtypes.float32).tensor())
        const flat = keep(aten("reshape")(h(labels), [-1]).tensor())
        const known = keep(aten("to.dtype")(keep(aten("clamp_min")(flat, -1).tensor()), dtypes.int64).tensor())
        const sum = keep(aten("cross_entropy_loss")(wideLogits, known, null, SUM, -1).tensor())
        return aten("div.Scalar")(sum, normaliser).tensor()
      })
    },
    ...makeNf4(backend, wide, weight),
    linearCrossEntropy: makeHead(backend, wide, weight, device, precision),
    dropout: (x, streams, rate) => {
      check.dropout(x, streams, rate)
      const columns = streams.length === 0 ? 0 : x.size / streams.length
      return inSteps(backend, (keep) => {
        const mask = keep(
          addon.own(
            "dropoutMask",
            [columns, Math.ceil(rate * 2 ** 24), streams.length, ...streams.flatMap(({ high, low }) => [low, high])],
            (results) => results.tensor()
          )
        )
        const kept = keep(aten("mul.Tensor")(wide(x, keep), keep(aten("reshape")(mask, x.shape).tensor())).tensor())
        return aten("mul.Scalar")(kept, 1 / (1 - rate)).tensor()
      })
    },
    rows: (table, indices) => {
      check.rows(table, indices)
      expectKnownInRange(backend, "rows", indices, table.shape[0]!)
      return inSteps(backend, (keep) => {
        const rows = aten("embedding")(h(table), h(indices)).tensor()
        return precision === "f32" ? rows : aten("to.dtype")(keep(rows), dtypes.bfloat16).tensor()
      })
    }
  }
}
