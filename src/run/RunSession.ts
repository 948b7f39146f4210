/** What all nodes of one run share, and the errors that end it. Built once by `Scheduler.ts`. */
import type { Context, Effect, Semaphore } from "effect"
import type { AnyNode, WiringError } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import type { RankLost } from "../dag/ProcessGroup.ts"
import type { SourceError, SourceHere, StoreError } from "../store/Store.ts"
import type { Coordinator } from "./Coordinator.ts"
import { Interrupted, type NodeFailed, type NodesFailed, type RunOptions, type SelectionError } from "./Run.ts"
import type { Selection } from "./Selection.ts"
import type { Workers } from "./Workers.ts"

export type RunError =
  | WiringError
  | NodeFailed
  | NodesFailed
  | SelectionError
  | Interrupted
  | StoreError
  | SourceError
  | RankLost

export interface RunSession {
  readonly pipeline: Pipeline
  readonly options: RunOptions
  readonly selection: Selection
  /** Whether unfinished work of other code is taken over. */
  readonly allowsStaleCode: (node: AnyNode) => boolean
  readonly workers: Workers
  /** One thread for the nodes that compute with an engine. */
  readonly engines: Workers
  /** Services of the recipe's nodes, built when the first node runs beside the caller. */
  readonly services: Effect.Effect<Context.Context<never>, unknown>
  readonly engine: Semaphore.Semaphore
  /** The other processes of the run; undefined where it is one. */
  readonly coordinator: Coordinator | undefined
  /** Fetches a source, once a run, and gives its path. */
  readonly fetchSource: (source: AnyNode) => Effect.Effect<SourceHere, RunError>
}

export const stoppedBefore = (node: AnyNode) =>
  new Interrupted({
    message: `stopped before ${node.id}`,
    hint: "Run the same command again: finished nodes are kept."
  })
