/**
 * What is given to a node, checked: parameters by their Schema, inputs by name and kind.
 *
 * Not types: the compiler checks TypeScript. This is for JavaScript, for casts, for `--set`, and for what
 * types do not say (a number's range). A fault says which field, what was given and what was expected. A redacted
 * parameter's value is never said.
 */
import { inspect } from "node:util"
import { Redacted, Result, Schema, SchemaIssue } from "effect"
import { type Artifact, artifactsOf, type Port, type Ports } from "./Artifact.ts"
import { didYouMean } from "./Nearest.ts"
import { holdsRedacted, REDACTED, rememberSecrets } from "./Secrets.ts"

/** What is wrong with what was given, and what to do. */
export interface Fault {
  readonly message: string
  readonly hint: string
  readonly cause?: unknown
}

/** A value for people, on one line and short. */
export const showValue = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 59)}…` : value)
  if (Redacted.isRedacted(value)) return REDACTED
  if (typeof value === "function") return "a function"
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxArrayLength: 5,
    maxStringLength: 40
  })
  return text.length > 80 ? `${text.slice(0, 79)}…` : text
}

/** The kind of a value, for people: `a Promise`, `an array`, `a number (3)`. */
export const kindOf = (value: unknown): string => {
  if (value === undefined || value === null) return String(value)
  if (Array.isArray(value)) return "an array"
  if (typeof value === "function") return "a function"
  if (typeof value !== "object") return `a ${typeof value} (${showValue(value)})`
  if (typeof (value as { readonly then?: unknown }).then === "function") return "a Promise"
  const name = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name !== "string" || name === "Object" ? "a plain object" : `a ${name}`
}

const fieldsOf = (schema: Schema.Top): Readonly<Record<string, Schema.Top>> | undefined =>
  "fields" in schema ? (schema.fields as Readonly<Record<string, Schema.Top>>) : undefined

/** Names of a node's parameters; none where its Schema is no struct. */
export const parameterNames = (schema: Schema.Top): ReadonlyArray<string> => Object.keys(fieldsOf(schema) ?? {})

/** Whether a parameter may hold a redacted value. */
export const isSecret = (schema: Schema.Top, name: string): boolean => {
  const field = fieldsOf(schema)?.[name]
  return holdsRedacted(field ?? schema)
}

/** Fields of the struct at a path, through optional ones; none where there is none. */
const fieldsAt = (schema: Schema.Top, path: ReadonlyArray<PropertyKey>): Readonly<Record<string, Schema.Top>> => {
  let here: Schema.Top | undefined = schema
  const plain = (one: Schema.Top | undefined): Schema.Top | undefined => {
    if (one === undefined || "fields" in one) return one
    const { members, schema } = one as { readonly members?: ReadonlyArray<Schema.Top>; readonly schema?: Schema.Top }
    return schema === undefined ? members?.map(plain).find((member) => member !== undefined) : plain(schema)
  }
  for (const name of path) here = fieldsOf(plain(here) ?? Schema.Struct({}))?.[String(name)]
  return fieldsOf(plain(here) ?? Schema.Struct({})) ?? {}
}

const issues = SchemaIssue.makeFormatterStandardSchemaV1()

const at = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown => {
  let here = value
  for (const name of path) {
    if (typeof here !== "object" || here === null || Redacted.isRedacted(here)) return here
    here = (here as Record<PropertyKey, unknown>)[name]
  }
  return here
}

const showPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.map((name, i) => (typeof name === "number" ? `[${name}]` : i === 0 ? String(name) : `.${String(name)}`)).join("")

/** One fault of the parameters, in words. */
const issueText = (
  schema: Schema.Top,
  given: unknown,
  issue: { readonly message: string; readonly path?: ReadonlyArray<PropertyKey> }
): string => {
  const path = issue.path ?? []
  const name = showPath(path)
  if (issue.message === "Expected no excess property") {
    const known = Object.keys(fieldsAt(schema, path.slice(0, -1)))
    return `there is no parameter ${name}${didYouMean(String(path.at(-1)), known)}`
  }
  if (issue.message === "Missing key") return `parameter ${name} is missing`
  const secret = path.length > 0 ? isSecret(schema, String(path[0])) : holdsRedacted(schema)
  const got = secret
    ? Redacted.isRedacted(at(given, path))
      ? REDACTED
      : "a value that is not shown"
    : showValue(at(given, path))
  const wrap = secret ? " (wrap it with Redacted.make)" : ""
  const said = issue.message.charAt(0).toLowerCase() + issue.message.slice(1)
  return `${name === "" ? "parameters" : `parameter ${name}`}: ${said}, got ${got}${wrap}`
}

const hintFor = (schema: Schema.Top): string => {
  const names = parameterNames(schema)
  return names.length === 0 ? "This node takes no parameters: give {}." : `Parameters are: ${names.join(", ")}.`
}

/** Parameters made by the node's Schema (defaults filled in), or what is wrong with them, every fault of it. */
export const makeParams = (
  schema: Schema.Top,
  given: unknown
): { readonly ok: true; readonly params: unknown } | { readonly ok: false; readonly fault: Fault } => {
  // Remembered first: a fault's own words may quote what was given.
  rememberSecrets(given)
  if (typeof given !== "object" || given === null || Array.isArray(given))
    return { ok: false, fault: { message: `parameters are an object, got ${kindOf(given)}`, hint: hintFor(schema) } }
  try {
    const params = schema.make(given as never, { parseOptions: { errors: "all", onExcessProperty: "error" } } as never)
    return { ok: true, params }
  } catch (error) {
    const issue = (error as { readonly cause?: unknown } | undefined)?.cause
    const secret = holdsRedacted(schema)
    if (!SchemaIssue.isIssue(issue)) {
      const words = secret ? "its Schema cannot make them" : error instanceof Error ? error.message : String(error)
      return {
        ok: false,
        fault: { message: `parameters: ${words}`, hint: hintFor(schema), ...(secret ? {} : { cause: error }) }
      }
    }
    const texts = issues(issue).issues.map((one) =>
      issueText(schema, given, {
        message: one.message,
        path: (one.path ?? []).map((name) => (typeof name === "object" ? name.key : name))
      })
    )
    return { ok: false, fault: { message: texts.join("; "), hint: hintFor(schema) } }
  }
}

const validators = new WeakMap<object, (value: unknown) => string | undefined>()

/** Why a value is none of this schema's; undefined where it is. */
export const wrongValue = (schema: Schema.Constraint, value: unknown): string | undefined => {
  let check = validators.get(schema)
  if (check === undefined) {
    const decode = Schema.decodeUnknownResult(Schema.toType(schema as unknown as Schema.Codec<unknown, unknown>))
    check = (one) => {
      const result = decode(one)
      if (Result.isSuccess(result)) return undefined
      const first = issues(result.failure.issue).issues[0]
      const path = (first?.path ?? []).map((name) => (typeof name === "object" ? name.key : name))
      return (
        `${path.length === 0 ? "" : `${showPath(path)}: `}${first?.message ?? "it does not fit"}, ` +
        `got ${showValue(at(one, path))}`
      )
    }
    validators.set(schema, check)
  }
  return check(value)
}

/** Which names of what was given are missing, or are no input; the first fault. */
export const inputFault = (inputs: Ports, given: unknown): Fault | undefined => {
  const names = Object.keys(inputs)
  const hint = `Inputs are: ${names.join(", ") || "none"}.`
  if (typeof given !== "object" || given === null || Array.isArray(given))
    return { message: `inputs are an object by port, got ${kindOf(given)}`, hint }
  for (const name of Object.keys(given))
    if (!(name in inputs)) return { message: `there is no input ${name}${didYouMean(name, names)}`, hint }
  for (const name of names)
    if ((given as Readonly<Record<string, unknown>>)[name] === undefined) {
      return { message: `input ${name} is missing`, hint: `Give it ${showKinds(inputs[name]!)}.` }
    }
  return undefined
}

/** What a port takes, in words: `rows of pixels or rows of image-features`. */
export const showKinds = (port: Port): string => artifactsOf(port).map(showKind).join(" or ")

/** An artifact in words: `rows of captions`, `files of clip-weights`, `a report`. */
export const showKind = (artifact: Artifact): string =>
  artifact.kind === "rows"
    ? `rows of ${artifact.tag}`
    : artifact.kind === "tree"
      ? `files of ${artifact.tag}`
      : `a value of ${artifact.tag}`
