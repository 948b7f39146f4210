/**
 * What each stage of the sample is worth: the recipe, the recipe with one thing taken away, and the recipe with other
 * seeds.
 *
 *     npx tsx pipelines/ablation.ts
 *
 * Not a recipe of its own: every variant is `llavaPhi` with other seeds, or with one setting or one source changed.
 * What variants have in common is computed once, because a key says what a node computes, not in which variant it
 * stands. The page of the run has the table.
 */

import { run } from "../src/cli/Main.ts"
import { scope } from "../src/dag/InstanceScope.ts"
import { pipeline } from "../src/dag/Pipeline.ts"
import { evaluationPage } from "../src/nodes/EvaluationPage.ts"
import { summariseVariants } from "../src/nodes/EvaluationText.ts"
import { initVisionTower } from "../src/nodes/InitModels.ts"
import { recipe } from "../src/run/Recipe.ts"
import * as Engine from "../src/tensor/Engine.ts"
import { numerics } from "../src/tensor/Fingerprint.ts"
import { llavaPhi, presets, type Settings, type Sources, sampleSources, sampleTower } from "./llava-phi.ts"

/** The settings with another seed in every stage that draws. */
const seeded = (settings: Settings, seed: number): Settings => ({
  ...settings,
  sft: { ...settings.sft, seed },
  pretrain: { ...settings.pretrain, seed },
  instruct: { ...settings.instruct, seed }
})

/** A tower whose weights are all zero: every patch looks the same to it. */
const blindTower = () =>
  initVisionTower({}, { ...sampleTower, std: 0, positionStd: 0, cosines: { ...sampleTower.cosines, std: 0 } }).out.model

/** The variants by name; the first is the recipe as it stands. */
export const ablation = (settings: Settings) => {
  const variant = (name: string, changed: Settings, sources: () => Sources = sampleSources) =>
    scope(name, () => llavaPhi(changed, sources()).evaluated.out.report)
  return {
    pipeline: pipeline("llava-phi-ablation", {
      recipe: variant("recipe", settings),
      "seed-1": variant("seed-1", seeded(settings, 1), () => sampleSources(1)),
      "seed-2": variant("seed-2", seeded(settings, 2), () => sampleSources(2)),
      "without-sft": variant("without-sft", { ...settings, sft: { ...settings.sft, epochs: 0 } }),
      "without-pretraining": variant("without-pretraining", {
        ...settings,
        pretrain: { ...settings.pretrain, epochs: 0 }
      }),
      "without-images": variant("without-images", settings, () => ({ ...sampleSources(), vision: blindTower() }))
    })
  }
}

const ablationRecipe = recipe({
  name: "llava-phi-ablation",
  presets: { sample: presets.sample as Settings },
  build: ablation,
  engines: ["wasm"],
  services: Engine.layer,
  numerics,
  summary: summariseVariants,
  report: evaluationPage
})
export default ablationRecipe

run(import.meta, ablationRecipe)
