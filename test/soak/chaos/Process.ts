/**
 * Runs the recipe as a process on a store, with the shim that kills, fails or logs; and builds that shim.
 *
 * Where there is no C compiler or no Linux, `killHook.mjs` kills at an operation of `node:fs`; power cuts and errors of
 * the disk cannot be made then, and are counted as skipped.
 */
import { execFileSync, spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Builds the shim into a folder; gives its path, or undefined where that cannot be. */
export const buildShim = (folder: string): string | undefined => {
  if (process.platform !== "linux") return undefined
  const path = join(folder, "shim.so")
  try {
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", path, here("./shim.c"), "-ldl"], { stdio: "ignore" })
    return path
  } catch {
    return undefined // no compiler: the caller counts what is skipped
  }
}

/** What a process is told by variables: `CHAOS_KILL` and the others of `shim.c`. */
export type Faults = Readonly<Record<string, string>>

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Bench {
  readonly source: string
  readonly shim: string | undefined
}

/** Seconds after which a process counts as hung. */
const HUNG_SECONDS = 300

/** Runs the recipe on a store; `command` is `gc` or the like, or nothing for a run. */
export const runOn = (
  bench: Bench,
  store: string,
  args: ReadonlyArray<string>,
  options: { readonly command?: string; readonly faults?: Faults; readonly killAfterMs?: number } = {}
): Promise<Ended> =>
  new Promise((done, broken) => {
    const { faults } = options
    const loaded =
      faults === undefined
        ? {}
        : bench.shim === undefined
          ? { NODE_OPTIONS: `--import=${here("./killHook.mjs")}` }
          : { LD_PRELOAD: bench.shim }
    const { NODE_OPTIONS: _, ...env } = process.env
    const child = spawn(
      process.execPath,
      [here("./recipe.ts"), ...(options.command === undefined ? [] : [options.command]), "--store", store, ...args],
      {
        env: {
          ...env,
          NO_COLOR: "1",
          CHAOS_SOURCE: bench.source,
          ...(faults === undefined ? {} : { CHAOS_ROOT: store, ...faults, ...loaded })
        },
        stdio: ["ignore", "pipe", "pipe"]
      }
    )
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const kill = options.killAfterMs
    const killing = kill === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), kill)
    const hung = setTimeout(() => {
      stderr += `\nthe process hung for ${HUNG_SECONDS} s`
      child.kill("SIGKILL")
    }, HUNG_SECONDS * 1000)
    child.once("error", broken)
    child.once("close", (code, signal) => {
      clearTimeout(killing)
      clearTimeout(hung)
      done({ code, signal, stdout, stderr })
    })
  })

/** What a person must never see: a stack, or a failure without a word of what to do. */
export const uglyIn = ({ code, signal, stderr }: Ended): ReadonlyArray<string> => [
  ...(/\n {4}at |UnhandledPromise|node:internal|This is unexpected/.test(stderr)
    ? [`a stack: ${stderr.slice(-600)}`]
    : []),
  ...(stderr.includes("the process hung") ? ["it hung"] : []),
  ...(signal !== null ? [`it was ended by ${signal}`] : []),
  ...(code !== 0 && signal === null && !stderr.includes("hint: ")
    ? [`exit code ${code} without a hint: ${stderr.slice(-300)}`]
    : [])
]
