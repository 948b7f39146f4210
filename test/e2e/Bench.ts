/**
 * A place to run the small recipe in, as real processes: its sources, its store, its events.
 *
 * Not a runner: every run is `node fixtures/small.ts ...` as a user would type it, and what is looked at is what a user
 * sees: the exit code, the JSON lines, the words on stderr, the files of the store.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import { afterAll, expect } from "vitest"
import { Event } from "../../src/run/Events.ts"
import { Manifest } from "../../src/store/Manifest.ts"
import { writeSources } from "./Sources.ts"

export const small = fileURLToPath(new URL("./fixtures/small.ts", import.meta.url))
const killer = new URL("./fixtures/killer.ts", import.meta.url).href

/** Nodes of the small recipe that are no sources. */
export const nodes = 32

const folders: Array<string> = []
const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL") // those of a test that timed out
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** A fresh folder, removed after the tests. */
export const freshFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-e2e-"))
  folders.push(folder)
  return folder
}

type RunEvent = Extract<Event, { readonly event: "run" }>

/** What a process left behind. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly events: ReadonlyArray<Event>
  readonly stdout: string
  readonly stderr: string
}

/** A process under way. */
export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when a line of stdout matches, fails when the process ends before. */
  readonly until: (line: RegExp) => Promise<void>
}

const decodeEvent = Schema.decodeUnknownSync(Event)

/** JSON lines as events. A killed process may leave its last line unfinished; that one is left out. */
const eventsOf = (stdout: string): ReadonlyArray<Event> =>
  stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => decodeEvent(JSON.parse(line)))

export interface StartOptions {
  /** Send `signal` to itself when the `nth` line of stdout that matches `line` is written. */
  readonly kill?: { readonly line: string; readonly nth?: number; readonly signal?: NodeJS.Signals }
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly uid?: number
  /** Words of a command that starts node in its own way; the rest of the command line is appended. */
  readonly wrap?: ReadonlyArray<string>
  /** A subcommand: no `--json` and no `--workers` are added, and stdout is not read as events. */
  readonly plain?: boolean
}

/** Starts a command and gathers what it says. */
export const startProcess = (
  command: string,
  args: ReadonlyArray<string>,
  options: Pick<StartOptions, "env" | "cwd" | "uid" | "plain"> = {}
): Running => {
  const { NO_COLOR: _, MILLRACE_DEBUG: __, FORCE_COLOR: ___, NODE_OPTIONS: ____, ...env } = process.env
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid })
  })
  children.add(child)
  child.once("exit", () => children.delete(child))
  let stdout = ""
  let stderr = ""
  const waiting = new Set<() => void>()
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString()
    for (const look of waiting) look()
  })
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString()
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code, signal) => {
      try {
        resolve({ code, signal, stdout, stderr, events: options.plain === true ? [] : eventsOf(stdout) })
      } catch (cause) {
        reject(new Error(`stdout is no JSON lines of events:\n${stdout}\n${stderr}`, { cause }))
      }
    })
  })
  return {
    child,
    ended,
    until: (line) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (stdout.split("\n").some((one) => line.test(one))) resolve()
        }
        waiting.add(look)
        look()
        ended.then(() => reject(new Error(`ended without ${line}:\n${stdout}\n${stderr}`)), reject)
      })
  }
}

export interface Bench {
  readonly folder: string
  readonly sources: string
  readonly store: string
  readonly start: (args?: ReadonlyArray<string>, options?: StartOptions) => Running
  /** Runs to the end of the process. */
  readonly run: (args?: ReadonlyArray<string>, options?: StartOptions) => Promise<Ended>
}

/** Sources (with `changed` files in place of some), and an empty store beside them. */
export const makeBench = async (
  changed: Readonly<Record<string, string | Uint8Array | undefined>> = {}
): Promise<Bench> => {
  const folder = freshFolder()
  const sources = await writeSources(join(folder, "sources"), changed)
  const store = join(folder, "store")
  const start: Bench["start"] = (args = [], options = {}) => {
    const { kill, wrap = [] } = options
    const words = [
      ...wrap,
      process.execPath,
      ...(kill === undefined ? [] : ["--import", killer]),
      small,
      ...(args.includes("--store") ? [] : ["--store", store]),
      ...(options.plain === true || args.includes("--workers") ? [] : ["--workers", "0"]),
      ...(options.plain === true ? [] : ["--json"]),
      ...args
    ]
    return startProcess(words[0]!, words.slice(1), {
      ...options,
      env: {
        E2E_SOURCES: sources,
        ...(kill === undefined ? {} : { E2E_KILL: JSON.stringify({ nth: 1, signal: "SIGKILL", ...kill }) }),
        ...options.env
      }
    })
  }
  return { folder, sources, store, start, run: (args, options) => start(args, options).ended }
}

/** The last event, which must be the run's. */
export const lastOf = ({ events, stderr }: Ended): RunEvent => {
  const last = events[events.length - 1]
  if (last?.event !== "run") throw new Error(`no last event:\n${stderr}`)
  expect(events.filter((event) => event.event === "run").length).toBe(1)
  return last
}

/** The last event of a run that must have completed. */
export const completed = (ended: Ended): RunEvent => {
  const last = lastOf(ended)
  expect({ code: ended.code, status: last.status, stderr: last.status === "completed" ? "" : ended.stderr }).toEqual({
    code: 0,
    status: "completed",
    stderr: ""
  })
  return last
}

/**
 * The tagged error of a run that must have failed as promised: exit 1, lines with a hint, a last event that says so.
 */
export const failed = (ended: Ended): { readonly tag: string; readonly message: string; readonly hint: string } => {
  const last = lastOf(ended)
  expect({ code: ended.code, status: last.status }).toEqual({ code: 1, status: "failed" })
  expect(last.outputs).toEqual({})
  const lines = ended.stderr.split("\n")
  const at = lines.findIndex((line) => line.startsWith("error: "))
  expect(at, ended.stderr).toBeGreaterThanOrEqual(0)
  expect(lines.slice(at, at + 8).some((line) => /^ {2}hint: \S/.test(line))).toBe(true)
  expect(ended.stderr).not.toMatch(/This is unexpected/) // a defect, not a typed error
  expect(ended.stderr).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m) // a stack
  const { error } = last.metrics as {
    readonly error: { readonly tag: string; readonly message: string; readonly hint: string }
  }
  expect(error.hint).not.toBe("")
  return error
}

/** Digests of the outputs, by name. */
export const digestsOf = (last: RunEvent): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(last.outputs).map(([name, { digest }]) => [name, digest]))

/** Ids of the nodes that ended with a status, in alphabetical order. */
export const nodesThat = (status: "ran" | "cached" | "failed", { events }: Ended): ReadonlyArray<string> =>
  events
    .flatMap((event) =>
      event.event === "node-end" && event.kind !== "source" && event.status === status ? [event] : []
    )
    .map((event) => event.node)
    .sort()

/** Ids of the nodes that a plan gives a status. */
export const planned = (status: "cached" | "run" | "maybe", { events }: Ended): ReadonlyArray<string> =>
  events.flatMap((event) => (event.event === "plan" && event.status === status ? [event.node] : [])).sort()

/** Paths below a folder that end in `ending`. */
export const filesBelow = (folder: string, ending: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(ending))
    .map((path) => join(folder, path))

/** Every manifest of a store. */
export const manifestsOf = (store: string): ReadonlyArray<Manifest> =>
  filesBelow(join(store, "entries"), "manifest.json").map((path) =>
    Schema.decodeUnknownSync(Manifest)(JSON.parse(readFileSync(path, "utf8")))
  )

/**
 * As `expectTidy`, after `gc` swept what only a killed process can leave (the lock of a node that it had just finished,
 * a file half written). Results must survive the sweep: a run finds all of them.
 */
export const expectTidyAfterKills = async (bench: Bench): Promise<void> => {
  const collected = await bench.run(["gc", "--collect"], { plain: true })
  expect(collected.code, collected.stderr).toBe(0)
  expectTidy(bench.store)
  expect(completed(await bench.run()).nodesRun).toBe(0)
}

/**
 * Nothing that a finished run leaves behind may be unfinished: no work folders, no locks, no temporary files. Records
 * of killed runs and checkpoints of finished nodes, which nobody reads, are not looked at.
 */
export const expectTidy = (store: string): void => {
  const left = (name: string) => {
    try {
      return readdirSync(join(store, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
      throw error
    }
  }
  expect({
    work: left("work"),
    locks: left("locks"),
    temporary: filesBelow(store, ".tmp").filter((path) => !/[\\/](checkpoints|runs)[\\/]/.test(path))
  }).toEqual({
    work: [],
    locks: [],
    temporary: []
  })
}
