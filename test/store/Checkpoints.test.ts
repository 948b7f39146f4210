/**
 * The newest valid checkpoint wins; a half-written or changed one is skipped and named; keep-last and keep-best hold.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { newest, save } from "../../src/store/Checkpoints.ts"
import { faulty, temporaryFolder } from "./Support.ts"

const filesOf = (step: number) =>
  new Map([
    ["weights.bin", new Uint8Array(5000).fill(step)],
    ["state.json", new TextEncoder().encode(JSON.stringify({ step }))]
  ])
const saveStep = (folder: string, step: number, keepLast = 3, score?: number) =>
  save(folder, { step, files: filesOf(step), keepLast, ...(score === undefined ? {} : { score }) })
const steps = (folder: string) =>
  readdirSync(join(folder, "checkpoints"))
    .sort()
    .map((name) => Number(name.slice(5)))
const step = (folder: string, n: number) => join(folder, "checkpoints", `step-${String(n).padStart(9, "0")}`)
const node = Effect.provide(NodeFileSystem.layer)

describe("Checkpoints", () => {
  it.live("gives back what was saved, newest first", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      assert.isUndefined(yield* newest(folder))
      for (const n of [10, 20, 30]) yield* saveStep(folder, n)
      const found = yield* newest(folder)
      assert.strictEqual(found?.step, 30)
      assert.deepStrictEqual(new Map(found?.files), filesOf(30))
      assert.deepStrictEqual(found?.skipped, [])
    }).pipe(node)
  )

  it.live("keeps the last N and the best", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const scores = [5, 1, 3, 4, 2]
      for (const [i, score] of scores.entries()) yield* saveStep(folder, i + 1, 2, score)
      assert.deepStrictEqual(steps(folder), [2, 4, 5])
      yield* saveStep(folder, 6, 0, Number.NaN)
      assert.deepStrictEqual(steps(folder), [2, 6])
    }).pipe(node)
  )

  for (const [what, hurt] of [
    [
      "a flipped bit",
      (path: string) => {
        const bytes = readFileSync(join(path, "weights.bin"))
        bytes[4321]! ^= 1
        writeFileSync(join(path, "weights.bin"), bytes)
      }
    ],
    ["a cut file", (path: string) => truncateSync(join(path, "weights.bin"), 10)],
    ["a missing file", (path: string) => rmSync(join(path, "state.json"))],
    ["a missing manifest", (path: string) => rmSync(join(path, "checkpoint.json"))],
    ["a torn manifest", (path: string) => writeFileSync(join(path, "checkpoint.json"), '{"format":1,"st')]
  ] as const)
    it.live(`${what} is skipped and named; saving on does not prefer it`, () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        for (const n of [10, 20, 30]) yield* saveStep(folder, n)
        hurt(step(folder, 30))
        const found = yield* newest(folder)
        assert.strictEqual(found?.step, 20)
        assert.lengthOf(found?.skipped ?? [], 1)
        assert.include(found?.skipped[0], "step-000000030")
        yield* saveStep(folder, 25, 1)
        assert.deepStrictEqual(steps(folder), [25])
        assert.strictEqual((yield* newest(folder))?.step, 25)
      }).pipe(node)
    )

  it.live("a crash or a full disk at every change of a save leaves a valid checkpoint", () =>
    Effect.gen(function* () {
      for (const how of ["crash", "ENOSPC"]) {
        const counting = faulty({ at: Number.POSITIVE_INFINITY, how })
        const first = temporaryFolder()
        yield* Effect.provide(saveStep(first, 10, 1), NodeFileSystem.layer)
        yield* Effect.provide(saveStep(first, 20, 1), counting.layer)
        for (let at = 0; at < counting.count(); at++) {
          const folder = temporaryFolder()
          yield* Effect.provide(saveStep(folder, 10, 1), NodeFileSystem.layer)
          const exit = yield* Effect.exit(Effect.provide(saveStep(folder, 20, 1), faulty({ at, how }).layer))
          const found = yield* newest(folder)
          assert.include([10, 20], found?.step)
          assert.deepStrictEqual(new Map(found?.files), filesOf(found!.step))
          if (Exit.isSuccess(exit)) assert.strictEqual(found?.step, 20)
          yield* saveStep(folder, 30, 1)
          assert.deepStrictEqual(steps(folder), [30])
        }
      }
    }).pipe(node)
  )

  it.live("names with folders are refused", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      mkdirSync(join(folder, "checkpoints"))
      for (const name of ["a/b", "../x", ".hidden", "checkpoint.json", ""]) {
        const error = yield* Effect.flip(
          save(folder, { step: 1, files: new Map([[name, new Uint8Array()]]), keepLast: 1 })
        )
        assert.include(error.hint, "plain files")
      }
    }).pipe(node)
  )
})
