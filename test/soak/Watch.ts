/**
 * Watches a process from outside: how much memory it takes, whether it is stuck, how it ends. Linux's /proc says the
 * memory.
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"

const POLL_MS = 250

/** Kilobytes that a process has used at most, as Linux counts them; 0 elsewhere. */
const peakOf = (pid: number): { readonly now: number; readonly peak: number } => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8")
    const read = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
    return { now: read("VmRSS"), peak: read("VmHWM") }
  } catch {
    return { now: 0, peak: 0 } // gone, or not Linux
  }
}

export interface Watched {
  readonly peak: number
  /** Why it was killed or how it ended, when it did not end well. */
  readonly wrong: string | undefined
  readonly stderr: string
}

/** Runs a process until it ends, is stuck (`place` gives the same for too long) or takes too much memory. */
export const watch = (
  args: ReadonlyArray<string>,
  limits: { readonly seconds: number; readonly megabytes: number },
  place: () => string,
  onLine: (line: string) => void
): Promise<Watched> =>
  new Promise((done, broken) => {
    const started = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] })
    let peak = 0
    let wrong: string | undefined
    let stderr = ""
    let rest = ""
    let last = ""
    let since = performance.now()
    const kill = (why: string): void => {
      wrong ??= why
      started.kill("SIGKILL")
    }
    const timer = setInterval(() => {
      const memory = peakOf(started.pid!)
      peak = Math.max(peak, memory.peak)
      if (memory.now > limits.megabytes * 1024) kill(`memory: ${Math.round(memory.now / 1024)} MiB`)
      const now = place()
      if (now !== last) since = performance.now()
      last = now
      if (performance.now() - since > limits.seconds * 1000) kill(`hang: over ${limits.seconds} s`)
    }, POLL_MS)
    started.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()!
      for (const line of lines) if (line !== "") onLine(line)
    })
    started.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-4000)
    })
    started.once("error", broken)
    started.once("close", (code, signal) => {
      clearInterval(timer)
      if (code !== 0) wrong ??= `crash: ${signal ?? `exit code ${code}`}`
      done({ peak, wrong, stderr })
    })
  })
