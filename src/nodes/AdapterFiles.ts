/**
 * What training nodes with adapters share: the frozen base, the adapters' start, and the two forms of what they
 * learned.
 *
 * Not a node and not LoRA itself (`src/model/lora`).
 */
import { Effect, type Scope } from "effect"
import type { CheckpointError } from "../model/Checkpoint.ts"
import { writeAdapter } from "../model/lora/Adapter.ts"
import { type Lora, loraScale } from "../model/lora/Lora.ts"
import { merged } from "../model/lora/Merge.ts"
import { dequantised, uploadQuantised } from "../model/lora/Quantised.ts"
import type { PhiConfig } from "../model/phi/Config.ts"
import type { AppliedLora } from "../model/phi/Model.ts"
import type { WeightSource } from "../model/Weights.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { fromEngine, fromSources, loadWeights, type ModelFile, writePhi } from "./ModelFiles.ts"

interface Dropping {
  readonly dropout: boolean
}

/** Uploads what is frozen beside adapters, the language model's names after `prefix`; freed with the scope. */
export const loadBase = (
  sources: ReadonlyArray<WeightSource<CheckpointError>>,
  lora: Lora,
  prefix = ""
): Effect.Effect<Weights, CheckpointError | TensorError, Tensors | Scope.Scope> =>
  lora.quantise === "none"
    ? loadWeights(sources)
    : Effect.flatMap(Tensors, (tensors) =>
        Effect.acquireRelease(uploadQuantised(sources, prefix), (weights) => tensors.free(weights))
      )

/** How a stage applies adapters. Their dropout is theirs: it holds also where the stage has none of the model's own. */
export const applied = <Settings extends Dropping>(
  config: PhiConfig,
  lora: Lora,
  settings: Settings
): { readonly config: PhiConfig; readonly lora: AppliedLora; readonly settings: Settings } => ({
  config: settings.dropout ? config : { ...config, residualDropout: 0 },
  lora: { scale: loraScale(lora), dropout: lora.dropout },
  settings: { ...settings, dropout: settings.dropout || lora.dropout > 0 }
})

/** The outputs `model`, merged, and `adapter`, in PEFT's layout. `weights` are the adapters', with our names. */
export const learned = ({ config, sources }: ModelFile<PhiConfig>, lora: Lora, weights: Weights) => {
  const base = lora.quantise === "nf4" && lora.mergeInto === "dequantised" ? dequantised(sources) : sources
  return {
    model: (folder: string) => writePhi(folder, config, fromSources(merged(base, weights, lora), "float32")),
    adapter: (folder: string) => writeAdapter(folder, lora, fromEngine(weights, "float32"))
  }
}
