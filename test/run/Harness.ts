/**
 * Runs a recipe for the runner's tests, in this process or in one of its own, and tells what came of it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterAll } from "vitest"
import type { Event } from "../../src/run/Events.ts"
import type { Recipe } from "../../src/run/Recipe.ts"
import { type RunReport, type RunSpec, reportExit, runOnce } from "./fixtures/RunOnce.ts"

const made: Array<string> = []
const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL") // those of a test that timed out
  for (const path of made) rmSync(path, { recursive: true, force: true })
})

/** A fresh folder, removed after the tests. */
export const freshFolder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "millrace-run-"))
  made.push(path)
  return path
}

const fixture = new URL("./fixtures/recipe.ts", import.meta.url).href
const driver = fileURLToPath(new URL("./fixtures/drive.ts", import.meta.url))

/** A place to run the fixture recipe in: its numbers, its log, its store. */
export interface Bench {
  readonly folder: string
  readonly store: string
  /** Lines that the fixture's nodes logged since the last call. */
  readonly logged: () => ReadonlyArray<string>
  /** Replaces the numbers. */
  readonly numbers: (lines: ReadonlyArray<string | number>) => void
  /** Runs the fixture in this process. */
  readonly run: (
    spec?: Partial<RunSpec>,
    env?: Readonly<Record<string, string>>
  ) => Promise<RunReport & { readonly events: ReadonlyArray<Event> }>
  /** Starts the fixture (or another recipe) in a process of its own. */
  readonly start: (
    spec?: Partial<RunSpec> & { readonly killAt?: number; readonly recipe?: string },
    env?: Readonly<Record<string, string>>,
    execArgv?: ReadonlyArray<string>
  ) => Started
}

export interface Started {
  readonly child: ChildProcess
  /** Set when the process printed its result; absent when it was killed. */
  readonly ended: Promise<{
    readonly signal: NodeJS.Signals | null
    readonly told: (RunReport & { readonly events: ReadonlyArray<Event>; readonly changes: number }) | undefined
    readonly stderr: string
  }>
}

/** 200 numbers, three of them unreadable. */
export const someNumbers = (): ReadonlyArray<string | number> =>
  Array.from({ length: 200 }, (_, i) => (i % 80 === 33 ? `what ${i}` : i))

export const makeBench = (): Bench => {
  const folder = freshFolder()
  const store = join(folder, "store")
  const logFile = join(folder, "log.txt")
  let read = 0
  const bench: Bench = {
    folder,
    store,
    logged: () => {
      let text = ""
      try {
        text = readFileSync(logFile, "utf8")
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
      }
      const lines = text.split("\n").slice(0, -1)
      const fresh = lines.slice(read)
      read = lines.length
      return fresh
    },
    numbers: (lines) => writeFileSync(join(folder, "numbers.txt"), lines.map((line) => `${line}\n`).join("")),
    run: async (spec = {}, env = {}) => {
      const before = { ...process.env }
      for (const name of Object.keys(process.env)) if (name.startsWith("RUN_TEST_")) delete process.env[name]
      Object.assign(process.env, { RUN_TEST_FOLDER: folder, ...env })
      try {
        const loaded = (await import("./fixtures/recipe.ts")) as { readonly default: Recipe<any, any> }
        const { exit, events } = await Effect.runPromise(runOnce(loaded.default, fixture, { store, ...spec }))
        return { ...reportExit(exit), events }
      } finally {
        for (const name of Object.keys(env)) delete process.env[name]
        Object.assign(process.env, before)
      }
    },
    start: (spec = {}, env = {}, execArgv = []) => {
      const child = spawn(
        process.execPath,
        [...execArgv, driver, JSON.stringify({ store, recipe: fixture, ...spec })],
        {
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, NODE_OPTIONS: "", RUN_TEST_FOLDER: folder, ...env }
        }
      )
      children.add(child)
      child.once("exit", () => children.delete(child))
      let out = ""
      let stderr = ""
      child.stdout.on("data", (data) => (out += data))
      child.stderr.on("data", (data) => (stderr += data))
      return {
        child,
        ended: new Promise((done) =>
          child.on("close", (_, signal) => done({ signal, stderr, told: out === "" ? undefined : JSON.parse(out) }))
        )
      }
    }
  }
  mkdirSync(store)
  bench.numbers(someNumbers())
  return bench
}

/** Digests of the targets. */
export const digestsOf = (told: RunReport | undefined): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(told?.outputs ?? {}).map(([name, { digest }]) => [name, digest]))
