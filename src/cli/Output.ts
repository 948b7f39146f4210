/**
 * The process's two streams: one for results (or JSON), one for people.
 *
 * Not a logger. A reader that goes away (`| head`) must not end hours of work: what is written after that is dropped and
 * the run goes on. Writes to pipes, files and terminals are synchronous on POSIX; `flush` covers the rest.
 */
import { writeSync } from "node:fs"
import { environment, read, variables } from "../dag/Environment.ts"
import { scrub } from "../dag/Secrets.ts"

/** Where text goes. */
export interface Output {
  /** A line on stdout: with `--json` an event, else a result. */
  readonly result: (line: string) => void
  /** Raw text on the stream that people read: stdout, or stderr with `--json`. */
  readonly people: (text: string) => void
  /** A line on stderr. */
  readonly error: (line: string) => void
  /** The people's stream is a terminal that can be redrawn. */
  readonly live: boolean
  readonly color: boolean
  readonly columns: () => number
  readonly rows: () => number
  /**
   * From now on `around` is given each write that somebody else does (console.log of a library or a worker thread), so
   * that a live display can step aside; gives a function that ends it.
   */
  readonly intercept: (around: (write: () => boolean) => boolean) => () => void
  /** Resolves when everything written has left the process. */
  readonly flush: () => Promise<void>
}

type Stream = NodeJS.WriteStream & { readonly fd: number }

/** Colours only on a terminal that wants them: `NO_COLOR` (https://no-color.org) and `TERM=dumb` are respected. */
export const wantsColor = (isTty: boolean, env: Readonly<Record<string, string | undefined>>): boolean =>
  isTty && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"

/** A stream's own way to write, whatever is put in its place later, with faults of the stream handled. */
const guarded = (stream: Stream): { readonly write: (text: string) => void; readonly flush: () => Promise<void> } => {
  let open = true
  // EPIPE: the reader left. EIO: the terminal is gone (hang-up). Anything else is a real fault of the stream.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    open = false
    if (error.code === "EPIPE" || error.code === "EIO" || error.code === "ERR_STREAM_DESTROYED") return
    try {
      writeSync(2, `millrace: cannot write output: ${error.message}\n`)
    } catch {
      // Both streams are gone; there is nobody left to tell.
    }
  })
  const write = stream.write.bind(stream)
  return {
    write: (text) => {
      if (open) write(text)
    },
    flush: () =>
      new Promise((resolve) => {
        if (!open || stream.destroyed || stream.writableLength === 0) return resolve()
        stream.once("error", () => resolve())
        write("", () => resolve())
      })
  }
}

/** Cuts the secrets of the pipeline's parameters out of whatever is written as text. */
const withoutSecrets = (stream: Stream): void => {
  const write = stream.write.bind(stream) as (chunk: unknown, ...rest: Array<unknown>) => boolean
  stream.write = ((chunk: unknown, ...rest: Array<unknown>) =>
    write(typeof chunk === "string" ? scrub(chunk) : chunk, ...rest)) as typeof stream.write
}

/** Sends what anybody else writes to stdout (console.log of a library, of a worker thread) to stderr. */
const keepForEvents = (stdout: Stream, stderr: Stream): void => {
  stdout.write = stderr.write.bind(stderr) as typeof stdout.write
}

/** The streams of this process; with `json`, stdout is left to events and people read stderr. */
export const processOutput = (options: { readonly json: boolean }): Output => {
  const stdout = process.stdout as Stream
  const stderr = process.stderr as Stream
  withoutSecrets(stdout)
  withoutSecrets(stderr)
  const out = guarded(stdout)
  const err = guarded(stderr)
  const screen = options.json ? stderr : stdout
  if (options.json) keepForEvents(stdout, stderr)
  const intercept = (around: (write: () => boolean) => boolean): (() => void) => {
    const ends = [stdout, stderr].map((stream) => {
      const before = stream.write
      const through = (...args: Array<unknown>): boolean => around(() => Reflect.apply(before, stream, args) as boolean)
      stream.write = through as typeof before
      return () => {
        // Whoever came after us keeps their way to write; ours then only steps aside for nothing.
        if (stream.write === (through as typeof before)) stream.write = before
      }
    })
    return () => {
      for (const end of ends) end()
    }
  }
  return {
    intercept,
    result: (line) => out.write(line + "\n"),
    people: options.json ? err.write : out.write,
    error: (line) => err.write(line + "\n"),
    live: screen.isTTY === true && read(variables.terminal) !== "dumb",
    color: wantsColor(screen.isTTY === true, environment()),
    columns: () => screen.columns || 80,
    rows: () => screen.rows || 24,
    flush: () => Promise.all([out.flush(), err.flush()]).then(() => undefined)
  }
}
