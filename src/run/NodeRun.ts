/**
 * Runs one node that is due: locks its key, fetches its sources, dispatches it to a thread or ranks, commits it.
 *
 * Not the order of nodes (`Scheduler.ts`) and not the work itself (`ShardTask.ts`, `NodeTask.ts`). Under the key's lock
 * the store is asked again, because another run may have made the node meanwhile. What is interrupted keeps its
 * finished shards and its checkpoints; only the store decides what is done.
 */
import { Clock, Context, Deferred, Effect, type Exit, FileSystem, type Scope, Semaphore } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Decision } from "../dag/Plan.ts"
import type { RankLost } from "../dag/ProcessGroup.ts"
import { damagedFile, damageMark, reportDamage } from "../store/Damage.ts"
import { layoutOf } from "../store/Layout.ts"
import type { Code } from "../store/Manifest.ts"
import { memoryWatch } from "../store/Memory.ts"
import { type PendingEntry, Store, type StoredEntry, type StoreError } from "../store/Store.ts"
import { blaming } from "./Blame.ts"
import { type Coordinator, isSymptom } from "./Coordinator.ts"
import { Events } from "./Events.ts"
import { asNodeFailed, describeError, hintOf } from "./Failure.ts"
import { MAX_THREADS } from "./HelperTask.ts"
import { type EntryRef, entryRefsFor, shardCount, sourcesBehind } from "./Inputs.ts"
import { checkWhole, type DamagedInput, damagedInputs, type StoredInputs, storedInputs } from "./Inspect.ts"
import { announce, type NodeStart, notice, watchOf } from "./NodeEvents.ts"
import { type NodeTask, type NodeWatch, runNode } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { entryOf, type StoredPlanEntry } from "./PlanContext.ts"
import { watchInputs } from "./ReadOnly.ts"
import { checkRefused, checkSourcesUnchanged } from "./ResultChecks.ts"
import { Attempts } from "./Retry.ts"
import { type Interrupted, NodeFailed, Stop } from "./Run.ts"
import { type RunError, type RunSession, stoppedBefore } from "./RunSession.ts"
import { runSharded } from "./ShardedRun.ts"

/** How a due node ended, where it did not fail: with its result, or with inputs that must be made again first. */
export type Executed =
  | { readonly found: StoredEntry; readonly ran: boolean }
  | { readonly damaged: ReadonlyArray<DamagedInput> }

/** One due node, as every step of its run needs it. */
interface NodeRun {
  readonly session: RunSession
  readonly node: AnyNode
  /** Finished nodes of the run, growing; of a source that is not fetched yet, an empty path. */
  readonly done: ReadonlyMap<AnyNode, EntryRef>
  readonly decision: Decision<StoredPlanEntry>
  readonly onStart: () => void
}

/** The key's lock is held, and the stored inputs are known. `mark`: damage reported from then on is this run's. */
interface Locked {
  readonly work: PendingEntry
  readonly inputs: StoredInputs
  readonly mark: number
}

/** All inputs are local. `count`: shards of a sharded node. */
interface Fetched {
  readonly task: NodeTask
  readonly count: number | undefined
  readonly rowsIn: number | undefined
}

interface Dispatched {
  readonly drained: Drained
  /** Bytes of memory at most, of this process. */
  readonly peakMemory: () => number
}

type NodeError = NodeFailed | Interrupted | StoreError | RankLost
type Services = Store | Events | Stop | FileSystem.FileSystem

/**
 * Runs a due node and commits it, or takes what another run committed while this one waited for the lock. Where a
 * stored input turned out to be damaged, nothing is committed; shards that were finished before are kept.
 */
export const execute = Effect.fn("run.execute")(function* (
  session: RunSession,
  node: AnyNode,
  done: ReadonlyMap<AnyNode, EntryRef>,
  decision: Decision<StoredPlanEntry>,
  onStart: () => void
): Effect.fn.Return<Executed, RunError, Services | Scope.Scope> {
  const run: NodeRun = { session, node, done, decision, onStart }
  const locked = yield* lock(run)
  if ("found" in locked) return { found: locked.found, ran: false }
  const fetched = yield* fetch(run, locked)
  const dispatched = yield* dispatch(run, locked, fetched)
  if ("damaged" in dispatched) return dispatched
  const found = yield* commit(run, locked, dispatched)
  return { found, ran: true }
})

/** Takes the key's lock; gives the result instead where another run made it while this one waited. */
const lock = Effect.fn("run.lock")(function* ({
  decision,
  done,
  node,
  session
}: NodeRun): Effect.fn.Return<Locked | { readonly found: StoredEntry }, RunError, Services | Scope.Scope> {
  const store = yield* Store
  const stop = yield* Stop
  const forced = session.selection.forced.has(node.id)
  const code = decision.code as Code
  if (forced) yield* dropDamaged(decision.key, code.digest)
  const entryRefs = entryRefsFor(node, done)
  const mark = damageMark()
  const inputs = yield* storedInputs(entryRefs)
  const begin = store.begin({
    key: decision.key,
    code,
    allowStaleCode: session.allowsStaleCode(node),
    fresh: forced || decision.suspect === true,
    reads: Object.values(entryRefs).flatMap((one) => (one.kind === "entry" ? [one.key] : []))
  })
  const work = yield* Effect.raceFirst(begin, Effect.andThen(stop.wait, Effect.fail(stoppedBefore(node))))
  if (!forced) {
    const stored = yield* store.find(decision.key, code.digest)
    const found = stored.find((one) => entryOf(one, code.digest).accepted && one.suspect === undefined)
    if (found !== undefined) {
      yield* dropEmpty(work.folder)
      return { found }
    }
  }
  if (work.begunBy.length > 0) {
    const codes = work.begunBy.map((one) => one.slice(0, 12)).join(", ")
    yield* notice(node, `goes on from unfinished work of other code: ${codes}`)
  }
  return { work, inputs, mark }
})

/** Fetches the sources that the node reads, and states its task. */
const fetch = Effect.fn("run.fetch")(function* ({ decision, done, node, session }: NodeRun, { work }: Locked) {
  yield* Effect.forEach(sourcesBehind(node), session.fetchSource, { concurrency: "unbounded", discard: true })
  const entryRefs = entryRefsFor(node, done) // now with the paths of fetched sources
  const count =
    node.spec.kind === "sharded" ? yield* shardCount(node, entryRefs).pipe(asNodeFailed(node.id)) : undefined
  const { checkpointEveryMs, checkpointEverySteps, workers } = session.options
  const task: NodeTask = {
    node: node.id,
    entryRefs,
    folder: work.folder,
    fence: work.fence,
    code: decision.code.digest,
    key: decision.key,
    inputs: decision.parts.inputs,
    threads: Math.min(workers, MAX_THREADS),
    checkpoints: { checkpointEveryMs, ...(checkpointEverySteps === undefined ? {} : { checkpointEverySteps }) }
  }
  return { task, count, rowsIn: yield* rowsInOf(node, done) } satisfies Fetched
})

/** Rows of a node's rows inputs together; undefined when one is not known. */
const rowsInOf = Effect.fnUntraced(function* (node: AnyNode, done: ReadonlyMap<AnyNode, EntryRef>) {
  const store = yield* Store
  let rows = 0
  for (const ref of Object.values(node.inputs)) {
    if (ref.artifact.kind !== "rows") continue
    const entryRef = done.get(ref.node)
    if (entryRef?.kind !== "entry") return undefined
    const output = (yield* store.find(entryRef.key, entryRef.code))[0]?.manifest.outputs[ref.port]
    if (output?.kind !== "rows") return undefined
    rows += output.rows
  }
  return rows
})

/** Runs the node where it belongs, and looks at its inputs before and after. */
const dispatch = Effect.fn("run.dispatch")(function* (
  run: NodeRun,
  { inputs, mark, work }: Locked,
  fetched: Fetched
): Effect.fn.Return<Dispatched | Extract<Executed, { readonly damaged: unknown }>, RunError, Services | Scope.Scope> {
  const { node, session } = run
  const memory = yield* memoryWatch
  const start: NodeStart = { node, because: run.decision.because, work, onStart: run.onStart, ...fetched }
  const executor = executorOf(session, node)
  const running = yield* provided(run, executor, body(run, executor, work, start, fetched))
  const sameInputs = yield* watchInputs(node, inputs)
  yield* checkWhole(node, inputs)
  const before = damagedInputs(inputs, mark)
  if (before.length > 0) return { damaged: before }
  const exit: Exit.Exit<Drained, NodeError> = yield* Effect.exit(
    executor.engine ? Semaphore.withPermit(session.engine, running) : running
  )
  const damaged = damagedInputs(inputs, mark)
  if (damaged.length > 0 && executor.ranks !== undefined) yield* executor.ranks.drop
  if (damaged.length > 0) return { damaged }
  yield* sameInputs
  return { drained: yield* exit, peakMemory: memory.peak }
})

/** Where a node runs. `ranks`: together with the other processes of the run. */
interface Executor {
  readonly engine: boolean
  readonly inThread: boolean
  readonly ranks: Coordinator | undefined
}

const executorOf = ({ coordinator, options }: RunSession, { spec }: AnyNode): Executor => {
  const engine = spec.engine === true
  const inThread = engine
    ? options.workers > 0 || coordinator !== undefined
    : spec.runs === "worker" && options.workers > 0
  const ranks =
    engine && inThread && spec.kind === "fold" && (spec.run as AnyFold).follow !== undefined ? coordinator : undefined
  return { engine, inThread, ranks }
}

const body = (
  { node, session }: NodeRun,
  { engine, inThread, ranks }: Executor,
  work: PendingEntry,
  start: NodeStart,
  { count, task }: Fetched
): Effect.Effect<Drained, NodeError, Services> => {
  if (count !== undefined) return Effect.andThen(announce(start), runSharded(session, node, work, count, task))
  return Effect.flatMap(watchOf(start), (watch): Effect.Effect<Drained, NodeError, Services> => {
    if (ranks !== undefined) return runOnRanks(session, ranks, node, task, watch)
    if (inThread) return (engine ? session.engines : session.workers).runNode(node, task, watch)
    return runNode(node, task, watch)
  })
}

/** The work with the services of the recipe, unless a stop was requested meanwhile; each failed attempt is an event. */
const provided = Effect.fnUntraced(function* (
  { node, session }: NodeRun,
  { inThread }: Executor,
  work: Effect.Effect<Drained, NodeError, Services>
) {
  const events = yield* Events
  const stop = yield* Stop
  const services = inThread ? Context.empty() : yield* startServices(session, node)
  const unlessStopped = Effect.suspend(() => (stop.requested() ? Effect.fail(stoppedBefore(node)) : work))
  const reporting = Effect.provideService(blaming(node.id)(unlessStopped), Attempts, (failed) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "attempt", at, ...failed }))
  )
  return Effect.provideContext(
    reporting as Effect.Effect<Drained, NodeError, never>,
    Context.merge(yield* Effect.context<never>(), services)
  )
})

const startServices = (session: RunSession, node: AnyNode) =>
  Effect.mapError(
    session.services,
    (cause) =>
      new NodeFailed({
        node: node.id,
        message: `services could not start: ${describeError(cause)}`,
        hint: hintOf(cause) ?? "Check --engine.",
        cause
      })
  )

/** A failed collective is a symptom: rank 0 waits so long for a report of damage from another rank. */
const DAMAGE_REPORT_TIMEOUT = "5 seconds"

/** Runs a fold with the other ranks. It fails as soon as one of them meets damage in an input. */
const runOnRanks = Effect.fnUntraced(function* (
  session: RunSession,
  coordinator: Coordinator,
  node: AnyNode,
  task: NodeTask,
  watch: NodeWatch
) {
  const layout = layoutOf((yield* Store).root)
  const damage = Deferred.makeUnsafe<never, NodeFailed>()
  const rendezvous = yield* coordinator.begin(task, ({ code, file, key, port }) => {
    const folder = layout.entry(key, code)
    reportDamage({ folder, port, file })
    const { hint, message } = damagedFile(folder, `another rank met damage in ${port}/${file}`)
    Deferred.doneUnsafe(damage, Effect.fail(new NodeFailed({ node: node.id, message, hint, cause: undefined })))
  })
  const running = Effect.catch(session.engines.runNode(node, { ...task, rendezvous }, watch), (error) =>
    isSymptom(error)
      ? Effect.andThen(Effect.timeoutOption(Deferred.await(damage), DAMAGE_REPORT_TIMEOUT), Effect.fail(error))
      : Effect.fail(error)
  )
  return yield* Effect.raceFirst(running, Deferred.await(damage))
})

/** Checks the result and makes it visible in the store. */
const commit = Effect.fn("run.commit")(function* (run: NodeRun, { work }: Locked, { drained, peakMemory }: Dispatched) {
  const { decision, done, node } = run
  yield* checkRefused(node, drained, work.folder)
  yield* checkSourcesUnchanged(node, done, decision)
  const parents = Object.fromEntries(
    Object.entries(node.inputs).map(([port, ref]) => {
      const entryRef = done.get(ref.node)
      return [port, entryRef?.kind === "entry" ? entryRef.key : ""]
    })
  )
  const found = yield* work.commit({
    parts: decision.parts,
    parents,
    shards: drained.shards,
    values: drained.values,
    outputs: node.spec.outputs,
    peakMemory: drained.shards.reduce((most, record) => Math.max(most, record.peakMemory), peakMemory())
  })
  const differing = found.differing ?? []
  if (found.replaced === true)
    yield* notice(
      node,
      differing.length === 0
        ? "made again, it came out equal: the stored result was right"
        : `made again, it came out different (${differing.join("; ")}): the stored result was wrong and is replaced`
    )
  else if (differing.length > 0)
    yield* notice(
      node,
      `made again, it came out different (${differing.join("; ")}); the stored result stays. ` +
        "Equal inputs should give equal results: look for a clock, a random number or an unordered loop"
    )
  return found
})

/** Reopens stored results whose bytes are not what their manifest says, so that a forced run replaces them. */
const dropDamaged = Effect.fnUntraced(function* (key: string, code: string) {
  const store = yield* Store
  for (const found of yield* store.find(key, code)) {
    if (found.manifest.code.digest !== code) continue
    const damaged = yield* store.verify(found)
    if (damaged.length > 0) yield* store.reopen(found, damaged)
  }
})

/** Removes the work folder of a node that turned out to be done, unless something lies in it. */
const dropEmpty = Effect.fnUntraced(
  function* (folder: string) {
    const fs = yield* FileSystem.FileSystem
    if ((yield* fs.readDirectory(folder)).every((name) => name === "begun.json"))
      yield* fs.remove(folder, { recursive: true })
  },
  (effect, folder) =>
    Effect.catch(effect, (error) => Effect.logWarning(`${folder} could not be removed: ${error.message}`))
)
