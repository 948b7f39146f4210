/**
 * How many files may be open at once (`ulimit -n`), and what is done with few.
 *
 * Not a queue of opens: a run that does not get along with its limit fails with a hint. A process needs about 25 for
 * itself, a worker thread about 10 more; readers of shards take a share of what is left and close what they used
 * longest ago.
 */
import { readFileSync } from "node:fs"
import { Schema } from "effect"

/** Most files that one reader of an input keeps open. */
const MOST = 128
/** Readers that a process may have at once: inputs of the nodes that run side by side. */
const READERS = 16

/** The limit in the text of `/proc/self/limits`; Node has raised the soft one to the hard one. */
export const limitIn = (limits: string): number => {
  const found = /^Max open files\s+(\d+)/m.exec(limits)
  return found === null ? Number.POSITIVE_INFINITY : Number(found[1])
}

const limits = (): string => {
  try {
    return readFileSync("/proc/self/limits", "latin1")
  } catch {
    return "" // no Linux, or no file left to ask with: the usual limit is thousands
  }
}

let known: number | undefined

/** Files that a reader of an input may keep open, 2 or more. */
export const filesAPool = (limit = (known ??= limitIn(limits()))): number =>
  Math.max(2, Math.min(MOST, Math.floor(limit / READERS)))

/** A system call found no file number left, outside of the store's own calls (those fail as `StoreError`). */
export class TooManyFiles extends Schema.TaggedError<TooManyFiles>()("TooManyFiles", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.Unknown
}) {}

const PROCESS =
  "Too many open files: raise the limit (`ulimit -n 65536`), or lower --workers. What is finished is kept."
const MACHINE = "The machine has too many open files; close something and run again. What is finished is kept."

/**
 * What to do about an error whose code is EMFILE or ENFILE; Node's loader says it in words alone. Undefined for others.
 */
export const tooManyFilesHint = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined
  const { code } = error as NodeJS.ErrnoException
  if (code === "ENFILE") return MACHINE
  return code === "EMFILE" || /too many open files/i.test(error.message) ? PROCESS : undefined
}

/** Such an error as `TooManyFiles`; whatever has a hint, and any other, as it is. */
export const namedTooManyFiles = (error: unknown): unknown => {
  const hint = tooManyFilesHint(error)
  if (hint === undefined || (error as { readonly hint?: unknown }).hint !== undefined) return error
  return new TooManyFiles({ message: (error as Error).message, hint, cause: error })
}
