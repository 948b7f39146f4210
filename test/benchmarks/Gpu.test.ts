/**
 * `bench -- gpu` where there is no GPU: its formulas, its fallbacks, and a walk through all of it with tiny models
 * where a libtorch, a compiler and transformers are found; where not, that test is skipped and says why.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { peakOf } from "../../benchmarks/gpu/Card.ts"
import { firstThatFits } from "../../benchmarks/gpu/Gpu.ts"
import { gpuRows } from "../../benchmarks/gpu/index.ts"
import { errorOf } from "../../benchmarks/gpu/Kernels.ts"
import { paper } from "../../benchmarks/gpu/Sizes.ts"
import { hashed, PERIOD } from "../../benchmarks/work/Formula.ts"
import { clipFlops, fullRows, phiFlops } from "../../src/model/Flops.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import { OutOfMemory } from "../../src/tensor/Errors.ts"
import { findLibtorch } from "../../src/tensor/torch/Libtorch.ts"
import { start } from "../cli/process.ts"

const root = join(import.meta.dirname, "../..")
const home = mkdtempSync(join(tmpdir(), "millrace-gpu-test-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

describe("what MFU counts", () => {
  it("is 6 N + 12 L d T / 2 a token for a Phi trained whole, N every matrix but the embedding table", () => {
    const config = paper.llava.text
    const time = 2048
    const count = (shape: ReadonlyArray<number>): number => shape.reduce((product, n) => product * n, 1)
    const matrices = Object.entries(phiShapes(config)).filter(
      ([name, shape]) => shape.length > 1 && name !== "model.embed_tokens.weight"
    )
    const n = matrices.reduce((sum, [, shape]) => sum + count(shape), 0)
    expect(n / 1e9).toBeCloseTo(2.65, 2)
    const aToken = 6 * n + (12 * config.layers * config.hiddenSize * time) / 2
    expect(phiFlops(config, fullRows(3, time, 3 * time), true)).toBeCloseTo(3 * time * aToken, -6)
  })

  it("leaves out gradients of frozen weights, and logits of tokens without a label", () => {
    const config = paper.llava.text
    const whole = phiFlops(config, { tokens: 1000, labels: 0, pairs: 0 }, true)
    expect(phiFlops(config, { tokens: 1000, labels: 0, pairs: 0 }, false) / whole).toBeCloseTo(2 / 3)
    const head = phiFlops(config, { tokens: 1000, labels: 10, pairs: 0 }, true) - whole
    expect(head).toBe(6 * 10 * config.vocabSize * config.hiddenSize)
  })

  it("counts 23 of the tower's 24 layers: 0.29 G weights, 577 tokens a picture", () => {
    const flops = clipFlops(paper.llava.vision, -2, 2) / 2
    const layers = 23
    expect(flops).toBeCloseTo(
      2 * 577 * layers * 12 * 1024 ** 2 + 4 * layers * 1024 * 577 ** 2 + 2 * 576 * 1024 * 588,
      -3
    )
  })

  it("knows cards by the names that drivers give, and no others", () => {
    expect(peakOf("NVIDIA H200")).toBe(989e12)
    expect(peakOf("NVIDIA H100 80GB HBM3")).toBe(989e12)
    expect(peakOf("NVIDIA H100 PCIe")).toBe(756e12)
    expect(peakOf("NVIDIA A100-SXM4-80GB")).toBe(312e12)
    expect(peakOf("NVIDIA L40S")).toBe(362e12)
    expect(peakOf("NVIDIA GeForce GTX 1080")).toBeUndefined()
    expect(peakOf(null)).toBeUndefined()
  })
})

it("weights by formula are these bits, which PyTorch computes as well, with the deviation that was asked for", () => {
  const some = hashed(100_000, 4_000_000_000, 0.02)
  expect([...some.subarray(0, 3)]).toEqual([0.002034170553088188, 0.03342995420098305, -0.006661133840680122])
  const deviation = Math.sqrt(some.reduce((sum, x) => sum + x * x, 0) / some.length)
  expect(deviation / 0.02).toBeCloseTo(1, 2)
  const long = hashed(3 * PERIOD + 7, 5, 1)
  expect(long.subarray(3 * PERIOD)).toEqual(long.subarray(0, 7))
  expect(long.subarray(PERIOD - 3, PERIOD + 3)).toEqual(long.subarray(3 * PERIOD - 3, 3 * PERIOD + 3))
})

describe("memory that runs out", () => {
  const full = new OutOfMemory({ engine: "torch", requestedBytes: 1, heldBytes: 2, hint: "less" })
  const quiet = { say: () => undefined }

  it("takes the next attempt, and its result", async () => {
    const attempt = (rows: number) => (rows > 2 ? Promise.reject(full) : Promise.resolve(`${rows} rows`))
    expect(await firstThatFits(quiet, [8, 4, 2, 1], attempt)).toEqual([2, "2 rows"])
  })

  it("fails with the engine's error when nothing fits, and at once for any other error", async () => {
    await expect(firstThatFits(quiet, [2, 1], () => Promise.reject(full))).rejects.toBe(full)
    const tried: Array<number> = []
    const broken = (rows: number) => {
      tried.push(rows)
      return Promise.reject(new Error("no"))
    }
    await expect(firstThatFits(quiet, [2, 1], broken)).rejects.toThrow("no")
    expect(tried).toEqual([2])
  })
})

it("an error that is no number, or of too few numbers, is the largest", () => {
  expect(errorOf(Float32Array.of(3, 4.5), Float32Array.of(3, 4))).toBeCloseTo(0.1)
  expect(errorOf(Float32Array.of(Number.NaN), Float32Array.of(1))).toBe(Number.POSITIVE_INFINITY)
  expect(errorOf(Float32Array.of(), Float32Array.of(1))).toBe(Number.POSITIVE_INFINITY)
})

describe("npm run bench -- gpu", () => {
  const main = join(root, "benchmarks", "main.ts")

  it("without a GPU fails and says so: it never measures the CPU in its place", async () => {
    const env = { CUDA_VISIBLE_DEVICES: "" }
    const { code, stdout } = await start([main, "gpu", "--json", "--only", "kernels-f32"], { env }).ended
    expect(JSON.parse(stdout)).toMatchObject({ name: "kernels-f32", ours: null, ratio: null })
    expect(stdout).toContain("missing: a GPU that libtorch computes on")
    expect(code).toBe(1)
  })

  it("has eleven rows; speed is judged on a card at full size alone", () => {
    const rows = gpuRows("cpu", "tiny")
    expect(rows.map((row) => row.name)).toEqual([
      "kernels-f32",
      "kernels-bf16",
      "gradients-f32",
      "gradients-bf16",
      "phi2-tokens",
      "phi2-mfu",
      "phi2-memory",
      "stage-sft",
      "stage-pretrain",
      "stage-instruct",
      "recipe-hours"
    ])
    expect(rows.map((row) => row.goal)).toEqual([1, 1, 1, 1, ...new Array<null>(7).fill(null)])
    const judged = gpuRows("cuda", "quick").filter((row) => row.goal !== null)
    expect(judged.map((row) => [row.name, row.goal]).slice(4)).toEqual([
      ["phi2-tokens", 1.3],
      ["phi2-mfu", 1]
    ])
  })
})

const found = await Effect.runPromise(Effect.result(findLibtorch()))
/** The interpreter whose torch was found: `python:PATH` of `LIBTORCH`, or the one of its environment. */
const python = process.env["LIBTORCH"]?.startsWith("python:") ? process.env["LIBTORCH"].slice(7) : "python3"
const compiler = process.env["CXX"] ?? "c++"
const why = Result.isFailure(found)
  ? found.failure.message
  : spawnSync(compiler, ["--version"]).status !== 0
    ? `there is no C++ compiler called ${compiler}`
    : spawnSync(python, ["-c", "import torch, transformers, safetensors"]).status !== 0
      ? `${python} has no torch and transformers`
      : undefined

describe("npm run pack:gpu", () => {
  const archive = join(home, "gpu.tar.xz")
  const folder = join(home, "millrace-gpu")

  it("packs what the benchmark imports: there it starts, far from this repository", async () => {
    execFileSync(process.execPath, [join(root, "scripts/pack-gpu.ts"), "--out", archive, "--without-node"])
    // Node itself adds 27 MB.
    expect(statSync(archive).size).toBeLessThan(10e6)
    execFileSync("tar", ["-xJf", archive, "-C", home])
    expect(existsSync(join(folder, "native/torch/module.cc"))).toBe(true)
    const there = { cwd: folder, env: { CUDA_VISIBLE_DEVICES: "" } }
    const { code, stdout } = await start(["benchmarks/main.ts", "gpu", "--json"], there).ended
    expect(stdout.trim().split("\n").length).toBe(11)
    expect(stdout).toContain("missing: a GPU that libtorch computes on")
    expect(code).toBe(1)
  }, 180_000)

  it.skipIf(why !== undefined)(
    `run.sh builds the addon there and walks through every row${why === undefined ? "" : ` (skipped: ${why})`}`,
    async () => {
      const PATH = `${dirname(process.execPath)}:${process.env["PATH"]}`
      const words = ["--device", "cpu", "--size", "tiny", "--json"]
      const { code, stderr, stdout } = await start(words, {
        command: join(folder, "run.sh"),
        env: { PATH, PYTHON: python, MILLRACE_TORCH_ADDON: join(folder, "native/torch/build/millrace-torch.node") }
      }).ended
      const lines = stdout
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as { readonly name: string; readonly note: string })
      expect(lines.length, stderr).toBe(11)
      expect(lines.filter((line) => line.note.includes("failed"))).toEqual([])
      expect(stderr).toContain("all 11 rows reach their goals")
      expect(code).toBe(0)
    },
    600_000
  )
})
