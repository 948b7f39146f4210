/**
 * An error as at most eight lines for a person: what failed, where, why, and what to do.
 *
 * Not a stack trace: those are shown only when MILLRACE_DEBUG is set. Every tagged error of millrace carries `message`
 * and `hint`, and some of `node`, `shard`, `row`, `path`, `port`, `cause`; anything else is shown as a defect.
 */
import { Cause, SchemaIssue } from "effect"
import { CliError } from "effect/cli"

/** Most lines that a failure takes on a screen. */
export const maxLines = 8
const widest = 300

/** An error's parts, as far as it has them. */
export interface ErrorParts {
  readonly tag: string
  readonly message: string
  readonly hint: string
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : typeof value === "number" ? String(value) : undefined

const oneLine = (value: string): string => {
  const flat = value.replace(/\s*\n\s*/g, " ").trim()
  return flat.length <= widest ? flat : `${flat.slice(0, widest - 1)}…`
}

const tagOf = (error: unknown): string =>
  isRecord(error)
    ? (text(error["_tag"]) ?? text(error["name"]) ?? "Error")
    : error === undefined || error === null
      ? "Error"
      : typeof error

const issueText = SchemaIssue.makeFormatterDefault()

const messageOf = (error: unknown): string =>
  SchemaIssue.isIssue(error)
    ? issueText(error)
    : isRecord(error)
      ? (text(error["message"]) ?? text(error["_tag"]) ?? "(no message)")
      : String(error)

/** Schema issues are shown without their tag: `Composite` means nothing to a person. */
const named = (error: unknown): string =>
  isRecord(error) && text(error["message"]) !== undefined ? `${tagOf(error)}: ` : ""

/** Text without stack frames: some causes are a stack, as text. */
const withoutStack = (value: string): string => value.replace(/\n\s+at [\s\S]*$/, "")

/** The reasons below an error, outermost first, each in one line; cycles and depth are bounded. */
const causes = (error: unknown): ReadonlyArray<string> => {
  const out: Array<string> = []
  const seen = new Set<unknown>()
  let said = messageOf(error)
  let at: unknown = isRecord(error) ? error["cause"] : undefined
  for (let depth = 0; depth < 4 && at !== undefined && at !== null && !seen.has(at); depth++) {
    seen.add(at)
    const inner = Cause.isCause(at) ? Cause.squash(at) : at
    const message = withoutStack(messageOf(inner))
    // The message of an outer error often repeats its cause's: saying it twice helps nobody.
    if (!said.includes(message)) out.push(oneLine(named(inner) + message))
    said = `${said}\n${message}`
    at = isRecord(inner) ? inner["cause"] : undefined
  }
  return out
}

/** Tag, message and hint of anything that can be thrown; an error without a hint is a defect and is shown as one. */
export const tell = (error: unknown): ErrorParts => {
  // A wrong invocation carries its faults; the formatter has printed them with the flags' names already.
  if (CliError.isCliError(error))
    return {
      tag: "UsageError",
      message: error._tag === "ShowHelp" ? error.errors.map((one) => one.message).join("; ") : error.message,
      hint: "See --help."
    }
  const hint = isRecord(error) ? text(error["hint"]) : undefined
  return {
    tag: tagOf(error),
    message: messageOf(error),
    hint: hint ?? "This is unexpected: set MILLRACE_DEBUG=1 to see where it comes from, and please report it."
  }
}

/** Where it happened: node, shard, row, port, file, as far as the error knows. */
const where = (error: unknown): string => {
  if (!isRecord(error)) return ""
  const parts: Array<string> = []
  for (const name of ["node", "shard", "row", "line", "step", "port"]) {
    const value = text(error[name])
    if (value !== undefined) parts.push(name === "node" ? value : `${name} ${value}`)
  }
  const file = text(error["path"]) ?? text(error["file"]) ?? text(error["sourceLocation"])
  if (file !== undefined) parts.push(file)
  return parts.join(", ")
}

/**
 * At most eight lines: `error: TAG in NODE, shard 3`, the message, the causes in one line, the hint.
 *
 * @example
 * errorLines(new NodeFailed({ node: "clean", shard: 3, message: "row 17 is no object", hint: "Look at the file." }))
 */
export const errorLines = (error: unknown): ReadonlyArray<string> => {
  const parts = tell(error)
  const at = where(error)
  const message = parts.message
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "")
  const lines = [`error: ${parts.tag}${at === "" ? "" : ` in ${oneLine(at)}`}`]
  const room = maxLines - 3
  for (const line of message.slice(0, message.length > room ? room - 1 : room)) lines.push(`  ${fitLine(line)}`)
  if (message.length > room) lines.push(`  … ${message.length - room + 1} more lines`)
  const why = causes(error)
  if (why.length > 0) lines.push(`  cause: ${oneLine(why.join(" <- "))}`)
  lines.push(`  hint: ${oneLine(parts.hint)}`)
  return lines
}

const fitLine = (line: string): string => (line.length <= widest ? line : `${line.slice(0, widest - 1)}…`)

/** The whole cause with stacks, for MILLRACE_DEBUG. */
export const debugText = (cause: Cause.Cause<unknown>): string => Cause.pretty(cause)
