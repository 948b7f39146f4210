/**
 * Where in the user's sources a definition or an instance was written.
 *
 * Serves error messages ("both places of a clash") and the code digest (which module a definition lives in). Not part
 * of any key: a path never reaches one.
 */
import { fileURLToPath } from "node:url"

/** A source position; `file` is an absolute path, or a label such as `<notebook>` where there is none. */
export interface Place {
  readonly file: string
  readonly line: number
}

const here = fileURLToPath(new URL(".", import.meta.url))

const frame = (line: string): Place | undefined => {
  const match = /\(?((?:file:\/\/)?[^()\s][^()]*?):(\d+)(?::\d+)?\)?$/.exec(line.trim().replace(/^at (async )?/, ""))
  if (match === null) return undefined
  let file = match[1]!.replace(/^.*?(?=file:\/\/)/, "")
  const space = file.lastIndexOf(" (")
  if (space >= 0) file = file.slice(space + 2)
  try {
    file = file.startsWith("file://") ? fileURLToPath(file.replace(/[?#].*$/, "")) : file
  } catch {
    return undefined
  }
  return { file, line: Number(match[2]) }
}

const outside = (stack: string): Place => {
  for (const line of stack.split("\n").slice(1)) {
    const at = frame(line)
    if (at === undefined || at.file.startsWith(here) || at.file.startsWith("node:")) continue
    return at
  }
  return { file: "<notebook>", line: 0 }
}

/**
 * The nearest caller outside `src/dag`.
 *
 * The stack is written out and read when the place is first asked for: of ten thousand instances, few ever are.
 */
export const place = (): Place => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 24
  let error: Error | undefined = new Error()
  Error.stackTraceLimit = limit
  let found: Place | undefined
  const look = (): Place => {
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
    }
  }
}

/** `path/from/cwd.ts:12`, for people. */
export const showPlace = (at: Place): string => {
  const cwd = process.cwd() + "/"
  return `${at.file.startsWith(cwd) ? at.file.slice(cwd.length) : at.file}:${at.line}`
}
