/**
 * Where in the user's sources a definition or an instance was written.
 *
 * Serves error messages ("both places of a clash") and the code digest (which module a definition lives in). Not part
 * of any key: a path never reaches one.
 */
import { fileURLToPath } from "node:url"

/** A source position; `file` is an absolute path, or a label such as `<notebook>` where there is none. */
export interface SourceLocation {
  readonly file: string
  readonly line: number
  /** The position and those of its callers, innermost first; `file` is empty where a caller is no code of a file. */
  readonly chain?: ReadonlyArray<SourcePosition>
}

/** A position in a file, line and column from 1. */
export interface SourcePosition {
  readonly file: string
  readonly line: number
  readonly column: number
}

const here = fileURLToPath(new URL(".", import.meta.url))

const frame = (line: string): SourcePosition | undefined => {
  const match = /\(?((?:file:\/\/)?[^()\s][^()]*?):(\d+)(?::(\d+))?\)?$/.exec(line.trim().replace(/^at (async )?/, ""))
  if (match === null) return undefined
  let file = match[1]!.replace(/^.*?(?=file:\/\/)/, "")
  const space = file.lastIndexOf(" (")
  if (space >= 0) file = file.slice(space + 2)
  try {
    file = file.startsWith("file://") ? fileURLToPath(file.replace(/[?#].*$/, "")) : file
  } catch {
    return undefined
  }
  return { file, line: Number(match[2]), column: Number(match[3] ?? 1) }
}

const noFile: SourcePosition = { file: "", line: 0, column: 0 }

const outside = (stack: string): SourceLocation => {
  const frames = stack
    .split("\n")
    .slice(1)
    .map((line) => frame(line) ?? noFile)
    .filter(({ file }) => !file.startsWith(here))
  const first = frames.findIndex(({ file }) => file !== "" && !file.startsWith("node:"))
  if (first < 0) return { file: "<notebook>", line: 0 }
  return { file: frames[first]!.file, line: frames[first]!.line, chain: frames.slice(first) }
}

/**
 * The nearest caller outside `src/dag`.
 *
 * The stack is written out and read when the location is first asked for: of ten thousand instances few are ever asked.
 */
export const callerLocation = (): SourceLocation => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 24
  let error: Error | undefined = new Error()
  Error.stackTraceLimit = limit
  let found: SourceLocation | undefined
  const look = (): SourceLocation => {
    found ??= outside(error?.stack ?? "")
    error = undefined
    return found
  }
  return {
    get file() {
      return look().file
    },
    get line() {
      return look().line
    },
    get chain() {
      return look().chain ?? []
    }
  }
}

/** `path/from/cwd.ts:12`, for people. */
export const showSourceLocation = (at: SourceLocation): string => {
  const cwd = process.cwd() + "/"
  return `${at.file.startsWith(cwd) ? at.file.slice(cwd.length) : at.file}:${at.line}`
}
