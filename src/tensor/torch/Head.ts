/**
 * A language model's head with its loss: logits are made for some rows at a time and never kept.
 *
 * Not a sampler: no logits come out. The gradient by the hidden states, the weight and the bias is made beside the loss, so
 * that no logits are made twice; it waits on the tape until the loss is differentiated (`known` in `native/torch/fused.cc`).
 *
 * The way of Liger's fused linear cross-entropy (Hsu et al., 2024). Shapes: N rows, D width, V vocabulary.
 */
import type { Tensor } from "../Ops.ts"
import { check } from "../Regions.ts"
import type { Compute } from "../Tensors.ts"
import { dtypes } from "./Addon.ts"
import { inSteps, type Keep } from "./Attention.ts"
import type { TorchBackend } from "./Backend.ts"

/** Logits at a time: 64 MiB of float32 on a CPU, 1 GiB on a GPU. */
const LOGITS = { cpu: 2 ** 24, cuda: 2 ** 28 } as const

export const makeHead = (
  backend: TorchBackend,
  wide: (x: Tensor, keep: Keep) => number,
  weightOf: (x: Tensor, keep: Keep) => number,
  device: "cpu" | "cuda",
  precision: "f32" | "bf16"
): Compute["linearCrossEntropy"] => {
  const { addon } = backend
  const { aten } = addon
  return (x, w, b, labels, normaliser) => {
    check.linear(x, w, b)
    check.linearCrossEntropy(x, labels)
    const [rows, width] = x.shape as [number, number]
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
        const zeros = (shape: ReadonlyArray<number>): number =>
          keep(aten("zeros")(shape, dtypes.float32, null, "device", null).tensor())
        const [forX, forW, forB] = wanted as [boolean, boolean, boolean | undefined]
        const gradX = forX ? keep(aten("empty_like")(hidden).tensor()) : undefined
        const gradW = forW ? zeros([vocabulary, width]) : undefined
        const gradB = forB === true ? zeros([vocabulary]) : undefined
        const total = zeros([])
        for (let from = 0; from < rows; from += step) {
          inSteps(backend, (part) => {
            const count = Math.min(step, rows - from)
            const some = (all: number): number => part(aten("narrow")(all, 0, from, count).tensor())
            const xs = some(hidden)
            const logits = part(aten("linear")(xs, weight, bias).tensor())
            const logs = part(aten("log_softmax.int")(logits, -1, dtypes.float32).tensor())
            const picked = part(aten("gather")(logs, 1, some(places)).tensor())
            const losses = part(aten("mul.Tensor")(picked, some(share)).tensor())
            part(aten("sub_.Tensor")(total, part(aten("sum")(losses).tensor())).tensor())
            if (wanted.some((one) => one)) {
              // softmax - onehot, times what the row counts; in the place of the logarithms
              part(aten("exp_")(logs).tensor())
              const ones = part(aten("ones_like")(picked).tensor())
              part(aten("scatter_add_")(logs, 1, some(places), part(aten("neg")(ones).tensor())).tensor())
              part(aten("mul_.Tensor")(logs, some(share)).tensor())
              const g = precision === "f32" ? logs : part(aten("to.dtype")(logs, dtypes.bfloat16).tensor())
              if (gradX !== undefined) part(aten("mm.out")(g, weight, some(gradX)).tensor())
              if (gradW !== undefined) {
                const turned = part(aten("t")(g).tensor())
                if (precision === "f32") part(aten("addmm_")(gradW, turned, xs).tensor())
                else part(aten("add_.Tensor")(gradW, part(aten("mm")(turned, xs).tensor())).tensor())
              }
              if (gradB !== undefined)
                part(aten("add_.Tensor")(gradB, part(aten("sum.dim_IntList")(logs, [0]).tensor())).tensor())
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
