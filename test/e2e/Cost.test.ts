/**
 * What a plan says that training costs, held to what a run then did: steps, rows, tokens with a loss and the bytes of a
 * checkpoint are equal, the bytes of the store nearly.
 */
import { readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import { type Bench, completed, type Ended, failed, filesBelow, makeBench, manifestsOf } from "./Bench.ts"

interface Figures {
  readonly stages: ReadonlyArray<{
    readonly node: string
    readonly exact: boolean
    readonly cached: boolean
    readonly examples: number
    readonly steps: number
    readonly lossTokens: number
    readonly flops: number
    readonly executed: number
    readonly trained: number
    readonly checkpointBytes: number
  }>
  readonly written: ReadonlyArray<{ readonly node: string; readonly what: string; readonly bytes: number }>
}

const figuresOf = ({ events }: Ended): Figures => {
  const found = events.find((event) => event.event === "cost")
  if (found?.event !== "cost") throw new Error("no cost was told")
  return found.figures as unknown as Figures
}

interface Report {
  readonly steps: number
  readonly rows: number
  readonly lossTokens: number
}

describe("the cost of a plan, beside the run", () => {
  let bench: Bench
  let ran: Ended
  let planned: Figures
  let checkpoint: number

  beforeAll(async () => {
    bench = await makeBench()
    // Checkpoints of a stage go when it ends: one that is killed leaves some.
    await bench.run(["--checkpoint-every", "1"], { kill: { line: '"checkpoint".*"sft/train"', nth: 2 } })
    checkpoint = filesBelow(bench.store, ".safetensors")
      .filter((path) => path.includes("state-"))
      .map((path) => readFileSync(path))
      .reduce((most, file) => Math.max(most, file.byteLength - 8 - Number(file.readBigUInt64LE(0))), 0)
    ran = await bench.run()
    completed(ran)
    planned = figuresOf(await bench.run(["--plan"]))
  }, 180_000)

  test("steps, examples and tokens with a loss are the run's", () => {
    const reports = filesBelow(join(bench.store, "entries"), "value.json")
      .map((path) => JSON.parse(readFileSync(path, "utf8")) as Report)
      .filter((value) => "lossTokens" in value)
    expect(planned.stages.map(({ cached, exact, node }) => [node, cached, exact])).toEqual([
      ["sft/train", true, true],
      ["pretrain/train", true, true],
      ["instruct/train", true, true]
    ])
    const figures = (all: ReadonlyArray<readonly [number, number, number]>) => all.map((one) => one.join(" ")).sort()
    expect(figures(planned.stages.map(({ examples, lossTokens, steps }) => [steps, examples, lossTokens]))).toEqual(
      figures(reports.map(({ lossTokens, rows, steps }) => [steps, rows, lossTokens]))
    )
  })

  test("a checkpoint has as many bytes as were foretold", () => {
    const [sft] = planned.stages
    expect(checkpoint).toBe(sft!.checkpointBytes)
    expect(sft!.checkpointBytes).toBe(12 * sft!.trained)
  })

  test("recomputed stages execute more than they need, others what they need", () => {
    const more = planned.stages.map(({ executed, flops }) => executed / flops)
    expect(more[0]).toBe(1)
    expect(more[1]).toBe(1)
    expect(more[2]).toBeGreaterThan(1.1)
    expect(more[2]).toBeLessThan(1.34)
  })

  test("pixels, features, models and the export take the bytes of their manifests, within a fifth", () => {
    const manifests = new Map(manifestsOf(bench.store).map((manifest) => [manifest.key, manifest]))
    const port = { pixels: "pixels", features: "rows", export: "model" } as const
    const shares = planned.written.flatMap(({ bytes, node, what }) => {
      if (!(what in port)) return []
      const end = ran.events.find((event) => event.event === "node-end" && event.node === node)
      const key = end?.event === "node-end" ? end.key : undefined
      return [
        [`${node} ${what}`, bytes / manifests.get(key ?? "")!.outputs[port[what as keyof typeof port]]!.bytes] as const
      ]
    })
    expect(shares.length).toBe(6)
    for (const [name, share] of shares) {
      expect(share, name).toBeGreaterThan(0.8)
      expect(share, name).toBeLessThan(1.2)
    }
  })

  test("without the data a plan fails and tells the cost all the same", async () => {
    rmSync(join(bench.sources, "chat.json"))
    const ended = await bench.run(["--plan"])
    expect(failed(ended).message).toMatch(/does not exist/)
    expect(figuresOf(ended).stages.map(({ exact }) => exact)).toEqual([false, false, false])
  })

  test("flags that only a plan reads are refused elsewhere", async () => {
    const ended = await bench.run(["--gpu", "H100"])
    expect(ended.code).toBe(2)
    expect(ended.stderr).toMatch(/--gpu has no effect on a run/)
  })
})
