/**
 * One node that is due: its source is brought here, or it runs in a thread or beside the caller, and is committed.
 *
 * Not the order of nodes (`Scheduler.ts`) and not the work itself (`ShardTask.ts`, `NodeTask.ts`). Under the key's lock a
 * node is decided again, because another run may have made it meanwhile. What is interrupted keeps its finished shards
 * and its checkpoints; only the store says what is done.
 */
import {
  Clock,
  Context,
  Deferred,
  Effect,
  FileSystem,
  Option,
  type Schema,
  type Scope,
  Semaphore,
  Stream
} from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import type { AnyNode, WiringError } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import type { Decision } from "../dag/Plan.ts"
import type { RankLost } from "../dag/ProcessGroup.ts"
import { isRemote } from "../dag/Source.ts"
import { damagedFile, damageMark, reportDamage } from "../store/Damage.ts"
import { layoutOf } from "../store/Layout.ts"
import type { Code, ShardRecord } from "../store/Manifest.ts"
import { memoryWatch } from "../store/Memory.ts"
import { readRefused } from "../store/Quarantine.ts"
import {
  type Found,
  type SourceError,
  type SourceHere,
  type SourceLook,
  Store,
  type StoreError,
  type Work
} from "../store/Store.ts"
import { blaming } from "./Blame.ts"
import { type Coordinator, isSymptom } from "./Coordinator.ts"
import { type Event, Events } from "./Events.ts"
import { asNodeFailed, describeError, hintOf } from "./Failure.ts"
import { MAX_THREADS } from "./HelperTask.ts"
import { type EntryRef, entryRefsFor, shardCount, sourcesBehind } from "./Inputs.ts"
import { checkWhole, type DamagedInput, damagedInputs, storedInputs } from "./Inspect.ts"
import { type NodeTask, type NodeWatch, runNode } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { type Entry, entryOf, specOf } from "./PlanContext.ts"
import { watchInputs } from "./ReadOnly.ts"
import { Attempts } from "./Retry.ts"
import { Interrupted, NodeFailed, type NodesFailed, type RunOptions, type SelectionError, Stop } from "./Run.ts"
import type { Selection } from "./Selection.ts"
import { runShard } from "./ShardTask.ts"
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

/** Progress events of one node are published at most this often. */
const PROGRESS_EVERY_MS = 100
/** Steps of a fold more often: curves are drawn from them, and a step that trains something is seldom shorter. */
const STEP_EVERY_MS = 10

/** What all nodes of a run share. */
export interface Session {
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
  /** Brings a source here, once a run; its place is known afterwards. */
  readonly bring: (source: AnyNode) => Effect.Effect<SourceHere, RunError>
}

const notCommitted = (node: AnyNode) =>
  new Interrupted({
    message: `${node.id} stopped between shards; finished shards are kept`,
    hint: "Run the same command again: only the missing shards are made."
  })

/** Publishes progress of one node, not more often than every so many milliseconds. */
const progressOf = Effect.fnUntraced(function* (node: AnyNode, everyMs = PROGRESS_EVERY_MS) {
  const events = yield* Events
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  let last = 0
  return (progress: Omit<Extract<Event, { event: "node-progress" }>, "event" | "at" | "node">, always = false) => {
    const at = clock.currentTimeMillisUnsafe()
    if (!always && at - last < everyMs) return
    last = at
    fork(events.publish({ event: "node-progress", at, node: node.id, ...progress }))
  }
})

/** What a thread checks before it runs a task: the plan's code, key and inputs. */
type MadeFrom = Pick<NodeTask, "code" | "key" | "inputs">

const runSharded = Effect.fnUntraced(function* (
  session: Session,
  node: AnyNode,
  entryRefs: ReturnType<typeof entryRefsFor>,
  work: Work,
  count: number,
  made: MadeFrom
) {
  const stop = yield* Stop
  const progress = yield* progressOf(node)
  const records = new Map<number, ShardRecord>([...work.shards].filter(([index]) => index < count))
  const rowsOfRecord = (record: ShardRecord) => Object.values(record.ports).reduce((sum, port) => sum + port.rows, 0)
  let committed = 0
  for (const record of records.values()) committed += rowsOfRecord(record)
  const inFlight = new Map<number, number>()
  const show = (always: boolean) => {
    let rows = committed
    for (const some of inFlight.values()) rows += some
    progress({ rows, shardsDone: records.size }, always)
  }
  const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !records.has(index))
  const engine = node.spec.engine === true
  const threads =
    session.options.workers === 0 ? 0 : engine ? 1 : node.spec.runs === "worker" ? session.options.workers : 0
  const pool = engine ? session.engines : session.workers
  yield* Effect.forEach(
    missing,
    (index) =>
      Effect.gen(function* () {
        if (stop.requested()) return
        const task = { node: node.id, entryRefs, index, count, folder: work.folder, fence: work.fence, ...made }
        const onRows = (rows: number) => {
          inFlight.set(index, rows)
          show(false)
        }
        const record = yield* threads > 0 ? pool.run(node, task, onRows) : runShard(node, task, onRows)
        inFlight.delete(index)
        records.set(index, record)
        committed += rowsOfRecord(record)
        show(true)
      }),
    { concurrency: Math.max(1, threads), discard: true }
  )
  if (records.size < count) return yield* notCommitted(node)
  return { shards: [...records.values()].sort((a, b) => a.index - b.index), values: {} } satisfies Drained
})

/** What a refusal says in one line: its message, or else its other fields. */
const sayRefusal = (error: Schema.Json): string => {
  if (typeof error !== "object" || error === null || Array.isArray(error)) return JSON.stringify(error)
  const { _tag, hint, message, reason, ...fields } = error as Readonly<Record<string, Schema.Json>>
  const said = typeof message === "string" ? message : JSON.stringify(fields)
  return said.replace(/\s+/g, " ").trim()
}

/**
 * Why a node's rows are too bad to go on with. Nothing is stored then, so the first row of the most frequent reason is
 * told here: no other command can show it.
 */
const tooManyRefused = Effect.fnUntraced(function* (node: AnyNode, drained: Drained, folder: string) {
  const limit = node.spec.refuseAtMost ?? 1
  let rowsIn = 0
  const by: Record<string, number> = {}
  for (const record of drained.shards) {
    rowsIn += record.rowsIn
    for (const [reason, rows] of Object.entries(record.refused)) by[reason] = (by[reason] ?? 0) + rows
  }
  const refused = Object.values(by).reduce((sum, rows) => sum + rows, 0)
  // One row may be refused in several parts (a conversation with two pairs too long), so without a limit nothing is counted.
  if (limit >= 1 || rowsIn === 0 || refused <= limit * rowsIn) return undefined
  const top = Object.entries(by)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
  const most = Stream.filter(readRefused(folder), ({ refused: { reason } }) => reason === top[0]?.[0])
  const first = Option.getOrUndefined(yield* Stream.runHead(most))
  const hint = first === undefined ? undefined : hintOf(first.refused.error)
  return new NodeFailed({
    node: node.id,
    message: [
      `${refused} of ${rowsIn} rows were refused, more than the ${limit * 100} % allowed: ${top.map(([reason, rows]) => `${reason} (${rows})`).join(", ")}`,
      ...(first === undefined
        ? []
        : [`shard ${first.shard}, row ${first.refused.row}: ${sayRefusal(first.refused.error)}`])
    ].join("\n"),
    hint: `${hint ?? "Look at the input of this node."} So many bad rows mean a wrong file or a wrong setting.`
  })
})

/** Takes back stored results whose bytes are not what their manifest says, so that a forced run replaces them. */
const dropDamaged = Effect.fnUntraced(function* (store: Store["Service"], key: string, code: string) {
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

export const stoppedBefore = (node: AnyNode) =>
  new Interrupted({
    message: `stopped before ${node.id}`,
    hint: "Run the same command again: finished nodes are kept."
  })

const startServices = (session: Session, node: AnyNode) =>
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

/** A source that changed while its reader ran must not be stored under what it was. One stat where nothing changed. */
const sourcesUnchanged = Effect.fnUntraced(function* (
  store: Store["Service"],
  node: AnyNode,
  entryRefs: ReadonlyMap<AnyNode, EntryRef>,
  decision: Decision<Entry>
) {
  for (const [port, ref] of Object.entries(node.inputs)) {
    const entryRef = entryRefs.get(ref.node)
    if (entryRef?.kind !== "source") continue
    const { files, location = entryRef.path } = ref.node
    const { digest } = yield* isRemote(location)
      ? store.digestSource(ref.node.id, entryRef.path, ["**"])
      : store.digestSource(ref.node.id, location, files)
    if (digest !== decision.parts.inputs[port])
      return yield* new NodeFailed({
        node: node.id,
        message: `${entryRef.path} changed while the run read it`,
        hint: "Run the same command again: it reads the file as it is now."
      })
  }
})

/** Brings a source here and tells of it; what is here already is told by nobody. */
export const bringSource = Effect.fnUntraced(function* (
  pipeline: string,
  node: AnyNode,
  found: SourceLook
): Effect.fn.Return<SourceHere, RunError, Store | Events | Stop> {
  const store = yield* Store
  const spec = specOf(node)
  if (found.here)
    return isRemote(spec.location) || found.partly === true ? yield* store.fetchSource(spec, { pipeline }) : found
  const events = yield* Events
  const stop = yield* Stop
  const started = yield* Clock.currentTimeMillis
  const because = [`fetching ${found.address}`]
  yield* events.publish({ event: "node-start", at: started, node: node.id, kind: "source", because })
  const progress = yield* progressOf(node)
  const ended = (status: "ran" | "failed" | "interrupted", error?: RunError) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) =>
      events.publish({
        event: "node-end",
        at,
        node: node.id,
        kind: "source",
        status,
        seconds: (at - started) / 1000,
        rowsIn: 0,
        rowsOut: 0,
        refused: 0,
        refusedBy: {},
        ...(error === undefined ? {} : { error: { tag: error._tag, message: error.message, hint: error.hint } })
      })
    )
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const fetching = store.fetchSource(spec, {
    pipeline,
    onNotice: (message) => {
      fork(events.publish({ event: "notice", at: clock.currentTimeMillisUnsafe(), node: node.id, message }))
    },
    onBytes: (bytes, bytesTotal) => progress({ bytes, ...(bytesTotal === undefined ? {} : { bytesTotal }) })
  })
  const stopped = new Interrupted({
    message: `${node.id} stopped while it was fetched; what came is kept`,
    hint: "Run the same command again: it goes on from there."
  })
  return yield* Effect.raceFirst(fetching, Effect.andThen(stop.wait, Effect.fail(stopped))).pipe(
    Effect.onInterrupt(() => ended("interrupted")),
    Effect.tapError((error) => ended(error instanceof Interrupted ? "interrupted" : "failed", error)),
    Effect.tap(() => ended("ran"))
  )
})

/** A collective that broke is a symptom: so long is waited for word of a rank that met damage. */
const CLOSER_REASON = "5 seconds"

/** Runs a fold with the other ranks. It fails as soon as one of them meets damage in an input. */
const lead = Effect.fnUntraced(function* (
  session: Session,
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
      ? Effect.andThen(Effect.timeoutOption(Deferred.await(damage), CLOSER_REASON), Effect.fail(error))
      : Effect.fail(error)
  )
  return yield* Effect.raceFirst(running, Deferred.await(damage))
})

/** How a node that was due ended, where it did not fail: with its result, or with inputs that must be made again first. */
export type Executed =
  | { readonly found: Found; readonly ran: boolean }
  | { readonly damaged: ReadonlyArray<DamagedInput> }

/**
 * Runs a node that is due and commits it, or takes what another run committed while this one waited for the lock. EntryRef a
 * stored input turned out to be damaged, nothing is committed; shards that were finished before are kept.
 */
export const execute = Effect.fnUntraced(function* (
  session: Session,
  node: AnyNode,
  done: ReadonlyMap<AnyNode, EntryRef>,
  decision: Decision<Entry>,
  onStart: () => void
): Effect.fn.Return<Executed, RunError, Store | Events | Stop | FileSystem.FileSystem | Scope.Scope> {
  const store = yield* Store
  const events = yield* Events
  const stop = yield* Stop
  const forced = session.selection.forced.has(node.id)
  const code = decision.code as Code
  if (forced) yield* dropDamaged(store, decision.key, code.digest)
  const known = entryRefsFor(node, done)
  const mark = damageMark()
  const inputs = yield* storedInputs(known)
  const work = yield* Effect.raceFirst(
    store.begin({
      key: decision.key,
      code,
      allowStaleCode: session.allowsStaleCode(node),
      fresh: forced || decision.suspect === true,
      reads: Object.values(known).flatMap((entryRef) => (entryRef.kind === "entry" ? [entryRef.key] : []))
    }),
    Effect.andThen(stop.wait, Effect.fail(stoppedBefore(node)))
  )
  if (!forced) {
    const stored = yield* store.find(decision.key, code.digest)
    const meanwhile = stored.find((one) => entryOf(one, code.digest).accepted && one.suspect === undefined)
    if (meanwhile !== undefined) {
      yield* dropEmpty(work.folder)
      return { found: meanwhile, ran: false }
    }
  }
  const notice = (message: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "notice", at, node: node.id, message }))
  if (work.begunBy.length > 0)
    yield* notice(
      `goes on from unfinished work of other code: ${work.begunBy.map((one) => one.slice(0, 12)).join(", ")}`
    )
  yield* Effect.forEach(sourcesBehind(node), session.bring, { concurrency: "unbounded", discard: true })
  const entryRefs = entryRefsFor(node, done) // now with the paths of sources that were fetched
  const count =
    node.spec.kind === "sharded" ? yield* shardCount(node, entryRefs).pipe(asNodeFailed(node.id)) : undefined
  const rowsIn = yield* rowsInOf(node, done, store)
  const announce = (resumedAt?: number) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => {
      onStart()
      return events.publish({
        event: "node-start",
        at,
        node: node.id,
        kind: node.spec.kind as "sharded" | "whole" | "fold",
        because: decision.because,
        ...(count === undefined
          ? {}
          : { shards: count, shardsDone: [...work.shards.keys()].filter((i) => i < count).length }),
        ...(resumedAt === undefined ? {} : { resumedAt }),
        ...(rowsIn === undefined ? {} : { rowsIn })
      })
    })
  const skipped = (names: ReadonlyArray<string>, step: number) =>
    Effect.forEach(
      names,
      (name) => notice(`checkpoint ${name} is damaged and was skipped; going on from step ${step}`),
      { discard: true }
    )
  const progress = yield* progressOf(node, node.spec.kind === "fold" ? STEP_EVERY_MS : PROGRESS_EVERY_MS)
  const watch: NodeWatch = {
    started: (from) =>
      Effect.andThen(announce(from?.step), from === undefined ? Effect.void : skipped(from.skipped, from.step)),
    step: (step, total, metrics) => Effect.sync(() => progress({ step, total, metrics }, step === total)),
    saved: (step) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        events.publish({ event: "checkpoint", at: now, node: node.id, step })
      ),
    rows: (rows) => Effect.sync(() => progress({ rows })),
    metrics: (metrics) => Effect.sync(() => progress({ metrics }, true))
  }
  const { options } = session
  const made: MadeFrom = { code: code.digest, key: decision.key, inputs: decision.parts.inputs }
  const task: NodeTask = {
    node: node.id,
    entryRefs,
    folder: work.folder,
    fence: work.fence,
    ...made,
    threads: Math.min(options.workers, MAX_THREADS),
    checkpoints: {
      checkpointEveryMs: options.checkpointEveryMs,
      ...(options.checkpointEverySteps === undefined ? {} : { checkpointEverySteps: options.checkpointEverySteps })
    }
  }
  const { coordinator } = session
  const engine = node.spec.engine === true
  const inThread = engine
    ? options.workers > 0 || coordinator !== undefined
    : node.spec.runs === "worker" && options.workers > 0
  const pool = engine ? session.engines : session.workers
  const isLed =
    coordinator !== undefined &&
    engine &&
    inThread &&
    node.spec.kind === "fold" &&
    (node.spec.run as AnyFold).follow !== undefined
  const memory = yield* memoryWatch
  const body: Effect.Effect<
    Drained,
    NodeFailed | Interrupted | StoreError | RankLost,
    Store | Events | Stop | FileSystem.FileSystem
  > =
    count !== undefined
      ? Effect.andThen(announce(), runSharded(session, node, entryRefs, work, count, made))
      : isLed
        ? lead(session, coordinator, node, task, watch)
        : inThread
          ? pool.runNode(node, task, watch)
          : runNode(node, task, watch)
  const services = inThread ? Context.empty() : yield* startServices(session, node)
  const unlessStopped = Effect.suspend(() => (stop.requested() ? Effect.fail(stoppedBefore(node)) : body))
  const told = Effect.provideService(blaming(node.id)(unlessStopped), Attempts, (failed) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "attempt", at, ...failed }))
  )
  const provided = Effect.provideContext(
    told as Effect.Effect<Drained, NodeFailed | Interrupted | StoreError | RankLost, never>,
    Context.merge(yield* Effect.context<never>(), services)
  )
  const sameInputs = yield* watchInputs(node, inputs)
  yield* checkWhole(node, inputs)
  const before = damagedInputs(inputs, mark)
  if (before.length > 0) return { damaged: before }
  const exit = yield* Effect.exit(engine ? Semaphore.withPermit(session.engine, provided) : provided)
  const damaged = damagedInputs(inputs, mark)
  if (damaged.length > 0 && isLed) yield* coordinator.drop
  if (damaged.length > 0) return { damaged }
  yield* sameInputs
  const drained = yield* exit
  const refusal = yield* tooManyRefused(node, drained, work.folder)
  if (refusal !== undefined) return yield* refusal
  yield* sourcesUnchanged(store, node, done, decision)
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
    peakMemory: drained.shards.reduce((most, record) => Math.max(most, record.peakMemory), memory.peak())
  })
  if (found.replaced === true)
    yield* notice(
      found.differing?.length === 0
        ? "made again, it came out equal: the stored result was right"
        : `made again, it came out different (${found.differing?.join("; ")}): the stored result was wrong and is replaced`
    )
  else if (found.differing !== undefined && found.differing.length > 0)
    yield* notice(
      `made again, it came out different (${found.differing.join("; ")}); the stored result stays. Equal inputs should give equal results: look for a clock, a random number or an unordered loop`
    )
  return { found, ran: true }
})

/** Rows of a node's rows inputs together; undefined when one is not known. */
const rowsInOf = (node: AnyNode, done: ReadonlyMap<AnyNode, EntryRef>, store: Store["Service"]) =>
  Effect.gen(function* () {
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
