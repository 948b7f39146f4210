/**
 * The process's two streams: one for results (or JSON), one for people.
 *
 * Not a logger. A reader that goes away (`| head`) must not end hours of work: what is written after that is dropped and
 * the run goes on. Writes to pipes, files and terminals are synchronous on POSIX; `flush` covers the rest.
 */
import { writeSync } from "node:fs"

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
  /** Resolves when everything written has left the process. */
  readonly flush: () => Promise<void>
}

type Stream = NodeJS.WriteStream & { readonly fd: number }

/** Colours only on a terminal that wants them: `NO_COLOR` (https://no-color.org) and `TERM=dumb` are respected. */
export const wantsColor = (isTty: boolean, env: Readonly<Record<string, string | undefined>>): boolean =>
  isTty && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"

const guarded = (stream: Stream): ((text: string) => void) => {
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
  return (text) => {
    if (open) stream.write(text)
  }
}

const drained = (stream: Stream): Promise<void> =>
  new Promise((resolve) => {
    if (stream.writableLength === 0 || stream.destroyed) return resolve()
    stream.once("error", () => resolve())
    stream.write("", () => resolve())
  })

/** The streams of this process; with `json`, stdout is left to events and people read stderr. */
export const processOutput = (options: { readonly json: boolean }): Output => {
  const stdout = process.stdout as Stream
  const stderr = process.stderr as Stream
  const out = guarded(stdout)
  const err = guarded(stderr)
  const screen = options.json ? stderr : stdout
  return {
    result: (line) => out(line + "\n"),
    people: options.json ? err : out,
    error: (line) => err(line + "\n"),
    live: screen.isTTY === true && process.env["TERM"] !== "dumb",
    color: wantsColor(screen.isTTY === true, process.env),
    columns: () => screen.columns || 80,
    rows: () => screen.rows || 24,
    flush: () => Promise.all([drained(stdout), drained(stderr)]).then(() => undefined)
  }
}
