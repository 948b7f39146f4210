/**
 * What a plan asks of a recipe that can say what it will cost, and what it gets.
 *
 * Not the formulas: the command line knows the nodes, what is stored and what was asked for; the recipe knows what its
 * nodes train.
 */
import type { Effect, Schema, Scope } from "effect"
import type { Artifact, Handle, InputUnavailable } from "./Artifact.ts"
import type { AnyNode, AnyRef } from "./Node.ts"

/** A plan that is to be costed. */
export interface Costing {
  /** What would run or is stored, inputs before consumers. */
  readonly nodes: ReadonlyArray<AnyNode>
  readonly cached: (node: AnyNode) => boolean
  readonly engine: string
  /** The engine's name was left open (`auto`): on another machine it may be another one. */
  readonly engineOpen: boolean
  /** Processes that train together. */
  readonly world: number
  /** As typed. */
  readonly gpu: string | undefined
  /** Share of a card's peak, 0 to 1. */
  readonly mfu: number | undefined
  /** An artifact that is here: stored, or a source that is on this disk. */
  readonly open: <A extends Artifact>(
    ref: AnyRef | undefined,
    artifact: A
  ) => Effect.Effect<Handle<A> | undefined, InputUnavailable, Scope.Scope>
}

/** What it will cost: figures for programs, lines for people. */
export interface Estimate {
  readonly figures: Schema.Json
  readonly lines: ReadonlyArray<string>
}
