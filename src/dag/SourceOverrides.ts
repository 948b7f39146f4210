/**
 * Other locations for a pipeline's sources while it is being built: the command line's `--source`.
 *
 * Not a second kind of source: a replaced source reads other files and stays what it was otherwise. Its digest and size
 * were stated for the files it had, so they no longer hold. A key is made from content, so equal files change nothing.
 */
import { Schema } from "effect"
import { didYouMean } from "./Nearest.ts"

/** A `--source` that names no source, or says no location. */
export class SourceOverrideError extends Schema.TaggedError<SourceOverrideError>()("SourceOverrideError", {
  override: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

interface Build {
  readonly asked: ReadonlyArray<{ readonly name: string; readonly location: string; readonly text: string }>
  readonly known: Array<string>
}

let build: Build | undefined

const parse = (text: string): Build["asked"][number] => {
  const at = text.indexOf("=")
  const [name, location] = [text.slice(0, at).trim(), text.slice(at + 1).trim()]
  if (at < 1 || name === "" || location === "")
    throw new SourceOverrideError({
      override: text,
      message: `"${text}" is not NAME=PATH or NAME=URL`,
      hint: "For example --source images=/data/images"
    })
  return { name, location, text }
}

/** A source is named by its id, or by the last part of it. */
const names = (id: string, name: string): boolean => id === name || id.endsWith(`/${name}`)

const fail = (text: string, message: string, known: ReadonlyArray<string>): never => {
  throw new SourceOverrideError({
    override: text,
    message,
    hint:
      `Sources: ${known.toSorted().join(", ") || "none"}. ` +
      "The last part of a name is enough where it is the only one."
  })
}

/**
 * Builds a pipeline with some sources read from elsewhere: `NAME=PATH` or `NAME=URL` each. Throws `SourceOverrideError`
 * for a name that no source has, or that several have, and for a source that is named twice.
 *
 * @example
 * withSources(["sharegpt=/data/mine.json"], () => llavaPhi(settings, sampleSources()))
 */
export const withSources = <A>(sources: ReadonlyArray<string>, body: () => A): A => {
  const outer = build
  build = { asked: sources.map(parse), known: [] }
  try {
    const result = body()
    const { asked, known } = build
    for (const { name, text } of asked) {
      const meant = [...new Set(known)].filter((id) => names(id, name))
      const exact = meant.includes(name) ? [name] : meant
      if (exact.length === 0) fail(text, `no source is called "${name}"${didYouMean(name, known)}`, known)
      if (exact.length > 1) fail(text, `"${name}" may be ${exact.join(" or ")}`, known)
      if (asked.filter((other) => names(exact[0]!, other.name)).length > 1)
        fail(text, `the source ${exact[0]} is named twice`, known)
    }
    return result
  } finally {
    build = outer
  }
}

/**
 * Whether the pipeline that is being built has a `--source` of this name: for inputs that a recipe can do without.
 *
 * @example
 * const questions = isGiven("questions") ? source(QuestionFile, { id: "questions", location: "" }) : undefined
 */
export const isGiven = (id: string): boolean => build?.asked.some(({ name }) => names(id, name)) ?? false

/** Where a source that is being built reads instead; undefined without a `--source` for it. */
export const otherLocation = (id: string): string | undefined => {
  if (build === undefined) return undefined
  build.known.push(id)
  return build.asked.find(({ name }) => names(id, name))?.location
}
