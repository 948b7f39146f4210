/**
 * The process's two streams: one for results (or JSON), one for people. All that is printed leaves here, and only here.
 *
 * Text is data: characters that a terminal would obey, or that would not be seen, are shown by their numbers
 * (`dag/Printable.ts`), also in what a library, a logger or a worker thread writes. Our own codes are made in
 * `Paint.ts`. Not a logger. A reader that goes away (`| head`) must not end hours of work: what is written after that
 * is dropped and the run goes on. Writes to pipes, files and terminals are synchronous on POSIX; `flush` covers the
 * rest.
 */
import { writeSync } from "node:fs"
import { environment, read, variables } from "../dag/Environment.ts"
import { printable } from "../dag/Printable.ts"
import { scrub } from "../dag/Secrets.ts"
import { keepEditing, type Painted, plain } from "./Paint.ts"

/** Where text goes. */
export interface Output {
  /** A line on stdout: with `--json` an event, else a result. */
  readonly result: (line: string) => void
  /** Text on the stream that people read: stdout, or stderr with `--json`. */
  readonly people: (text: string) => void
  /** The same with our own codes; without it `people` takes them. */
  readonly painted?: (text: Painted) => void
  /** Where a line editor writes: stdout as it is, but for what a terminal would obey and an editor does not say. */
  readonly typing: NodeJS.WritableStream
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

/** Text with our own codes on the stream that people read. */
export const writePainted = (output: Pick<Output, "painted" | "people">, text: Painted): void =>
  (output.painted ?? output.people)(text)

type Stream = NodeJS.WriteStream & { readonly fd: number }

/** Colours only on a terminal that wants them: `NO_COLOR` (https://no-color.org) and `TERM=dumb` are respected. */
export const wantsColor = (isTty: boolean, env: Readonly<Record<string, string | undefined>>): boolean =>
  isTty && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"

/** Writes to stderr at once, from a process that is about to end. */
export const writeLast = (text: string): void => void writeSync(2, printable(scrub(text)))

interface Guarded {
  readonly write: (text: Painted) => void
  readonly flush: () => Promise<void>
}

/**
 * A stream's own way to write, without secrets, whatever is put in its place later, with faults of the stream handled.
 */
const guarded = (stream: Stream): Guarded => {
  let open = true
  // EPIPE: the reader left. EIO: the terminal is gone (hang-up). Anything else is a real fault of the stream.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    open = false
    if (error.code === "EPIPE" || error.code === "EIO" || error.code === "ERR_STREAM_DESTROYED") return
    try {
      writeLast(`millrace: cannot write output: ${error.message}\n`)
    } catch {
      // Both streams are gone; there is nobody left to tell.
    }
  })
  const write = stream.write.bind(stream)
  return {
    write: (text) => {
      if (open) write(scrub(text))
    },
    flush: () =>
      new Promise((resolve) => {
        if (!open || stream.destroyed || stream.writableLength === 0) return resolve()
        stream.once("error", () => resolve())
        write("", () => resolve())
      })
  }
}

type Write = (chunk: unknown, ...rest: Array<unknown>) => boolean

/** What was given to `write`, as text: bytes that are no UTF-8 become U+FFFD. Undefined for what no stream takes. */
const textOf = (chunk: unknown, encoding: unknown): string | undefined => {
  if (typeof chunk === "string")
    return typeof encoding === "string" && !/^utf-?8$/i.test(encoding)
      ? Buffer.from(chunk, encoding as BufferEncoding).toString()
      : chunk
  return ArrayBuffer.isView(chunk)
    ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString()
    : undefined
}

/** Makes data of whatever others write: no secrets of the pipeline's parameters, nothing that a terminal obeys. */
const takeAsData = (stream: Stream): void => {
  const write = stream.write.bind(stream) as Write
  const end = stream.end.bind(stream) as (done?: unknown) => Stream
  stream.write = ((chunk: unknown, ...rest: Array<unknown>) => {
    const text = textOf(chunk, rest[0])
    if (text === undefined) return write(chunk, ...rest) // the stream says what is wrong
    return write(printable(scrub(text)), ...rest.filter((one) => typeof one === "function"))
  }) as typeof stream.write
  stream.end = ((...given: Array<unknown>) => {
    const [chunk, encoding] = given
    if (chunk !== undefined && chunk !== null && typeof chunk !== "function")
      stream.write(chunk as string, encoding as BufferEncoding)
    return end(given.find((one) => typeof one === "function"))
  }) as typeof stream.end
  // Colours of others would be shown as what they are: `console.log` makes none then.
  stream.getColorDepth = () => 1
  stream.hasColors = () => false
}

/** Node itself writes a warning past the streams. */
const takeWarnings = (stderr: Stream): void => {
  if (process.listenerCount("warning") === 0) return // --no-warnings
  process.removeAllListeners("warning")
  process.on("warning", ({ message, name }) => void stderr.write(`${name}: ${message}\n`))
}

/** Sends what anybody else writes to stdout (console.log of a library, of a worker thread) to stderr. */
const keepForEvents = (stdout: Stream, stderr: Stream): void => {
  stdout.write = stderr.write.bind(stderr) as typeof stdout.write
}

/** The streams of this process; with `json`, stdout is left to events and people read stderr. */
export const processOutput = (options: { readonly json: boolean }): Output => {
  const stdout = process.stdout as Stream
  const stderr = process.stderr as Stream
  const out = guarded(stdout)
  const err = guarded(stderr)
  takeAsData(stdout)
  takeAsData(stderr)
  takeWarnings(stderr)
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
  const people = options.json ? err.write : out.write
  return {
    intercept,
    result: (line) => out.write(plain(line + "\n")),
    people: (text) => people(plain(text)),
    painted: people,
    typing: new Proxy(stdout, {
      get: (target, name) =>
        name === "write"
          ? (text: unknown) => void out.write(keepEditing(String(text)))
          : Reflect.get(target, name, target)
    }),
    error: (line) => err.write(plain(line + "\n")),
    live: screen.isTTY === true && read(variables.terminal) !== "dumb",
    color: wantsColor(screen.isTTY === true, environment()),
    columns: () => screen.columns || 80,
    rows: () => screen.rows || 24,
    flush: () => Promise.all([out.flush(), err.flush()]).then(() => undefined)
  }
}
