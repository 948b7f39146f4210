/**
 * The sample recipe's loss in bfloat16 beside its loss in f32: one pass of SFT and one of pretraining, by the command
 * that users run. Means over 20 steps are compared; single losses are noise of two rows.
 */
import { execFileSync } from "node:child_process"
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { missing, root, tsx } from "./built.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-precision-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WINDOW = 20

/**
 * Largest difference of a window's mean, as a share of the f32 one. Pretraining begins from weights that differ by SFT.
 */
const tolerance = { sft: 0.01, pretrain: 0.06 } as const

/** Losses of each stage, step by step. */
const curves = (engine: string): Readonly<Record<string, ReadonlyArray<number>>> => {
  const store = join(folder, engine)
  execFileSync(
    tsx,
    [
      join(root, "pipelines/llava-phi.ts"),
      ...["--engine", engine, "--store", store, "--until", "pretrain/train"],
      ...["--set", "sft/train.epochs=1", "--set", "pretrain/train.epochs=1"]
    ],
    { stdio: "pipe" }
  )
  const read = (path: string) => readFileSync(join(store, path), "utf8")
  const events = globSync("runs/*/events.jsonl", { cwd: store }).flatMap((file) => read(file).trim().split("\n"))
  const ended = events.map((line) => JSON.parse(line)).filter(({ event }) => event === "node-end")
  return Object.fromEntries(
    Object.keys(tolerance).map((stage) => {
      const { code, key } = ended.find(({ node }) => node === `${stage}/train`)
      return [stage, JSON.parse(read(`entries/${key.slice(0, 2)}/${key}/${code}/ports/report/value.json`)).losses]
    })
  )
}

const windows = (losses: ReadonlyArray<number>): ReadonlyArray<number> =>
  Array.from({ length: Math.floor(losses.length / WINDOW) }, (_, i) =>
    losses.slice(i * WINDOW, (i + 1) * WINDOW).reduce((sum, loss) => sum + loss / WINDOW, 0)
  )

describe.skipIf(missing !== "")(`bfloat16${missing}`, () => {
  it("gives the sample recipe the loss curves of f32", () => {
    const [f32, bf16] = [curves("torch"), curves("torch-bf16")]
    for (const [stage, limit] of Object.entries(tolerance)) {
      const [expected, got] = [windows(f32[stage]!), windows(bf16[stage]!)]
      expect(expected.length, stage).toBeGreaterThan(8)
      expect(got.length, stage).toBe(expected.length)
      expect(got, stage).not.toEqual(expected)
      for (const [i, mean] of expected.entries())
        expect(Math.abs(got[i]! - mean) / mean, `${stage}, steps from ${i * WINDOW}`).toBeLessThan(limit)
      expect(expected.at(-1)!).toBeLessThan(expected[0]! * 0.9)
    }
  }, 600_000)
})
