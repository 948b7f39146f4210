/**
 * LLaVA-Phi by adapters: the language model is frozen in both of its stages, and LoRA or QLoRA trained beside it.
 *
 *     npx tsx pipelines/llava-phi-lora.ts                       the sample, adapters of rank 8
 *     npx tsx pipelines/llava-phi-lora.ts --preset paper --plan  Phi-2 in four bits, adapters of rank 64
 *
 * Not a graph of its own: `llavaPhi` with adapters in two of its stages. The paper names adapters as future work; their
 * numbers here are chosen, not published.
 */
import { run } from "../src/cli/Main.ts"
import { type Lora, loraTargets } from "../src/model/lora/Lora.ts"
import { recipe } from "../src/run/Recipe.ts"
import llavaPhiRecipe, { presets, type Settings } from "./llava-phi.ts"

const lora = {
  rank: 8,
  alpha: 16,
  dropout: 0,
  targets: loraTargets,
  quantise: "none",
  mergeInto: "dequantised"
} as const satisfies Lora

/** QLoRA's own: every linear of the blocks, rank 64, alpha 16. */
const qlora = { ...lora, rank: 64, dropout: 0.05, quantise: "nf4" } as const satisfies Lora

const sample: Settings = {
  ...presets.sample,
  sft: { ...presets.sample.sft, lr: 4e-3, lora },
  instruct: { ...presets.sample.instruct, lr: 4e-3, trains: { ...presets.sample.instruct.trains, language: lora } }
}

const paper: Settings = {
  ...presets.paper,
  sft: { ...presets.paper.sft, lr: 2e-4, weightDecay: 0, lora: qlora },
  instruct: {
    ...presets.paper.instruct,
    lr: 2e-4,
    weightDecay: 0,
    trains: { ...presets.paper.instruct.trains, language: qlora }
  }
}

const loraRecipe = recipe({
  ...llavaPhiRecipe,
  name: "llava-phi-lora",
  presets: { sample, paper } as { readonly [preset: string]: Settings },
  // Under a name of its own, `gc` keeps the results of both recipes.
  build: (settings) => ({ pipeline: { ...llavaPhiRecipe.build(settings).pipeline, name: "llava-phi-lora" } })
})
export default loraRecipe

run(import.meta, loraRecipe)
