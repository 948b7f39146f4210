/** The folder that a run ends with has the exported weights and a card that says what they were found to do. */
import { chmodSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { hubFields } from "../../datasets/Credits.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { openChatModel } from "../../src/nodes/ChatModel.ts"
import type { Evaluation } from "../../src/nodes/Evaluate.ts"
import { exportCard, withResults } from "../../src/nodes/ExportCard.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { writeCard } from "../../src/nodes/WriteCard.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { tinyLlava } from "../model/support.ts"
import { initialProjector, tinyModels } from "./support.ts"

const log = {
  steps: 1,
  epochs: 1,
  rows: 1,
  lossTokens: 1,
  losses: [1],
  cutRows: 0,
  cutTokens: 0,
  heldOutLoss: null
}
const evaluation: Evaluation = {
  questions: 40,
  notAsked: 2,
  accuracy: 0.9,
  blindAccuracy: 0.375,
  byType: { shape: { questions: 30, right: 28 }, colour: { questions: 10, right: 8 } },
  blindByType: { shape: { questions: 30, right: 14 }, colour: { questions: 10, right: 1 } },
  samples: [],
  note: "The tower is seeded.",
  stages: { sft: log, pretrain: log, instruct: log }
}
const params = {
  name: "Tiny: a test",
  license: "other",
  baseModels: ["microsoft/phi-2"],
  datasets: ["liuhaotian/LLaVA-Instruct-150K"],
  measuredOn: 'twenty "scenes"; CC0-1.0'
}

describe("writeCard", () => {
  it.effect("copies every file but the card, byte for byte, also of a folder that is read-only", () =>
    Effect.gen(function* () {
      const { into, ...models } = yield* tinyModels()
      const exporting = { dtype: "float32", headBias: "drop", maxShardBytes: 40_000, name: "Tiny" } as const
      const parts = { ...models, projector: yield* initialProjector(into) }
      const model = (yield* Node.run(exportCheckpoint, parts, exporting, { into: join(into, "out") })).out.model
      for (const name of readdirSync(model)) chmodSync(join(model, name), 0o444)
      const inputs = { model, evaluation, questions: [] }
      const write = (name: string) =>
        Effect.map(Node.run(writeCard, inputs, params, { into: join(into, name) }), ({ out }) => out.model)
      const [one, other] = [yield* write("one"), yield* write("other")]
      const names = readdirSync(model).toSorted()
      expect(names).toContain("model.safetensors.index.json")
      for (const folder of [one, other]) {
        expect(readdirSync(folder).toSorted()).toEqual(names)
        for (const name of names.filter((file) => file !== "README.md"))
          expect(readFileSync(join(folder, name)).equals(readFileSync(join(model, name))), name).toBe(true)
      }
      const card = readFileSync(join(one, "README.md"), "utf8")
      expect(readFileSync(join(other, "README.md"), "utf8")).toBe(card)
      // All that the exported card said is in it.
      const before = readFileSync(join(model, "README.md"), "utf8").split("\n").slice(4)
      expect(before.filter((line) => !card.split("\n").includes(line))).toEqual([])
      expect(yield* openChatModel(one)).toMatchObject({ contextLength: 256 })
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it("states accuracy, the blind baseline by type, and what they were measured on, before the section on use", () => {
    const card = withResults(exportCard("Tiny", tinyLlava, "float32"), "Tiny", params, {
      evaluation,
      measuredOn: params.measuredOn,
      digest: "abc"
    })
    const lines = card.split("\n")
    for (const line of [
      "| colour | 10 | 80.0 % | 10.0 % |",
      "| shape | 30 | 93.3 % | 46.7 % |",
      "| all | 40 | 90.0 % | 37.5 % |",
      'Measured on: twenty "scenes"; CC0-1.0 (sha256 of the questions as rows: `abc`).',
      "2 more questions were not asked, because their images were refused.",
      "The tower is seeded."
    ])
      expect(lines).toContain(line)
    expect(lines.indexOf("## Results")).toBeGreaterThan(lines.indexOf("# Tiny"))
    expect(lines.indexOf("## Results")).toBeLessThan(lines.indexOf("## Use"))
  })

  it("has license, base_model, datasets, metrics and model-index as the hub reads them", () => {
    const results = { evaluation, measuredOn: params.measuredOn, digest: undefined }
    const card = withResults(exportCard("Tiny", tinyLlava, "float32"), params.name, params, results)
    const [, yaml] = card.split("---\n")
    const lines = yaml!.trimEnd().split("\n")
    for (const line of [
      "license: other",
      "base_model:",
      '- "microsoft/phi-2"',
      "datasets:",
      '- "liuhaotian/LLaVA-Instruct-150K"',
      "- accuracy",
      '- name: "Tiny: a test"',
      '      name: "twenty \\"scenes\\"; CC0-1.0"',
      "      value: 0.9",
      "      value: 0.375"
    ])
      expect(lines).toContain(line)
    expect(card.match(/^---$/gm)?.length).toBe(2)
    const own = withResults(card, params.name, { license: "cc0-1.0", baseModels: [], datasets: [] }, results)
    expect(own.split("---\n")[1]).not.toMatch(/base_model|datasets|license_name/)
  })
})

describe("the hub's fields", () => {
  it("are those of the sources: one licence where all agree, else `other`", () => {
    const sample = ["sources/captions", "sources/instructions", "initLanguageModel", "initVisionTower"]
    expect(hubFields("sample", sample)).toEqual({ license: "cc0-1.0", baseModels: [], datasets: [] })
    expect(hubFields("sample", [...sample, "sources/mine"]).license).toBe("other")
    const paper = hubFields("paper", ["sources/phi-2", "sources/clip", "sources/captions", "sources/instructions"])
    expect(paper.license).toBe("other")
    expect(paper.baseModels).toEqual(["microsoft/phi-2", "openai/clip-vit-large-patch14-336"])
    expect(paper.datasets).toContain("liuhaotian/LLaVA-Instruct-150K")
  })
})
