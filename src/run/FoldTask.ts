/**
 * A fold node: restore or start, step, checkpoint, finish.
 *
 * Durable: what the newest valid checkpoint holds. A checkpoint is encoded between two steps (a copy, consistent), then
 * written in the background while the next steps run; the next one waits for it. When the run is asked to stop, the
 * state is saved before the node gives up. Steps since the newest checkpoint are repeated, with the same results. A
 * restored checkpoint's bytes are let go once decoded: they may be as large as the model.
 */
import { Clock, Effect, Fiber, type FileSystem, type Scope } from "effect"
import type { AnyFold, FoldContext } from "../dag/Fold.ts"
import type { AnyNode } from "../dag/Node.ts"
import { makeRefusals } from "../dag/Refusals.ts"
import { checkedFold, partsOf } from "../dag/Results.ts"
import { damageMark } from "../store/Damage.ts"
import type { PendingFolder, Store, StoreError } from "../store/Store.ts"
import { asNodeFailed } from "./Failure.ts"
import type { EntryRefs } from "./Inputs.ts"
import { failIfDamaged } from "./Inspect.ts"
import { type Drained, drainOutputs } from "./Outputs.ts"
import { retrying } from "./Retry.ts"
import { Interrupted, type NodeFailed, type RunOptions, Stop } from "./Run.ts"
import { openInputs } from "./WholeTask.ts"

/** Checkpoints kept beside the best one. */
const KEEP_LAST = 2

export interface FoldWatch {
  /** The first attempt begins: from a checkpoint (and which damaged ones were skipped), or from the start. */
  readonly started: (from?: { readonly step: number; readonly skipped: ReadonlyArray<string> }) => Effect.Effect<void>
  readonly step: (step: number, total: number, metrics: Readonly<Record<string, number>>) => Effect.Effect<void>
  readonly saved: (step: number) => Effect.Effect<void>
}

export const runFold = (
  node: AnyNode,
  entryRefs: EntryRefs,
  work: PendingFolder,
  options: Pick<RunOptions, "checkpointEverySteps" | "checkpointEveryMs">,
  watch: FoldWatch
): Effect.Effect<Drained, NodeFailed | Interrupted, Store | FileSystem.FileSystem | Stop> => {
  const functions = checkedFold(node.id, node.spec.run as AnyFold)
  let first = true
  const attempt = Effect.gen(function* () {
    const stop = yield* Stop
    const mark = damageMark()
    const { inputs, rowsIn } = yield* openInputs(node, entryRefs)
    const context: FoldContext<any, any> = { params: node.params, inputs: inputs as never }
    let restored = yield* work.newestCheckpoint
    let savedStep = restored?.step ?? 0
    if (first) yield* watch.started(restored)
    first = false
    let state: unknown
    if (restored === undefined) state = yield* functions.init(context)
    else state = yield* functions.state.decode(context, restored.files)
    restored = undefined
    let saving: Fiber.Fiber<void, StoreError> | undefined
    let savedAt = yield* Clock.currentTimeMillis
    const save = Effect.fnUntraced(function* (background: boolean) {
      const { step, metrics } = functions.progress(state)
      if (saving !== undefined) yield* Fiber.join(saving)
      if (step === savedStep) return
      yield* failIfDamaged(entryRefs, mark)
      const files = yield* functions.state.encode(state)
      const write = Effect.andThen(
        work.saveCheckpoint({
          step,
          files,
          keepLast: KEEP_LAST,
          ...(metrics["loss"] === undefined ? {} : { score: metrics["loss"] })
        }),
        watch.saved(step)
      )
      savedStep = step
      savedAt = yield* Clock.currentTimeMillis
      if (background) saving = yield* Effect.forkScoped(write)
      else yield* write
    })
    for (;;) {
      const at = functions.progress(state)
      if (at.step >= at.total) break
      if (stop.requested()) {
        yield* save(false)
        return yield* new Interrupted({
          message: `${node.id} stopped at step ${at.step} of ${at.total}, checkpoint saved`,
          hint: "Run the same command again: it goes on from there."
        })
      }
      state = yield* functions.step(context, state)
      const now = functions.progress(state)
      yield* watch.step(now.step, now.total, now.metrics)
      const time = yield* Clock.currentTimeMillis
      const due =
        options.checkpointEverySteps === undefined
          ? time - savedAt >= options.checkpointEveryMs
          : now.step - savedStep >= options.checkpointEverySteps
      if (due && now.step < now.total) yield* save(true)
      yield* Effect.yieldNow
    }
    if (saving !== undefined) yield* Fiber.join(saving)
    const parts = yield* partsOf(node.id, node.spec.outputs, yield* functions.finish(context, state))
    return yield* drainOutputs({ node, work, parts, refusals: makeRefusals([]), rowsIn, onRows: () => undefined })
  })
  const scoped = Effect.scoped(
    attempt as Effect.Effect<Drained, unknown, Store | FileSystem.FileSystem | Stop | Scope.Scope>
  )
  return scoped.pipe(
    Effect.catch((error) => (error instanceof Interrupted ? Effect.succeed(error) : Effect.fail(error))),
    retrying(node),
    asNodeFailed(node.id),
    Effect.flatMap((result) => (result instanceof Interrupted ? Effect.fail(result) : Effect.succeed(result)))
  )
}
