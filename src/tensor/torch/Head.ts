/**
 * A language model's head with its loss: logits are made for some rows at a time and never kept.
 *
 * Not a sampler: no logits come out. The gradient by the hidden states, the weight and the bias is made beside the
 * loss, so that no logits are made twice; it waits on the tape until the loss is differentiated (`known` in
 * `native/torch/fused.cc`).
 *
 * The way of Liger's fused linear cross-entropy (Hsu et al., 2024). Shapes: N rows, D width, V vocabulary.
 */
import type { Tensor } from "../Ops.ts"
import { check } from "../Regions.ts"
import type { Compute } from "../Tensors.ts"
import { dtypes, type Made } from "./Addon.ts"
import { inSteps, type Keep } from "./Attention.ts"
import type { TorchBackend } from "./Backend.ts"
import { expectKnownInRange } from "./Indices.ts"

/** Logits at a time: 128 MiB of float32 on a CPU, 1 GiB on a GPU. */
const LOGITS = { cpu: 2 ** 25, cuda: 2 ** 28 } as const

/**
 * The head's product with its loss, for a torch engine.
 *
 * Long: the forward and backward pass of one region, step by step over slices of the vocabulary.
 */
export const makeHead = (
  backend: TorchBackend,
  wide: (x: Tensor, keep: Keep) => number,
  weightOf: (x: Tensor, keep: Keep) => number,
  device: "cpu" | "cuda",
  precision: "f32" | "bf16"
): Compute["linearCrossEntropy"] => {
  const { addon } = backend
  const { aten } = addon
  const narrow = precision === "bf16"
  return (x, w, b, labels, normaliser) => {
    check.linear(x, w, b)
    check.linearCrossEntropy(x, labels)
    expectKnownInRange(backend, "crossEntropy", labels, w.shape[0]!, "ignore negative")
    const rows = x.shape[0]!
    const vocabulary = w.shape[0]!
    const step = Math.max(1, Math.floor(LOGITS[device] / vocabulary))
    const recording = backend.recording
    const inputs = b === undefined ? [x, w] : [x, w, b]
    const wanted = inputs.map((input) => recording && backend.reached(input))
    if (recording) backend.record(false)
    try {
      return inSteps(backend, (keep) => {
        const hidden = wide(x, keep)
        const weight = weightOf(w, keep)
        const bias = b === undefined ? null : weightOf(b, keep)
        const flat = keep(aten("reshape")(backend.handle(labels), [-1]).tensor())
        const places = keep(
          aten("unsqueeze")(
            keep(aten("to.dtype")(keep(aten("clamp_min")(flat, 0).tensor()), dtypes.int64).tensor()),
            1
          ).tensor()
        )
        const counts = keep(
          aten("unsqueeze")(
            keep(aten("to.dtype")(keep(aten("ge.Scalar")(flat, 0).tensor()), dtypes.float32).tensor()),
            1
          ).tensor()
        )
        const share = keep(aten("div.Scalar")(counts, normaliser).tensor())
        const [forX, forW, forB] = wanted as [boolean, boolean, boolean | undefined]
        const gradX = forX ? keep(aten("empty_like")(hidden).tensor()) : undefined
        let gradW: number | undefined
        let gradB: number | undefined
        /** What a run adds to a gradient: the first is the gradient. */
        const add = (sum: number | undefined, run: Made): number => {
          if (sum === undefined) return keep(run)
          addon.free([aten("add_.Tensor")(sum, run.handle).tensor().handle, run.handle])
          return sum
        }
        const total = keep(aten("zeros")([], dtypes.float32, null, "device", null).tensor())
        for (let from = 0; from < rows; from += step) {
          inSteps(backend, (part) => {
            const count = Math.min(step, rows - from)
            const some = (all: number): number => part(aten("narrow")(all, 0, from, count).tensor())
            const [xs, labelled, weights] = [some(hidden), some(places), some(share)]
            const logits = part(aten("linear")(xs, weight, bias).tensor())
            const logs = part(aten("log_softmax.int")(logits, -1, dtypes.float32).tensor())
            const picked = part(aten("gather")(logs, 1, labelled).tensor())
            const losses = part(aten("mul.Tensor")(picked, weights).tensor())
            part(aten("sub_.Tensor")(total, part(aten("sum")(losses).tensor())).tensor())
            if (wanted.some((one) => one)) {
              // softmax - onehot, in the place of the logarithms. What a row counts is a factor of small tensors only.
              part(aten("exp_")(logs).tensor())
              const minus = part(aten("full_like")(picked, -1).tensor())
              part(aten("scatter_add_")(logs, 1, labelled, minus).tensor())
              const g = narrow ? part(aten("to.dtype")(logs, dtypes.bfloat16).tensor()) : logs
              if (gradX !== undefined) {
                const into = some(gradX)
                part(aten("mm.out")(g, weight, into).tensor())
                part(aten("mul_.Tensor")(into, weights).tensor())
              }
              const turned = (x: number): number => part(aten("t")(x).tensor())
              const f32 = (x: Made): Made => (narrow ? aten("to.dtype")(part(x), dtypes.float32).tensor() : x)
              if (forW) {
                const weighed = part(aten("mul.Tensor")(xs, weights).tensor())
                const right = narrow ? part(aten("to.dtype")(weighed, dtypes.bfloat16).tensor()) : weighed
                if (gradW === undefined || narrow) gradW = add(gradW, f32(aten("mm")(turned(g), right).tensor()))
                else part(aten("addmm_")(gradW, turned(g), right).tensor())
              }
              if (forB === true) {
                const flatly = part(aten("reshape")(weights, [-1]).tensor())
                gradB = add(gradB, aten("mv")(turned(logs), flatly).tensor())
              }
            }
            return addon.own("share", [total], (results) => results.tensor())
          }).dispose()
        }
        if (!wanted.some((one) => one)) return addon.own("share", [total], (results) => results.tensor())
        backend.record(true)
        const grads = [gradX, gradW, gradB].slice(0, inputs.length)
        return addon.own(
          "known",
          [
            total,
            inputs.length,
            ...inputs.map((input) => backend.handle(input)),
            grads.length,
            ...grads.flatMap((grad) => (grad === undefined ? [0] : [1, grad]))
          ],
          (results) => results.tensor()
        )
      })
    } finally {
      if (recording) backend.record(true)
    }
  }
}
