/**
 * Packages that only some entries need: what to say when one of them is not installed.
 *
 * Not a loader: each module imports its own package, `await import("sharp").catch(missing("sharp"))`, so that the name
 * stays where it is used and code digests see it. A package that is there and broken keeps its own error.
 */
import { readFileSync } from "node:fs"
import { findPackageJSON } from "node:module"
import { Option, Schema } from "effect"

/**
 * An entry was imported without a package that it needs. The graph, the store and the command line need none of them.
 */
export class PackageMissing extends Schema.TaggedError<PackageMissing>()("PackageMissing", {
  package: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const decode = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      peerDependencies: Schema.Record(Schema.String, Schema.String),
      peerDependenciesMeta: Schema.Record(Schema.String, Schema.Struct({ optional: Schema.Boolean }))
    })
  )
)

/** The optional packages with the version they were tested with, as `npm install` takes them. */
const optional = (): ReadonlyMap<string, string> => {
  const path = findPackageJSON("..", import.meta.url)
  const manifest = path === undefined ? Option.none() : decode(readFileSync(path, "utf8"))
  if (Option.isNone(manifest)) return new Map()
  const { peerDependencies, peerDependenciesMeta } = manifest.value
  return new Map(
    Object.entries(peerDependencies)
      .filter(([name]) => peerDependenciesMeta[name]?.optional === true)
      .map(([name, range]) => [name, `${name}@${range.replace(/^[\^~]/, "")}`])
  )
}

/** Node's words for a package that is not there; a package that misses one of its own is another matter. */
const isAbout = (error: unknown, name: string): boolean =>
  error instanceof Error &&
  /^(ERR_)?MODULE_NOT_FOUND$/.test((error as NodeJS.ErrnoException).code ?? "") &&
  [`'${name}'`, `'${name}/`].some(
    (start) =>
      error.message.split("\n")[0]!.includes(`Cannot find package ${start}`) ||
      error.message.split("\n")[0]!.includes(`Cannot find module ${start}`)
  )

/**
 * Turns "package not found" into `PackageMissing`, and throws everything else as it is.
 *
 * @example
 * const { default: sharp } = await import("sharp").catch(missing("sharp"))
 */
export const missing =
  (name: string) =>
  (cause: unknown): never => {
    if (!isAbout(cause, name)) throw cause
    const all = optional()
    const hint = `npm install ${all.get(name) ?? name}`
    throw new PackageMissing({
      package: name,
      message: `the package ${name} is not installed`,
      hint:
        all.size < 2 ? hint : `${hint} (all that the recipe's nodes need: npm install ${[...all.values()].join(" ")})`,
      cause
    })
  }
