/** Runs the fixture recipe as a real process, for the tests of the command line. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const words = fileURLToPath(new URL("./fixtures/words.ts", import.meta.url))

/** What a process left behind. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A process under way; `until` resolves once its output holds the text. */
export interface Running {
  readonly child: ChildProcess
  readonly until: (text: string) => Promise<void>
  readonly ended: Promise<Ended>
}

/** Starts a command, with node where none is named. */
export const start = (
  args: ReadonlyArray<string>,
  options: { readonly command?: string; readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {}
): Running => {
  const { NO_COLOR: _, MILLRACE_DEBUG: __, FORCE_COLOR: ___, ...env } = process.env
  const child = spawn(options.command ?? process.execPath, args, {
    env: { ...env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd })
  })
  let stdout = ""
  let stderr = ""
  const waiting: Array<() => void> = []
  child.stdout!.on("data", (data: Buffer) => {
    stdout += data.toString()
    for (const look of waiting) look()
  })
  child.stderr!.on("data", (data: Buffer) => {
    stderr += data.toString()
    for (const look of waiting) look()
  })
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })
  return {
    child,
    ended,
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if ((stdout + stderr).includes(text)) resolve()
        }
        waiting.push(look)
        look()
        void ended.then(() => reject(new Error(`ended without "${text}":\n${stdout}\n${stderr}`)))
      })
  }
}

/** Runs the fixture recipe to its end. */
export const recipe = (store: string, ...args: ReadonlyArray<string>): Promise<Ended> =>
  start([words, "--store", store, "--workers", "0", ...args]).ended

/** A fresh folder, and how to remove it. */
export const folder = (): { readonly path: string; readonly remove: () => void } => {
  const path = mkdtempSync(join(tmpdir(), "millrace-cli-"))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}
