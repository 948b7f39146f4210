/**
 * The recipe trained by adapters, in real processes: SIGKILL inside its two language stages costs nothing but time, and
 * several ranks have the losses of one.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { missing } from "../tensor/torch/built.ts"
import { type Bench, completed, digestsOf, filesBelow, makeBench } from "./Bench.ts"

const adapters = ["--preset", "adapters"]

/** Bytes of every adapter of a store, in a fixed order. */
const adaptersOf = (bench: Bench): ReadonlyArray<string> =>
  filesBelow(join(bench.store, "entries"), "adapter_model.safetensors")
    .map((path) => readFileSync(path).toString("base64"))
    .sort()

describe("adapters", () => {
  test("killed while they are trained, and gone on with, are to the bit those that nobody disturbed", async () => {
    const [bench, calm] = [await makeBench(), await makeBench()]
    for (const node of ["sft/train", "instruct/train"]) {
      const kill = { line: `"event":"checkpoint",.*"node":"${node}"`, nth: 2 }
      const ended = await bench.run([...adapters, "--checkpoint-every", "2"], { kill })
      expect(ended.signal, ended.stderr).toBe("SIGKILL")
    }
    const ended = await bench.run(adapters)
    const start = ended.events.find((one) => one.event === "node-start" && one.node === "instruct/train")
    expect(start?.event === "node-start" ? start.resumedAt : 0).toBeGreaterThan(0)
    expect(digestsOf(completed(ended))).toEqual(digestsOf(completed(await calm.run(adapters))))
    expect(adaptersOf(bench).length).toBe(2)
    expect(adaptersOf(bench)).toEqual(adaptersOf(calm))
  }, 240_000)

  test("are planned with their own costs", async () => {
    const bench = await makeBench()
    const { code, stdout } = await bench.run([...adapters, "--plan"], { plain: true })
    expect(code).toBe(0)
    // Two blocks of width 32, MLP of 64, rank 4.
    const trained = 2 * 4 * (4 * (32 + 32) + 2 * (32 + 64))
    expect(stdout).toMatch(new RegExp(`sft/train +${trained.toLocaleString("en")} `))
  }, 120_000)
})

const lossesOf = (bench: Bench): ReadonlyArray<ReadonlyArray<number>> =>
  filesBelow(join(bench.store, "entries"), "value.json")
    .map((path) => JSON.parse(readFileSync(path, "utf8")) as { readonly losses?: ReadonlyArray<number> })
    .flatMap(({ losses }) => (losses === undefined ? [] : [losses]))
    .sort((a, b) => a.length - b.length || a[0]! - b[0]!)

describe.skipIf(missing !== "")(`adapters on ranks${missing}`, () => {
  test("two of them have the losses of one (1e-4), and write the whole adapter", async () => {
    const all: Array<ReturnType<typeof lossesOf>> = []
    for (const world of [1, 2]) {
      const bench = await makeBench()
      const words = [...adapters, "--engine", "torch", "--workers", "1", "--until", "instruct/train"]
      const ended = await bench.run([...words, ...(world === 1 ? [] : ["--nproc", String(world)])], {
        env: { OMP_NUM_THREADS: "1" }
      })
      completed(ended)
      expect(adaptersOf(bench).length).toBe(2)
      all.push(lossesOf(bench))
    }
    const [one, two] = all
    expect(two!.map((losses) => losses.length)).toEqual(one!.map((losses) => losses.length))
    for (const [stage, losses] of one!.entries())
      for (const [step, loss] of losses.entries())
        expect(Math.abs(two![stage]![step]! - loss) / loss, `stage ${stage}, step ${step}`).toBeLessThan(1e-4)
  }, 240_000)
})
