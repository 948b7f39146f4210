/**
 * From flags to a pipeline: checks every name a person typed before anything is opened.
 *
 * Not a plan. Unknown preset, engine, node or parameter, and values that do not fit, are `UsageError`s that say what
 * there is, the nearest name first; the command ends with exit code 2.
 */
import { resolve } from "node:path"
import { Effect, Schema } from "effect"
import { OverrideError } from "../dag/InstanceScope.ts"
import { encodeParams } from "../dag/Key.ts"
import { didYouMean, nearest } from "../dag/Nearest.ts"
import { WiringError } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import { isRemote } from "../dag/Source.ts"
import { SourceOverrideError } from "../dag/SourceOverrides.ts"
import { build, type Choice, type Recipe } from "../run/Recipe.ts"
import type { RunOptions } from "../run/Run.ts"

/** The command line asks for something that is not there. Exit code 2. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** What selects a pipeline; absent means the recipe's first. */
export interface Wanted {
  readonly preset: string | undefined
  readonly engine: string | undefined
  readonly settings: ReadonlyArray<string>
  readonly sources?: ReadonlyArray<string>
}

const sorted = (name: string, names: ReadonlyArray<string>): string => {
  const near = nearest(name, names)
  return (near === undefined ? names : [near, ...names.filter((one) => one !== near)]).join(", ") || "none"
}

const unknown = (what: string, name: string, names: ReadonlyArray<string>, list: string) =>
  new UsageError({ message: `${what} "${name}"${didYouMean(name, names)}`, hint: `${list}: ${sorted(name, names)}` })

/** Parameter names of each instance, for messages. */
const parameters = (pipeline: Pipeline): ReadonlyMap<string, ReadonlyArray<string>> =>
  new Map(
    pipeline.nodes
      .filter((node) => node.spec.kind !== "source")
      .map((node) => {
        const fields = "fields" in node.spec.params ? Object.keys(node.spec.params.fields as object) : []
        return [node.id, fields.length > 0 ? fields : Object.keys((encodeParams(node) ?? {}) as object)]
      })
  )

/** Locations as seen from any folder: a thread or a record may be somewhere else. */
const absolute = (sources: ReadonlyArray<string>): ReadonlyArray<string> =>
  sources.map((text) => {
    const at = text.indexOf("=") + 1
    const location = text.slice(at).trim()
    return at === 0 || location === "" || isRemote(location) || location.startsWith("file://")
      ? text
      : text.slice(0, at) + resolve(location)
  })

/** Explains a bad `--set` with what the pipeline has when built without it. */
const explain = (error: OverrideError, plain: () => Pipeline): UsageError => {
  const match = /^([^=]+)\.([^.=]+)=/.exec(error.override)
  if (match === null) return new UsageError({ message: error.message, hint: error.hint })
  const [, id, param] = match as unknown as [string, string, string]
  if (error.override.endsWith("=<redacted>")) return new UsageError({ message: error.message, hint: error.hint })
  const known = parameters(plain())
  const fields = known.get(id)
  return fields === undefined
    ? unknown("--set: no node is called", id, [...known.keys()], "Nodes with parameters")
    : unknown(`--set: ${id} has no parameter`, param, fields, `Parameters of ${id}`)
}

export interface Chosen<R> {
  readonly choice: Choice
  readonly pipeline: Pipeline<any, any, R>
  readonly engineWhy: string | undefined
}

/**
 * The choice, its pipeline, and why its engine was taken where the name asked for left that open. Fails with
 * `UsageError` for what was typed, `WiringError` for a recipe that is wrong by itself; anything else a recipe throws is
 * a defect.
 */
export const choose = <Settings, R>(
  recipe: Recipe<Settings, R>,
  wanted: Wanted
): Effect.Effect<Chosen<R>, UsageError | WiringError> =>
  Effect.gen(function* () {
    const presets = Object.keys(recipe.presets)
    const preset = wanted.preset ?? presets[0] ?? ""
    if (!presets.includes(preset)) return yield* unknown("no preset is called", preset, presets, "Presets")
    const named = wanted.engine ?? recipe.engine?.(recipe.presets[preset]!) ?? recipe.engines[0] ?? ""
    if (!recipe.engines.includes(named))
      return yield* unknown("no engine is called", named, recipe.engines, `Engines of ${recipe.name}`)
    const { engine, why: engineWhy } = recipe.resolveEngine?.(named) ?? { engine: named }
    const { sources = [], settings } = wanted
    const choice: Choice = { preset, engine, settings, ...(sources.length > 0 ? { sources: absolute(sources) } : {}) }
    const plain = () => build(recipe, { ...choice, settings: [] })
    try {
      return { choice, pipeline: build(recipe, choice), engineWhy }
    } catch (error) {
      if (error instanceof SourceOverrideError)
        return yield* new UsageError({ message: `--source: ${error.message}`, hint: error.hint })
      if (error instanceof OverrideError) return yield* explain(error, plain)
      if (!(error instanceof WiringError)) throw error
      if (wanted.settings.length === 0) return yield* error
      try {
        plain()
      } catch (own) {
        if (own instanceof WiringError) return yield* own
        throw own
      }
      // The recipe alone is sound, so a value that was set does not fit.
      const mine = wanted.settings.filter((setting) => setting.startsWith(`${error.node}.`))
      return yield* new UsageError({
        message: `--set ${(mine.length > 0 ? mine : wanted.settings).join(" --set ")}: ${error.node}: ${error.message}`,
        hint: "Give a value that fits the parameter; `graph --format json` shows the present ones.",
        cause: error.cause
      })
    }
  })

/** Fails with `UsageError` when a selection names a node that the pipeline has not. */
export const checkSelection = (
  pipeline: Pipeline,
  selection: Pick<RunOptions, "only" | "from" | "until" | "force"> & { readonly allowStaleCode?: ReadonlyArray<string> }
): Effect.Effect<void, UsageError> =>
  Effect.gen(function* () {
    const ids = pipeline.nodes.map((node) => node.id)
    const { allowStaleCode = [], force, from, only, until } = selection
    for (const [flag, named] of Object.entries({ only, from, until, force, "allow-stale-code": allowStaleCode }))
      for (const id of named)
        if (!ids.includes(id)) return yield* unknown(`--${flag}: no node is called`, id, ids, "Nodes")
  })

/** One node by id; `UsageError` with the nearest name otherwise. */
export const nodeCalled = (pipeline: Pipeline, id: string) => {
  const node = pipeline.nodes.find((one) => one.id === id)
  return node === undefined
    ? Effect.fail(
        unknown(
          "no node is called",
          id,
          pipeline.nodes.map((one) => one.id),
          "Nodes"
        )
      )
    : Effect.succeed(node)
}
