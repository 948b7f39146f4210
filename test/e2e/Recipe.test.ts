/**
 * The recipe runs from raw files to a checkpoint and a report; what was done is not done again; digests owe nothing to
 * paths, folders or worker threads.
 *
 * The graph is the shipped one over small sources and tiny models (`fixtures/small.ts`), run as processes.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { isAbsolute, join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import {
  type Bench,
  completed,
  digestsOf,
  type Ended,
  expectTidy,
  lastOf,
  makeBench,
  manifestsOf,
  nodes,
  nodesThat,
  planned
} from "./Bench.ts"
import { writeSources } from "./Sources.ts"

const GIB = 2 ** 30
const shareOf = expect.toSatisfy((n: unknown) => typeof n === "number" && n >= 0 && n <= 1)
const lossOf = expect.toSatisfy((n: unknown) => typeof n === "number" && Number.isFinite(n) && n > 0)
const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/)

describe("the whole recipe", () => {
  let bench: Bench
  let first: Ended

  beforeAll(async () => {
    bench = await makeBench()
    first = await bench.run()
  }, 120_000)

  test("ends with a checkpoint, a report and the figures, as the last line says", () => {
    const last = completed(first)
    const output = { key: sha256, digest: sha256, path: expect.toSatisfy(isAbsolute) }
    expect(JSON.parse(first.stdout.trim().split("\n").at(-1)!)).toEqual({
      event: "run",
      status: "completed",
      nodesRun: nodes,
      nodesCached: 0,
      outputs: { checkpoint: output, report: output, answers: output, perplexity: output },
      metrics: {
        accuracy: shareOf,
        blindAccuracy: shareOf,
        heldOutLoss: { sft: lossOf, pretrain: lossOf, instruct: lossOf },
        perplexity: lossOf
      }
    })
    for (const { path } of Object.values(last.outputs)) expect(existsSync(path)).toBe(true)
    expectTidy(bench.store)
  })

  test("gives a checkpoint folder that stock classes open: configs, tokenizer, indexed weights", () => {
    const { path } = completed(first).outputs["checkpoint"]!
    const files = readdirSync(path)
    expect(files).toEqual(expect.arrayContaining(["config.json", "tokenizer.json", "model.safetensors.index.json"]))
    const index = JSON.parse(readFileSync(join(path, "model.safetensors.index.json"), "utf8")) as {
      readonly weight_map: Readonly<Record<string, string>>
    }
    for (const file of new Set(Object.values(index.weight_map))) expect(files).toContain(file)
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"))
    expect(config).toMatchObject({ model_type: "llava", architectures: ["LlavaForConditionalGeneration"] })
  })

  test("gives it a card that states its code and the contents it was made from, as the store knows them", () => {
    const card = readFileSync(join(completed(first).outputs["checkpoint"]!.path, "README.md"), "utf8")
    const { path } = completed(first).outputs["checkpoint"]!
    const described = manifestsOf(bench.store).find(({ key }) => path.includes(key))!
    const exported = described.parts.inputs["model"]
    const manifest = manifestsOf(bench.store).find(({ outputs }) => outputs["model"]?.digest === exported)!
    expect(card).toContain(`Code digest: \`${manifest.code.digest}\``)
    const { inputs } = manifest.parts
    for (const port of ["shareGpt", "captions", "captionImages", "instructions", "instructionImages", "languageModel"])
      expect(card, port).toContain(`\`${inputs[port]}\``)
    expect(card).not.toContain("not recorded")
    expect(card).toContain(`sha256 of the questions as rows: \`${described.parts.inputs["questions"]}\``)
    const { accuracy, blindAccuracy } = completed(first).metrics as Readonly<Record<string, number>>
    for (const share of [accuracy, blindAccuracy]) expect(card).toContain(`      value: ${share}\n`)
    expect(card).toContain("license: cc0-1.0\n")
  })

  test("learns: the loss of every stage falls", () => {
    const { stages } = JSON.parse(readFileSync(completed(first).outputs["report"]!.path, "utf8")) as {
      readonly stages: Readonly<Record<string, { readonly losses: ReadonlyArray<number> }>>
    }
    expect(Object.keys(stages).sort()).toEqual(["instruct", "pretrain", "sft"])
    const mean = (values: ReadonlyArray<number>) => values.reduce((sum, one) => sum + one, 0) / values.length
    for (const [stage, { losses }] of Object.entries(stages)) {
      const third = Math.floor(losses.length / 3)
      expect(third, stage).toBeGreaterThan(1)
      expect(mean(losses.slice(-third)), stage).toBeLessThan(mean(losses.slice(0, third)))
    }
  })

  test("keeps refused rows with a reason and a hint", async () => {
    const { code, stdout } = await bench.run(["quarantine", "pretrain/tokenizeImages", "--json"], { plain: true })
    expect(code).toBe(0)
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown)
    expect(JSON.stringify(lines)).toContain("ImageMissing")
    expect(JSON.stringify(lines)).toContain('"hint"')
  })

  test("knows the memory of every node, and stays far under 3 GiB", () => {
    const peaks = manifestsOf(bench.store).map((manifest) => manifest.peakMemory)
    expect(peaks.length).toBe(nodes)
    for (const peak of peaks) expect(peak).toBeGreaterThan(20 * 2 ** 20)
    expect(Math.max(...peaks)).toBeLessThan(3 * GIB)
  })

  test("runs nothing a second time, nor from another working directory, nor after its sources moved", async () => {
    const again = await bench.run([], { cwd: "/" })
    expect(completed(again)).toMatchObject({ nodesRun: 0, nodesCached: nodes, metrics: lastOf(first).metrics })
    expect(lastOf(again).outputs).toEqual(lastOf(first).outputs)
    const moved = await writeSources(join(bench.folder, "else", "where"))
    const after = await bench.run([], { env: { E2E_SOURCES: moved } })
    expect(completed(after)).toMatchObject({ nodesRun: 0, nodesCached: nodes, outputs: lastOf(first).outputs })
  })

  test("a changed parameter runs its node and what depends on it, as the plan said before", async () => {
    const change = ["--set", "instruct/train.lr=0.001"]
    const plan = await bench.run(["--plan", ...change])
    expect(completed(plan)).toMatchObject({ nodesRun: 0, outputs: {} })
    expect(planned("run", plan)).toContain("instruct/train")
    const because = plan.events.find((event) => event.event === "plan" && event.node === "instruct/train")
    expect(because).toMatchObject({ because: [expect.stringMatching(/^parameter lr 0\.\d+ to 0\.001$/)] })
    const changed = await bench.run(change)
    completed(changed)
    // Whether a tiny model's answers are others with this rate, nobody promises: their file may be cut off.
    const follow = [
      "evaluate/answers",
      "evaluate/perplexity",
      "evaluate/write",
      "exportCheckpoint",
      "instruct/train",
      "writeCard"
    ]
    const sure = (ids: ReadonlyArray<string>) => ids.filter((id) => id !== "evaluate/write")
    expect(sure(nodesThat("ran", changed))).toEqual(sure(follow))
    expect([...planned("run", plan), ...planned("maybe", plan)].sort()).toEqual(follow)
    expect(sure(planned("cached", plan))).toEqual(sure(nodesThat("cached", changed)))
    expect(digestsOf(lastOf(changed))).not.toEqual(digestsOf(lastOf(first)))
    expect(completed(await bench.run()).outputs).toEqual(lastOf(first).outputs)
  })

  test("an equal result upstream cuts the re-run off", async () => {
    const plan = await bench.run(["--plan", "--set", "filterCaptions.perPhrase=99"])
    expect(planned("run", plan)).toEqual(["filterCaptions"])
    expect(planned("maybe", plan)).toContain("instruct/train")
    const cut = await bench.run(["--set", "filterCaptions.perPhrase=99"])
    expect(completed(cut)).toMatchObject({ nodesRun: 1, outputs: lastOf(first).outputs })
    expect(nodesThat("ran", cut)).toEqual(["filterCaptions"])
  })

  test("over pixels instead of features it trains to the same losses, and shares all that is equal", async () => {
    const pixels = await bench.run(["--preset", "pixels"])
    const { metrics } = completed(pixels)
    // What follows training is cut off too when both ways give the same bits, which nobody promises.
    expect(nodesThat("ran", pixels)).toEqual(expect.arrayContaining(["instruct/train", "pretrain/train"]))
    const dependents = ["evaluate/answers", "exportCheckpoint", "instruct/train", "pretrain/train", "writeCard"]
    expect(dependents).toEqual(expect.arrayContaining([...nodesThat("ran", pixels)]))
    const lossesOf = (value: unknown) =>
      (value as { readonly heldOutLoss: Readonly<Record<string, number>> }).heldOutLoss
    const before = lossesOf(lastOf(first).metrics)
    for (const [stage, loss] of Object.entries(lossesOf(metrics))) expect(loss).toBeCloseTo(before[stage]!, 3)
  })

  test.each([1, 2, 3])(
    "another folder and %i worker threads give equal digests",
    async (workers) => {
      const other = await makeBench()
      const ended = await other.run(["--workers", String(workers)], { cwd: other.folder })
      expect(completed(ended).nodesRun).toBe(nodes)
      expect(digestsOf(lastOf(ended))).toEqual(digestsOf(lastOf(first)))
      // Every node's results, not the targets' alone. The memory a node took is no part of its result.
      const results = (store: string) =>
        manifestsOf(store).map(({ key, outputs, refused }) => ({ key, outputs, refused }))
      const mine = new Map(results(bench.store).map((one) => [one.key, one]))
      for (const one of results(other.store)) expect(one).toEqual(mine.get(one.key))
      expectTidy(other.store)
    },
    120_000
  )
})
