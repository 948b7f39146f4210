/** Fine-tuning is wired as its flags say, plans without data, and runs from a folder of weights to one that answers. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { sampleFolder } from "../../datasets/Dataset.ts"
import { finetune, presets } from "../../pipelines/finetune.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { withSources } from "../../src/dag/SourceOverrides.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { initialProjector, tinyModels } from "../nodes/support.ts"

const nodesOf = (preset: keyof typeof presets, sources: ReadonlyArray<string>) => {
  const { nodes, targets } = withSources(sources, () => finetune(presets[preset])).pipeline
  return { ids: nodes.map(({ id }) => id), nodes, targets: Object.keys(targets) }
}

describe("the wiring", () => {
  it("the example tunes the sample's own model and asks it before and after", () => {
    const { ids, targets } = nodesOf("example", [])
    expect(ids).toContain("base/exportCheckpoint")
    expect(ids).not.toContain("base/evaluate/answers")
    expect(targets.toSorted()).toEqual(["answers", "checkpoint", "score", "score-before", "training"])
  })

  it("--model takes the place of the sample's model, in any preset", () => {
    for (const preset of ["example", "lora", "qlora", "whole"] as const) {
      const { ids, nodes } = nodesOf(preset, ["model=/m"])
      expect(ids.filter((id) => id.startsWith("base/"))).toEqual([])
      expect(nodes.find(({ id }) => id === "model")).toMatchObject({ location: "/m" })
    }
  })

  it("--llava reads LLaVA's own layout beside the tower and tokenizer that it was made with", () => {
    const { ids } = nodesOf("lora", ["llava=/m"])
    expect(ids).toEqual(expect.arrayContaining(["base/llava", "base/importOriginal", "base/clip", "base/tokenizer"]))
    expect(ids).not.toContain("importModel")
  })

  it("questions are those of --questions, or else of the rows that are held out; the example's belong to its rows", () => {
    expect(nodesOf("lora", ["model=/m"]).ids).toContain("heldOutQuestions")
    expect(nodesOf("lora", ["model=/m", "questions=/q.jsonl"]).ids).toContain("readQuestionLines")
    expect(nodesOf("example", []).ids).toContain("readQuestionLines")
    expect(nodesOf("example", ["data=/rows.json", "images=/i"]).ids).toContain("heldOutQuestions")
  })

  it("adapters are an output of their own", () => {
    expect(nodesOf("qlora", ["model=/m"]).targets).toContain("adapter")
    expect(nodesOf("whole", ["model=/m"]).targets).not.toContain("adapter")
  })
})

const recipe = fileURLToPath(new URL("../../pipelines/finetune.ts", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "finetune-"))
const images = join(folder, "images.zip")
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let model = ""

/** A model with fresh weights: what it answers means nothing. */
beforeAll(() =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { into, ...models } = yield* tinyModels()
      const { out } = yield* Node.run(
        exportCheckpoint,
        { ...models, projector: yield* initialProjector(into) },
        { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "Tiny" },
        { into: join(folder, "model") }
      )
      model = out.model
      const read = (path: string) => readFileSync(new URL(path, sampleFolder))
      writeFileSync(images, read("signals/images.zip"))
      const rows = JSON.parse(read("signals/train.json").toString("utf8")) as ReadonlyArray<unknown>
      writeFileSync(join(folder, "rows.json"), JSON.stringify(rows.slice(0, 40)))
      writeFileSync(
        join(folder, "rows.jsonl"),
        rows
          .slice(0, 40)
          .map((row) => `${JSON.stringify(row)}\n`)
          .join("")
      )
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
)

/** The last line of a run: what it left. */
const run = (...args: ReadonlyArray<string>) => {
  const common = ["--store", join(folder, "store"), "--json", "--model", model, "--images", images]
  const tiny = ["--set", "tokenizeImages.size=28", "--set", "train.epochs=1", "--set", "heldOut.share=0.2"]
  const small = tiny.map((word) => word.replace("heldOut.share", "holdOut.share"))
  const { status, stderr, stdout } = spawnSync(process.execPath, [recipe, ...common, ...small, ...args], {
    encoding: "utf8",
    timeout: 120_000
  })
  const events = stdout.trim().split("\n")
  return { status, stderr, last: status === 0 ? JSON.parse(events.at(-1)!) : undefined }
}

describe("a run", () => {
  const questions = ["--set", "heldOutQuestions.share=0.2"]

  it("tunes a folder of weights on rows and images, and leaves a checkpoint, answers and their score", () => {
    const first = run("--data", join(folder, "rows.json"), ...questions)
    expect(first.status, first.stderr).toBe(0)
    expect(Object.keys(first.last.outputs).toSorted()).toEqual([
      "answers",
      "checkpoint",
      "score",
      "score-before",
      "training"
    ])
    expect(first.last.metrics).toMatchObject({ accuracy: expect.any(Number), heldOutLoss: expect.any(Number) })
    const weights = readFileSync(join(first.last.outputs.checkpoint.path, "model.safetensors"))
    expect(weights.equals(readFileSync(join(model, "model.safetensors")))).toBe(false)

    // The same rows in another form: they are read again, and nothing that follows is done again.
    const again = run("--data", join(folder, "rows.jsonl"), ...questions)
    expect(again.status, again.stderr).toBe(0)
    expect(again.last).toMatchObject({ status: "completed", outputs: first.last.outputs })
  }, 200_000)

  it("trains adapters alone where it is told to, merged into the checkpoint and apart", () => {
    const lora = { rank: 4, alpha: 8, dropout: 0, targets: ["q_proj", "v_proj"], quantise: "none" }
    const trains = { projector: true, language: { ...lora, mergeInto: "dequantised" }, vision: false }
    const { last, status, stderr } = run(
      ...["--preset", "lora", "--engine", "wasm", "--data", join(folder, "rows.json"), ...questions],
      ...["--set", `train.trains=${JSON.stringify(trains)}`, "--set", "train.batch=8", "--set", "train.headBias=drop"],
      ...["--set", "importModel.headBias=drop", "--set", "exportCheckpoint.headBias=drop"],
      ...["--set", "exportCheckpoint.dtype=float32", "--set", "after/answerQuestions.headBias=drop"]
    )
    expect(status, stderr).toBe(0)
    expect(Object.keys(last.outputs)).toContain("adapter")
  }, 200_000)

  it("says what is missing, and how to give it", () => {
    const { status, stderr } = spawnSync(process.execPath, [recipe, "--preset", "lora", "--plan"], {
      encoding: "utf8",
      cwd: mkdtempSync(join(folder, "empty-")),
      timeout: 60_000
    })
    expect(status).toBe(1)
    expect(stderr).toContain("Give a LLaVA with Phi: `--model`")
    expect(stderr).not.toMatch(/\n\s+at /)
  })
})
