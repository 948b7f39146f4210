/**
 * Several processes that run one fold in lockstep: which of them this one is, and where they meet.
 *
 * Not processes and not collectives: the runner starts the former (`run/Coordinator.ts`), an engine has the latter.
 * Rank 0 leads: it runs the pipeline, and its folds find a rendezvous here. The others follow: they run `follow` of
 * `FoldFunctions` for as long as the coordinator's fold runs. How many there are is in no key: results are equal within
 * a tolerance.
 */
import { Context, Schema } from "effect"

/** A process of the run ended, is hung, or failed. */
export class RankLost extends Schema.TaggedError<RankLost>()("RankLost", {
  rank: Schema.Number,
  world: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Where the processes of one attempt of a fold meet. */
export const Rendezvous = Schema.Struct({
  rank: Schema.Int,
  world: Schema.Int,
  host: Schema.String,
  port: Schema.Int,
  /** The numeric address of rank 0's machine at which it listens, and at no other. */
  listen: Schema.String,
  /** Another process serves the store at `host:port` (torchrun's agent); else rank 0 opens it. */
  kept: Schema.Boolean,
  /** Differs from that of other attempts at the same address. */
  name: Schema.String
})
export type Rendezvous = typeof Rendezvous.Type

/** The rendezvous of the fold that runs; undefined where it computes alone. */
export const ProcessGroup = Context.Reference<Rendezvous | undefined>("millrace/dag/ProcessGroup", {
  defaultValue: () => undefined
})
