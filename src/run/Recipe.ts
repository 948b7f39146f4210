/**
 * A recipe: presets, a function that builds the pipeline from one of them, and what its nodes need to run.
 *
 * Worker threads import the recipe's module (its default export) and build the same pipeline from the same preset and
 * overrides; closures never cross a thread.
 */
import { fileURLToPath } from "node:url"
import { type Effect, type Layer, Schema, type Scope } from "effect"
import type { Costing, Estimate } from "../dag/Costing.ts"
import { withOverrides } from "../dag/InstanceScope.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import type { Finished, Part } from "../dag/Sections.ts"
import { callerLocation, type SourceLocation, type SourcePosition } from "../dag/SourceLocation.ts"
import { withSources } from "../dag/SourceOverrides.ts"

/** What a finished run shows a person, made from the recipe's value outputs. */
export interface Summary {
  /** Figures for `--json` (the last event's `metrics`). */
  readonly metrics: Schema.Json
  /** Lines for the terminal. */
  readonly lines: ReadonlyArray<string>
}

/** An engine, and why it was taken where its name left that open. */
export interface Resolved {
  readonly engine: string
  readonly why?: string
}

export interface Recipe<Settings, R> {
  readonly name: string
  /** Literal tables; the first is the default. */
  readonly presets: { readonly [preset: string]: Settings }
  readonly build: (settings: Settings) => { readonly pipeline: Pipeline<any, any, R> }
  /** Services of the nodes, for an engine name given on the command line. */
  readonly services: (engine: string) => Layer.Layer<R, any>
  /** Engine names `--engine` takes; the first is the default where `engine` says nothing. */
  readonly engines: ReadonlyArray<string>
  /** The engine of a preset. */
  readonly engine?: (settings: Settings) => string
  /** The engine that a name stands for on this machine, as `auto` does; without a reason the name is the engine. */
  readonly resolveEngine?: (name: string) => Resolved
  /** Those of them that train in several processes; none when left out. */
  readonly distributed?: ReadonlyArray<string>
  /** Numerics fingerprint of an engine: part of the key of nodes that compute with one. */
  readonly numerics: (engine: string) => string
  /** What to do when only a node's code differs from a stored entry's; `rerun` when left out. */
  readonly whenCodeDiffers?: (settings: Settings, node: string) => "rerun" | "warn"
  /** Reads decoded value outputs by target name (absent when the run did not get there). */
  readonly summary?: (values: Readonly<Record<string, unknown>>) => Summary
  /** The recipe's part of the run's page, from what the run left in the store; also of one that failed. */
  readonly report?: (run: Finished) => Effect.Effect<Part, any, Scope.Scope>
  /** Sources with a flag of their own, by name, with the flag's help: `--images DIR` is `--source images=DIR`. */
  readonly sourceFlags?: Readonly<Record<string, string>>
  /** What the plan's training will cost; shown under a plan. */
  readonly cost?: (settings: Settings, asked: Costing) => Effect.Effect<Estimate, any, Scope.Scope>
}

const locations = new WeakMap<object, SourceLocation>()

/** Types a recipe value; see `pipelines/llava-phi.ts`. Where it is called says where the code of `services` lies. */
export const recipe = <Settings, R>(value: Recipe<Settings, R>): Recipe<Settings, R> => {
  locations.set(value, callerLocation())
  return value
}

/** The call of `recipe` that made a recipe, and its callers; where it was made otherwise, its module. */
export const recipeChain = (recipe: object, moduleUrl: string): ReadonlyArray<SourcePosition> => {
  const chain = locations.get(recipe)?.chain
  if (chain !== undefined) return chain
  return moduleUrl.startsWith("file:") ? [{ file: fileURLToPath(moduleUrl), line: 0, column: 0 }] : []
}

/** Which pipeline a recipe makes: small, serialisable, the same in every thread. */
export const Choice = Schema.Struct({
  preset: Schema.String,
  settings: Schema.Array(Schema.String),
  engine: Schema.String,
  /** Sources that are read from elsewhere: `NAME=PATH` or `NAME=URL`. */
  sources: Schema.optionalKey(Schema.Array(Schema.String))
})
export type Choice = typeof Choice.Type

/** Builds the pipeline of a choice. Throws `OverrideError`, `SourceOverrideError` or `WiringError`. */
export const build = <Settings, R>(recipe: Recipe<Settings, R>, choice: Choice): Pipeline<any, any, R> =>
  withSources(choice.sources ?? [], () =>
    withOverrides({ settings: choice.settings }, () => recipe.build(recipe.presets[choice.preset]!).pipeline)
  )
