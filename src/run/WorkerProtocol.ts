/**
 * The messages between a worker thread and the code that started it: every request has one exit, matched by number.
 *
 * One protocol for all threads: shards, nodes, a rank's part of a fold, helpers and loaders. `WorkerClient.ts` is the
 * client, `WorkerMain.ts` the server. Both sides run the same code in one process, so messages are cloned and not
 * decoded: the Schemas give the types here, and `RankProtocol.ts` decodes messages of other processes with the same
 * ones. Buffers of a loader's answers are transferred, not copied.
 */
import { Cause, Effect, Result, Schema } from "effect"
import { scrub } from "../dag/Secrets.ts"
import { damageIn } from "../store/Damage.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import { describeError, hintFor } from "./Failure.ts"
import { NodeTask, type NodeWatch } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { Choice } from "./Recipe.ts"
import { Interrupted, NodeFailed } from "./Run.ts"
import { encodeError, SerializedError } from "./SerializedExit.ts"
import { ShardTask } from "./ShardTask.ts"

/** What a thread is started with. */
export const WorkerSetup = Schema.Struct({
  /** URL of the recipe's module; its default export is the recipe. */
  module: Schema.String,
  choice: Choice,
  store: Schema.String
})
export type WorkerSetup = typeof WorkerSetup.Type

/** `help` and `load` open a fold's node once; every `ask` after that is answered in turn. */
export const Work = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("shard"), task: ShardTask }),
  Schema.Struct({ kind: Schema.Literals(["node", "follow", "help", "load"]), task: NodeTask }),
  Schema.Struct({ kind: Schema.Literal("ask"), task: Schema.Unknown })
])
export type Work = typeof Work.Type

/** The value of a request's exit, by the kind of work. */
export interface Results {
  readonly shard: ShardRecord
  readonly node: Drained
  readonly follow: undefined
  readonly help: undefined
  readonly load: undefined
  readonly ask: unknown
}

/** To a thread: a request, or the wish that the running fold stops at its next step. */
export const ToWorker = Schema.Union([
  Schema.Struct({ type: Schema.Literal("request"), id: Schema.Int, work: Work }),
  Schema.Struct({ type: Schema.Literal("stop") })
])
export type ToWorker = typeof ToWorker.Type
export type Request = Extract<ToWorker, { readonly type: "request" }>

/** The calls of a `NodeWatch` as messages; a shard sends `rows` alone. */
export const Progress = Schema.Union([
  Schema.Struct({
    call: Schema.Literal("started"),
    from: Schema.optionalKey(Schema.Struct({ step: Schema.Number, skipped: Schema.Array(Schema.String) }))
  }),
  Schema.Struct({
    call: Schema.Literal("step"),
    step: Schema.Number,
    total: Schema.Number,
    metrics: Schema.Record(Schema.String, Schema.Number)
  }),
  Schema.Struct({ call: Schema.Literal("saved"), step: Schema.Number }),
  Schema.Struct({ call: Schema.Literal("rows"), rows: Schema.Number }),
  Schema.Struct({ call: Schema.Literal("metrics"), figures: Schema.Record(Schema.String, Schema.Number) })
])
export type Progress = typeof Progress.Type

/**
 * `bug`: the node broke (a defect), which is not tried again. `error`: the cause of the node's failure, where it
 * crosses.
 */
const Failed = Schema.Struct({
  status: Schema.Literal("failed"),
  bug: Schema.Boolean,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.String,
  error: Schema.optionalKey(SerializedError)
})
export type Failed = typeof Failed.Type

/** How a request ended. `stopped`: the run was asked to stop, and the node did. */
export const WorkerExit = Schema.Union([
  Schema.Struct({ status: Schema.Literal("done"), value: Schema.Unknown }),
  Schema.Struct({ status: Schema.Literal("stopped"), message: Schema.String, hint: Schema.String }),
  Failed
])
export type WorkerExit = typeof WorkerExit.Type

/** The number of the exit that says whether the thread has imported and built the recipe; nobody requests it. */
export const START = 0

/** From a thread. */
export const FromWorker = Schema.Union([
  Schema.Struct({ type: Schema.Literal("exit"), id: Schema.Int, exit: WorkerExit }),
  Schema.Struct({ type: Schema.Literal("progress"), id: Schema.Int, progress: Progress }),
  /** A reader met damage in the store; sent before anything that comes of it. */
  Schema.Struct({
    type: Schema.Literal("damage"),
    met: Schema.Struct({ folder: Schema.String, port: Schema.String, file: Schema.String })
  }),
  /** Thrown outside of any effect, by this node's code or what it started; the thread ends. */
  Schema.Struct({
    type: Schema.Literal("stray"),
    node: Schema.String,
    message: Schema.String,
    hint: Schema.String,
    cause: Schema.String
  })
])
export type FromWorker = typeof FromWorker.Type

/** A failure or defect as an exit. Damage in the store keeps its own error, however deep it is. */
export const failedExit = (error: unknown, bug: boolean, trace: string): Failed => {
  const inner = error instanceof NodeFailed && typeof error.cause === "object" ? error.cause : error
  const stack = error instanceof NodeFailed && typeof error.cause === "string" ? error.cause : trace
  const damage = damageIn(error)
  const crosses = damage !== undefined || !(bug || inner instanceof NodeFailed)
  return {
    status: "failed",
    bug,
    message: error instanceof NodeFailed ? error.message : describeError(error),
    hint: hintFor(error, bug),
    cause: scrub(stack),
    ...(crosses ? { error: encodeError(damage ?? inner, trace) } : {})
  }
}

/** The end of an effect that did not succeed, as an exit. */
export const exitOfCause = (cause: Cause.Cause<unknown>): WorkerExit => {
  const found = Cause.findError(cause)
  if (Result.isSuccess(found) && found.success instanceof Interrupted)
    return { status: "stopped", message: found.success.message, hint: found.success.hint }
  const bug = !Result.isSuccess(found)
  return failedExit(bug ? Cause.squash(cause) : found.success, bug, Cause.pretty(cause))
}

/** A watch that sends its calls. */
export const sendProgress = (send: (progress: Progress) => void): NodeWatch => ({
  started: (from) =>
    Effect.sync(() =>
      send({ call: "started", ...(from === undefined ? {} : { from: { step: from.step, skipped: from.skipped } }) })
    ),
  step: (step, total, metrics) => Effect.sync(() => send({ call: "step", step, total, metrics })),
  saved: (step) => Effect.sync(() => send({ call: "saved", step })),
  rows: (rows) => Effect.sync(() => send({ call: "rows", rows })),
  metrics: (figures) => Effect.sync(() => send({ call: "metrics", figures }))
})

/** Calls the watch that a message stands for. */
export const receiveProgress = (watch: NodeWatch, message: Progress): Effect.Effect<void> => {
  switch (message.call) {
    case "started":
      return watch.started(message.from)
    case "step":
      return watch.step(message.step, message.total, message.metrics)
    case "saved":
      return watch.saved(message.step)
    case "rows":
      return watch.rows(message.rows)
    case "metrics":
      return watch.metrics(message.figures)
  }
}
