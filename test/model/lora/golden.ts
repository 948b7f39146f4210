/** The case that `scripts/peft_golden.py` recorded, and what an engine makes of it. */

import { join } from "node:path"
import { Effect } from "effect"
import { openPhi } from "../../../src/model/Folder.ts"
import { openAdapter } from "../../../src/model/lora/Adapter.ts"
import { loraScale } from "../../../src/model/lora/Lora.ts"
import { phiEmbed, phiHidden, phiLogits, prepareTokens } from "../../../src/model/phi/Model.ts"
import { openSafetensors } from "../../../src/model/Safetensors.ts"
import { lossTokens, segmentsOfLengths, type TokenBatch } from "../../../src/model/TokenBatch.ts"
import { phiTrainable } from "../../../src/model/Trainable.ts"
import { uploadWeights } from "../../../src/model/Weights.ts"
import type { Weights } from "../../../src/tensor/Ops.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { gradientOf } from "../../../src/training/Gradient.ts"
import { downloadWeights } from "../support.ts"

const fixtures = join(import.meta.dirname, "fixtures")
export const baseFolder = join(fixtures, "base")
export const adapterFolder = join(fixtures, "adapter")

/** What peft computed, by name. */
export const golden = Effect.gen(function* () {
  const file = yield* openSafetensors(join(fixtures, "golden.safetensors"))
  const floats: Record<string, Float32Array> = {}
  for (const { dtype, name } of file.entries.values()) if (dtype === "F32") floats[name] = yield* file.floats(name)
  const [ids_BT, labels_BT] = [yield* file.integers("input_ids"), yield* file.integers("labels")]
  const [rows, time] = file.entries.get("input_ids")!.shape as [number, number]
  const segments_BT = segmentsOfLengths(new Array<number>(rows).fill(time), time)
  return { floats, batch: { rows, time, ids_BT, labels_BT, segments_BT } satisfies TokenBatch }
})

/** Base and adapter, uploaded. */
export const opened = Effect.gen(function* () {
  const { config, sources } = yield* openPhi(baseFolder)
  const adapter = yield* openAdapter(adapterFolder, config)
  const lora = { scale: loraScale(adapter.lora), dropout: 0 }
  return {
    config,
    sources,
    settings: adapter.lora,
    lora,
    frozen: yield* uploadWeights(sources),
    weights: yield* uploadWeights(adapter.sources)
  }
})
type Opened = Effect.Success<typeof opened>

/** Loss and gradients of the adapters. */
export const trained = ({ config, frozen, lora, weights }: Opened, batch: TokenBatch, recompute = false) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const { grads, value } = yield* gradientOf(phiTrainable(config, { recompute, lora }), weights, frozen, {
      batch,
      normaliser: lossTokens(batch)
    })
    const arrays = yield* downloadWeights(grads)
    yield* tensors.free(grads)
    return { value, arrays }
  })

/** Logits of all positions. */
export const logitsOf = (
  { config, lora }: Pick<Opened, "config"> & { readonly lora?: Opened["lora"] },
  w: Weights,
  batch: TokenBatch
) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const logits = yield* tensors.run((c) => {
      const { ids_BT, layout } = prepareTokens(config, batch, Number.POSITIVE_INFINITY)
      return phiLogits(
        c,
        w,
        phiHidden(c, w, config, phiEmbed(c, w, ids_BT), layout, lora === undefined ? {} : { lora })
      )
    })
    const values = (yield* tensors.read(logits)) as Float32Array
    yield* tensors.free(logits)
    return values
  })
