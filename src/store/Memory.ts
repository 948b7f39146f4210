/**
 * The most memory that this process held while something ran: what manifests call `peakMemory`.
 *
 * Not a node's own memory: threads share a process, and so do nodes that run side by side. The system counts the peak
 * of the whole process since its start. Where that rose in between, it is the peak, exact, however short it was. Where
 * it did not (something earlier took more), the largest of samples taken every 100 ms and at every call of `sample`
 * counts, which a shorter peak may escape. Bytes of resident memory.
 */
import { readFileSync } from "node:fs"
import { Effect, type Scope } from "effect"

export interface MemoryWatch {
  readonly sample: () => void
  /** The peak so far. */
  readonly peak: () => number
}

const SAMPLE_MS = 100

/** What the process has held at most since its start. */
const highest = (): number => {
  try {
    // Not `resourceUsage`: that begins with the peak of the process that started this one.
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))
    if (line !== null) return Number(line[1]) * 1024
  } catch {
    // no Linux: below
  }
  return process.resourceUsage().maxRSS * 1024
}

/**
 * Resident memory now. Where the system does not say (it takes a file to ask, and there may be none left to open), the
 * peak since the start: a figure of a manifest must not end a run.
 */
export const residentBytes = (): number => {
  try {
    return process.memoryUsage.rss()
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

/** Watches from now until the scope closes. */
export const memoryWatch: Effect.Effect<MemoryWatch, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = highest()
      let largest = 0
      const sample = (): void => {
        largest = Math.max(largest, residentBytes())
      }
      sample()
      const peak = (): number => {
        sample()
        const now = highest()
        return now > before ? Math.max(now, largest) : largest
      }
      return { sample, peak, timer: setInterval(sample, SAMPLE_MS).unref() }
    }),
    ({ timer }) => Effect.sync(() => clearInterval(timer))
  ),
  ({ peak, sample }) => ({ peak, sample })
)
