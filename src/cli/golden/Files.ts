/**
 * Finds out from content what a folder of goldens holds.
 *
 * Not a reader of models: a set of folders with `golden.safetensors` is named and left to `model/Golden.ts`. A folder
 * may hold several kinds, and subfolders.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { extname, join } from "node:path"
import { Effect, Schema } from "effect"
import { GoldenError } from "./Line.ts"

const HtmlCases = Schema.Array(Schema.Struct({ html: Schema.String, markdown: Schema.String }))
const TokenCases = Schema.Array(Schema.Struct({ text: Schema.String, ids: Schema.Array(Schema.Number) }))
const Conversations = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    conversations: Schema.Array(Schema.Struct({ from: Schema.String, value: Schema.String }))
  })
)

/** A picture and what the reference made of it. Paths are absolute. */
export interface ImageCase {
  readonly source: string
  readonly expected: string
  readonly fit: "crop" | "pad"
}

/** One thing to check. Contents of JSON files are read already: they were looked at to know what they are. */
export type Golden =
  | { readonly kind: "model"; readonly folder: string }
  | { readonly kind: "images"; readonly folder: string; readonly cases: ReadonlyArray<ImageCase> }
  | { readonly kind: "html"; readonly folder: string; readonly cases: typeof HtmlCases.Type }
  | { readonly kind: "tokens"; readonly folder: string; readonly cases: typeof TokenCases.Type }
  | {
      readonly kind: "clean"
      readonly folder: string
      readonly input: ReadonlyArray<unknown>
      readonly expected: typeof Conversations.Type
    }

const unreadable = (path: string, cause: unknown) =>
  new GoldenError({
    path,
    message: cause instanceof Error ? cause.message : String(cause),
    hint: "Copy the golden file again.",
    cause
  })

const json = (path: string): Effect.Effect<unknown, GoldenError> =>
  Effect.try({
    try: () => JSON.parse(readFileSync(path, "utf8")) as unknown,
    catch: (cause) => unreadable(path, cause)
  })

const first = (value: unknown): Readonly<Record<string, unknown>> | undefined => {
  const one: unknown = Array.isArray(value) ? value[0] : undefined
  return typeof one === "object" && one !== null ? (one as Readonly<Record<string, unknown>>) : undefined
}

const read = <A>(path: string, schema: Schema.Codec<A, any>, value: unknown) =>
  Effect.mapError(Schema.decodeUnknownEffect(schema)(value), (cause) => unreadable(path, cause))

/** Which of a folder's JSON files is what: by its rows, whatever its name. `expected.json` belongs to `input.json`. */
const jsonGoldens = Effect.fnUntraced(function* (folder: string, names: ReadonlyArray<string>) {
  const out: Array<Golden> = []
  const paired = names.includes("input.json") && names.includes("expected.json")
  for (const name of names) {
    if (extname(name) !== ".json") continue
    if (paired && name === "expected.json") continue
    const path = join(folder, name)
    const value = yield* json(path)
    if (paired && name === "input.json") {
      if (!Array.isArray(value)) return yield* unreadable(path, new Error("expected an array of conversations"))
      const other = join(folder, "expected.json")
      out.push({ kind: "clean", folder, input: value, expected: yield* read(other, Conversations, yield* json(other)) })
      continue
    }
    const row = first(value)
    if (row === undefined) continue
    if ("html" in row && "markdown" in row)
      out.push({ kind: "html", folder, cases: yield* read(path, HtmlCases, value) })
    else if ("text" in row && "ids" in row)
      out.push({ kind: "tokens", folder, cases: yield* read(path, TokenCases, value) })
  }
  return out
})

const result = /^(.+)\.(crop|pad)\.png$/
const pictures = [".jpg", ".jpeg", ".png", ".gif", ".webp"]

const imageCases = Effect.fnUntraced(function* (folder: string, names: ReadonlyArray<string>) {
  const out: Array<ImageCase> = []
  for (const name of names) {
    const match = result.exec(name)
    if (match === null) continue
    const source = names.find(
      (one) =>
        !result.test(one) &&
        pictures.includes(extname(one).toLowerCase()) &&
        one.slice(0, -extname(one).length) === match[1]
    )
    if (source === undefined)
      return yield* unreadable(join(folder, name), new Error(`its source ${match[1]}.* is missing`))
    out.push({ source: join(folder, source), expected: join(folder, name), fit: match[2] as "crop" | "pad" })
  }
  return out
})

const isModel = (folder: string): boolean => existsSync(join(folder, "golden.safetensors"))

/**
 * Everything known under `folder`, in order of name. Fails where a golden cannot be read.
 *
 * A model set is the folder that holds model folders: its AdamW case starts from the Phi case beside it.
 */
export const findGoldens = Effect.fnUntraced(function* (
  folder: string,
  inSet = false
): Effect.fn.Return<ReadonlyArray<Golden>, GoldenError> {
  const entries = yield* Effect.try({
    try: () =>
      readdirSync(folder, { withFileTypes: true })
        .filter((entry) => !entry.name.startsWith(".") && entry.name !== "node_modules")
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    catch: (cause) => unreadable(folder, cause)
  })
  const names = entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name)
  const out: Array<Golden> = []
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
  const set = !inSet && (isModel(folder) || folders.some(isModel))
  if (set) out.push({ kind: "model", folder })
  if (!isModel(folder)) out.push(...(yield* jsonGoldens(folder, names)))
  const cases = yield* imageCases(folder, names)
  if (cases.length > 0) out.push({ kind: "images", folder, cases })
  for (const inner of folders) out.push(...(yield* findGoldens(inner, set)))
  return out
})
