/**
 * ShareGPT cleaned end to end: the recipe's own nodes, run by the runner into a new store with two worker threads;
 * against the same pipeline in which turndown converts the HTML. Planning, digests and starting threads are counted.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { Events } from "../../src/run/Events.ts"
import { Stop } from "../../src/run/Run.ts"
import { type RunResult, runRecipe } from "../../src/run/Scheduler.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { npmPeer } from "../Npm.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark, Context } from "../Row.ts"
import { shareGptFile } from "./Json.ts"

const WORKERS = 2
const recipeModule = new URL("../work/CleanRecipe.ts", import.meta.url)
const goldens = fileURLToPath(new URL("../../test/golden/sharegpt/", import.meta.url))

const quiet = Layer.succeed(Events, Events.of({ publish: () => Effect.void, stream: Stream.empty }))

/** Runs the pipeline of a preset over `file` into a store of its own, and hands the result to `use` before it goes. */
const run = async <A>(context: Context, preset: string, file: string, use: (result: RunResult) => A): Promise<A> => {
  const { default: cleaning, FILE } = await import("../work/CleanRecipe.ts")
  process.env[FILE] = file
  const store = mkdtempSync(join(context.data, "store-"))
  const options = {
    only: [],
    from: [],
    until: [],
    force: [],
    workers: WORKERS,
    checkpointEveryMs: 1e9
  }
  const choice = { preset, settings: [], engine: "none" }
  try {
    const result = await Effect.runPromise(
      runRecipe(cleaning, recipeModule.href, choice, options).pipe(
        Effect.provide(Layer.mergeAll(Stop.layer, quiet)),
        Effect.provide(Layer.provideMerge(localStore({ root: store }), NodeFileSystem.layer))
      )
    )
    return use(result)
  } finally {
    rmSync(store, { recursive: true, force: true })
  }
}

/** The rows of a finished run, in order. */
const rowsOf = ({ outputs }: RunResult): ReadonlyArray<unknown> => {
  const folder = outputs["rows"]!.path
  return readdirSync(folder)
    .filter((name) => name.endsWith(".jsonl"))
    .sort()
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)
}

/** Rows of the goldens that come out otherwise, or undefined when none does. */
const differsFromGoldens = async (context: Context): Promise<string | undefined> => {
  const expected = JSON.parse(readFileSync(join(goldens, "expected.json"), "utf8")) as ReadonlyArray<unknown>
  const made = await run(context, "golden", join(goldens, "input.json"), rowsOf)
  const wrong = expected.filter((row, i) => JSON.stringify(row) !== JSON.stringify(made[i])).length
  return made.length === expected.length && wrong === 0
    ? undefined
    : `${made.length} rows of ${expected.length} goldens, ${wrong} of them differ`
}

export const clean: Benchmark = {
  name: "clean-sharegpt",
  about: `clean ShareGPT, end to end, ${WORKERS} workers`,
  unit: "MB/s",
  better: "more",
  goal: 2,
  peerName: "turndown in the same pipeline",
  run: async (context) => {
    await npmPeer("turndown", () => import("turndown"))
    const path = await shareGptFile(context, (context.size === "quick" ? 32 : 256) * 1e6)
    const megabytes = statSync(path).size / 1e6
    const once = (preset: "ours" | "turndown") => async (): Promise<number> =>
      megabytes / (await seconds(() => run(context, preset, path, () => undefined)))
    const figures = await interleave({ rounds: 3, better: "more" }, once("ours"), once("turndown"))
    const note = `${megabytes.toFixed(0)} MB of HTML, output equal to the goldens, planning and store included`
    return { ...figures, note, wrong: await differsFromGoldens(context) }
  }
}
