/** The ablation's variants differ from the recipe in what their names say, and in nothing else. Nothing runs. */
import { describe, expect, it } from "vitest"
import { ablation } from "../../pipelines/ablation.ts"
import { presets } from "../../pipelines/llava-phi.ts"

const { nodes, targets } = ablation(presets.sample).pipeline

/** Parameters of a variant's nodes by the name that they have in the recipe. */
const paramsOf = (variant: string) =>
  new Map(
    nodes
      .filter(({ id }) => id.startsWith(`${variant}/`))
      .map(({ id, params }) => [id.slice(variant.length + 1), JSON.stringify(params)] as const)
  )
const recipe = paramsOf("recipe")
/** But for the export: its card repeats what the stages say. */
const changed = (variant: string) =>
  [...paramsOf(variant)].flatMap(([id, params]) => (recipe.get(id) === params || id === "exportCheckpoint" ? [] : [id]))

describe("the ablation", () => {
  it.each([
    ["seed-1", ["initLanguageModel", "initVisionTower", "instruct/train", "pretrain/train", "sft/train"]],
    ["seed-2", ["initLanguageModel", "initVisionTower", "instruct/train", "pretrain/train", "sft/train"]],
    ["without-sft", ["sft/train"]],
    ["without-pretraining", ["pretrain/train"]],
    ["without-images", ["initVisionTower"]]
  ])("%s is the recipe but for %j", (variant, expected) => {
    expect([...paramsOf(variant).keys()].sort()).toEqual([...recipe.keys()].sort())
    expect(changed(variant).sort()).toEqual(expected)
  })

  it("evaluates each variant once", () => {
    expect(Object.entries(targets).map(([name, ref]) => [name, ref.node.id])).toEqual(
      ["recipe", "seed-1", "seed-2", "without-sft", "without-pretraining", "without-images"].map((name) => [
        name,
        `${name}/evaluate/answers`
      ])
    )
  })
})
