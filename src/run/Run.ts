/**
 * Runs a recipe's pipeline against the store: interface. See `Scheduler.ts` for the order of things.
 */
import { Context, Deferred, Effect, Layer, Schema } from "effect"

/** How a run is cut and executed; none of it reaches a key. */
export interface RunOptions {
  readonly only: ReadonlyArray<string>
  readonly from: ReadonlyArray<string>
  readonly until: ReadonlyArray<string>
  readonly force: ReadonlyArray<string>
  /**
   * Nodes whose stored result and unfinished work are taken although the code behind them changed; none when left out.
   */
  readonly allowStaleCode?: ReadonlyArray<string> | false
  /**
   * Worker threads for CPU-bound sharded nodes, and threads of a training step and its loader; 0 runs all beside the
   * caller.
   */
  readonly workers: number
  /** Steps between checkpoints of folds; when absent, one every `checkpointEveryMs`. */
  readonly checkpointEverySteps?: number
  readonly checkpointEveryMs: number
  /** After a node failed, finish all that does not need it; the run fails at its end. False when left out. */
  readonly keepGoing?: boolean
  /** Read every byte of what is taken from the store; damaged shards are made again, alone. False when left out. */
  readonly verify?: boolean
}

/** A node failed for good. Everything finished before it stays in the store. */
export class NodeFailed extends Schema.TaggedError<NodeFailed>()("NodeFailed", {
  node: Schema.String,
  shard: Schema.optional(Schema.Number),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Several nodes of a run failed (`keepGoing`). What does not need them is finished and stored. */
export class NodesFailed extends Schema.TaggedError<NodesFailed>()("NodesFailed", {
  /** The failed nodes, in the order of their failures. */
  nodes: Schema.Array(Schema.String),
  /** Nodes that were not begun, because they need one of those. */
  skipped: Schema.Array(Schema.String),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** `--only`, `--from`, `--until` or `--force` names no node, or asks for a node whose inputs are not in the store. */
export class SelectionError extends Schema.TaggedError<SelectionError>()("SelectionError", {
  node: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** The run was asked to stop and did; what was finished is in the store. */
export class Interrupted extends Schema.TaggedError<Interrupted>()("Interrupted", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** A polite stop: shards in flight are finished and committed, folds save a checkpoint, then the run ends. */
export class Stop extends Context.Service<
  Stop,
  { readonly request: Effect.Effect<void>; readonly requested: () => boolean; readonly wait: Effect.Effect<void> }
>()("millrace/run/Stop") {
  static readonly layer = Layer.effect(
    Stop,
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      let requested = false
      return Stop.of({
        request: Effect.suspend(() => {
          requested = true
          return Effect.asVoid(Deferred.succeed(asked, undefined))
        }),
        requested: () => requested,
        wait: Deferred.await(asked)
      })
    })
  )
}
