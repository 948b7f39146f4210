/**
 * Instance ids and parameter overrides while a pipeline value is being built.
 *
 * Not identity: ids never reach a key. Ids are paths: `scope("instruct", ...)` prefixes what is applied inside it, and
 * `withOverrides` changes parameters of named instances (the command line's `--set`) in one build.
 */
import { Schema } from "effect"
import { didYouMean } from "./Nearest.ts"
import type { NodeSpec } from "./Node.ts"
import { isSecret, parameterNames } from "./Parameters.ts"

/** An override that names no instance or parameter, or does not parse. */
export class OverrideError extends Schema.TaggedError<OverrideError>()("OverrideError", {
  override: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** `instance.param=value` texts; the value is JSON, or else a string. */
export interface Overrides {
  readonly settings: ReadonlyArray<string>
}

interface Build {
  readonly overrides: ReadonlyArray<{ id: string; param: string; value: unknown; text: string }>
  readonly used: Set<string>
  readonly known: Map<string, ReadonlyArray<string>>
}

const path: Array<string> = []
let build: Build | undefined

/**
 * Prefixes the ids of all instances applied inside `body`; for a sub-graph used twice.
 *
 * @example
 * const split = scope("instruct", () => holdOut({ rows }, { share: 0.04, seed: 0 })) // id instruct/holdOut
 */
export const scope = <A>(id: string, body: () => A): A => {
  path.push(id)
  try {
    return body()
  } finally {
    path.pop()
  }
}

/** The full id of an instance named `name` here. */
export const instanceId = (name: string): string => [...path, name].join("/")

/** Bytes of a name as the store writes it; file systems take 255, and the store adds its own endings. */
const LONGEST_NAME = 200

/** Why a name cannot be a file's in the store, before anything runs. `what` is a node, an output or a pipeline. */
export const nameFault = (
  what: "node" | "output" | "pipeline",
  name: unknown
): { readonly message: string; readonly hint: string } | undefined => {
  const hint = `Give the ${what} a name of letters, digits and - _ / of at most ${LONGEST_NAME} letters.`
  if (typeof name !== "string") return { message: `the name of a ${what} is a text, got ${String(name)}`, hint }
  if (name.trim() === "" || name.split("/").some((part) => part === ""))
    return { message: `${JSON.stringify(name)} is no name of a ${what}: a part of it is empty`, hint }
  if (!name.isWellFormed() || /[\u0000-\u001f\u007f]/.test(name))
    return {
      message: `${JSON.stringify(name)} is no name of a ${what}: it has letters that no file name can hold`,
      hint
    }
  const bytes = encodeURIComponent(name).length
  if (bytes > LONGEST_NAME)
    return {
      message:
        `the name ${JSON.stringify(`${name.slice(0, 40)}…`)} of a ${what} is too long: ` +
        `${bytes} bytes as a file name, ${LONGEST_NAME} are allowed`,
      hint
    }
  return undefined
}

const parse = (text: string) => {
  const match = /^([^=]+)\.([A-Za-z_]\w*(?:\.\w+)*)=([\s\S]*)$/.exec(text)
  if (match === null)
    throw new OverrideError({
      override: text,
      message: `"${text}" is not instance.param=value`,
      hint: "For example --set instruct/tokenizeImages.size=336"
    })
  let value: unknown = match[3]!
  try {
    value = JSON.parse(match[3]!)
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause // a plain word is a string
  }
  return { id: match[1]!, param: match[2]!, value, text }
}

/**
 * Builds a pipeline with some parameters replaced. Throws `OverrideError` when an override names nothing.
 *
 * @example
 * withOverrides({ settings: ["sft/train.epochs=1"] }, () => llavaPhi(settings, sources))
 */
export const withOverrides = <A>(overrides: Overrides, body: () => A): A => {
  const outer = build
  build = { overrides: overrides.settings.map(parse), used: new Set(), known: new Map() }
  try {
    const result = body()
    for (const { id, param, text } of build.overrides) {
      if (build.used.has(text)) continue
      const params = build.known.get(id)
      throw new OverrideError({
        override: text,
        message:
          params === undefined
            ? `no node is called "${id}"${didYouMean(id, build.known.keys())}`
            : `${id} has no parameter "${param}"${didYouMean(param, params)}`,
        hint:
          params === undefined
            ? `Nodes: ${[...build.known.keys()].sort().join(", ")}`
            : `Parameters of ${id}: ${params.join(", ") || "none"}`
      })
    }
    return result
  } finally {
    build = outer
  }
}

/** Overrides that apply to an instance being built, as a partial parameter record. */
export const overridesFor = (id: string, spec: NodeSpec): Record<string, unknown> => {
  if (build === undefined) return {}
  const fields = parameterNames(spec.params)
  build.known.set(id, fields)
  const out: Record<string, unknown> = {}
  for (const one of build.overrides) {
    if (one.id !== id || !fields.includes(one.param)) continue
    if (isSecret(spec.params, one.param))
      throw new OverrideError({
        override: `${id}.${one.param}=<redacted>`,
        message: `${id}.${one.param} is redacted and cannot be set on the command line, which is written down`,
        hint: "Read it in the recipe from the environment, for example with `Config.Redacted`."
      })
    build.used.add(one.text)
    out[one.param] = one.value
  }
  return out
}
