/** Unknown sizes of a plan's data are printed as unknown, never as zero. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import llavaPhi, { presets } from "../../pipelines/llava-phi.ts"
import { build } from "../../src/run/Recipe.ts"

const stages = ["sft/train", "pretrain/train", "instruct/train"]

for (const engine of ["wasm", "torch-bf16"])
  it.effect(`a stage whose examples are not in the store has no counts and no hours: ${engine}`, () =>
    Effect.gen(function* () {
      const { nodes } = build(llavaPhi, { preset: "sample", settings: [], engine })
      const { figures, lines } = yield* llavaPhi.cost!(presets.sample, {
        nodes,
        cached: () => false,
        engine,
        engineOpen: false,
        world: 1,
        gpu: undefined,
        mfu: undefined,
        open: () => Effect.succeed(undefined)
      })
      expect(lines[0]).toContain("? is not known before its data is in the store")
      expect(lines.join("\n")).not.toMatch(/~0(?![.\d])/)
      for (const stage of stages) {
        const line = lines.find((one) => one.startsWith(`${stage} `))!
        expect(line.split(/ {2,}/).slice(2, 8), stage).toEqual(["?", "?", "?", "?", "?", "?"])
      }
      const told = figures as { readonly stages: ReadonlyArray<Readonly<Record<string, unknown>>> }
      for (const stage of told.stages)
        expect(stage).toMatchObject({ examples: null, rows: null, tokens: null, steps: null, flops: null })
      const cards = lines.filter((line) => /^[AH]100/.test(line))
      expect(cards.length > 0).toBe(engine !== "wasm")
      for (const card of cards) expect(card.split(/ {2,}/).slice(1, 5)).toEqual(["?", "?", "?", "?"])
    })
  )
