/**
 * Runs a recipe: every node as soon as its inputs are there, cached ones without work.
 *
 * Order: a node waits for its inputs, is decided (`dag/Plan.ts`) on their real digests, takes the key's lock, is decided
 * again (another run may have made it meanwhile), runs, commits. Nodes that compute with an engine run one at a time;
 * worker shards share one pool. The first failure stops new work; what is in flight of other nodes is interrupted and
 * its finished shards stay. Nothing here decides what is done: only the store does.
 */
import { Clock, Context, Deferred, Effect, FileSystem, Layer, Schema, type Scope, Semaphore } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import { type Decision, decide, type Plan, plan } from "../dag/Plan.ts"
import { isRemote } from "../dag/Source.ts"
import { portFolder, valueFile } from "../store/Layout.ts"
import type { Code, ShardRecord } from "../store/Manifest.ts"
import { memoryWatch } from "../store/Memory.ts"
import {
  type Found,
  type SourceError,
  type SourceHere,
  type SourceLook,
  Store,
  StoreError,
  type Work
} from "../store/Store.ts"
import { type Event, Events, nodeEnd } from "./Events.ts"
import { checkSources, type Entry, entryOf, specOf, storeFacts } from "./Facts.ts"
import { asNodeFailed, describeError } from "./Failure.ts"
import { MOST_THREADS } from "./HelperTask.ts"
import { placesFor, shardCount, sourcesBehind, type Where } from "./Inputs.ts"
import { type NodeTask, type NodeWatch, runNode } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { build, type Choice, type Recipe } from "./Recipe.ts"
import { Interrupted, NodeFailed, type RunOptions, SelectionError, Stop } from "./Run.ts"
import { type Selection, select } from "./Selection.ts"
import { runShard } from "./ShardTask.ts"
import { makeWorkers, type Workers } from "./Workers.ts"

/** What a completed run gives, by target name. */
export interface RunResult {
  readonly nodesRun: number
  readonly nodesCached: number
  readonly outputs: Readonly<Record<string, { readonly key: string; readonly digest: string; readonly path: string }>>
  /** Decoded values of value targets. */
  readonly values: Readonly<Record<string, unknown>>
}

export type RunError = NodeFailed | SelectionError | Interrupted | StoreError | SourceError

/** Progress events of one node are published at most this often. */
const PROGRESS_EVERY_MS = 100
/** Steps of a fold more often: curves are drawn from them, and a step that trains something is seldom shorter. */
const STEP_EVERY_MS = 10

const factsFor = (
  recipe: Recipe<any, any>,
  choice: Choice,
  pipeline: Pipeline,
  selection: Selection,
  options: RunOptions,
  codes: Map<AnyNode["spec"], Code>,
  listed: boolean
) =>
  storeFacts({
    codes,
    pipeline: pipeline.name,
    numerics: recipe.numerics(choice.engine),
    forced: selection.forced,
    takesOldCode: (node) =>
      options.acceptCode || recipe.whenCodeDiffers?.(recipe.presets[choice.preset], node.id) === "warn",
    listed
  })

/** What a run would do, without doing it. The pipeline must build (`Recipe.build`); a wrong override throws. */
export const planRecipe = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  choice: Choice,
  options: RunOptions
): Effect.fn.Return<Plan<Entry>, SelectionError | StoreError | SourceError, Store> {
  const pipeline = build(recipe, choice)
  const selection = yield* select(pipeline, options)
  const facts = yield* factsFor(recipe, choice, pipeline, selection, options, new Map(), true)
  yield* checkSources(selection.nodes, facts)
  return yield* plan(selection, facts)
})

/** A node that is done: where it lies and the digest of each output. */
interface Done {
  readonly where: Where
  readonly digests: Readonly<Record<string, string>>
  readonly found?: Found
}

interface Session {
  readonly pipeline: Pipeline
  readonly options: RunOptions
  readonly selection: Selection
  readonly workers: Workers
  /** One thread for the nodes that compute with an engine. */
  readonly engines: Workers
  /** Services of the recipe's nodes, built when the first node runs beside the caller. */
  readonly services: Effect.Effect<Context.Context<never>, unknown>
  readonly engine: Semaphore.Semaphore
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
  places: ReturnType<typeof placesFor>,
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
        const task = { node: node.id, places, index, count, folder: work.folder, ...made }
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

const tooManyRefused = (node: AnyNode, drained: Drained): NodeFailed | undefined => {
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
  return new NodeFailed({
    node: node.id,
    message: `${refused} of ${rowsIn} rows were refused, more than the ${limit * 100} % allowed: ${top.map(([reason, rows]) => `${reason} (${rows})`).join(", ")}`,
    hint: "Look at the input of this node: so many bad rows mean a wrong file or a wrong setting."
  })
}

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
    if ((yield* fs.readDirectory(folder)).length === 0) yield* fs.remove(folder, { recursive: true })
  },
  (effect, folder) =>
    Effect.catch(effect, (error) => Effect.logWarning(`${folder} could not be removed: ${error.message}`))
)

const stoppedBefore = (node: AnyNode) =>
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
        hint: "Check --engine.",
        cause
      })
  )

/** A source that changed while its reader ran must not be stored under what it was. One stat where nothing changed. */
const sourcesUnchanged = Effect.fnUntraced(function* (
  store: Store["Service"],
  node: AnyNode,
  places: ReadonlyMap<AnyNode, Where>,
  decision: Decision<Entry>
) {
  for (const [port, ref] of Object.entries(node.inputs)) {
    const where = places.get(ref.node)
    if (where?.kind !== "source") continue
    const { digest } = yield* store.digestSource(ref.node.id, where.path)
    if (digest !== decision.parts.inputs[port])
      return yield* new NodeFailed({
        node: node.id,
        message: `${where.path} changed while the run read it`,
        hint: "Run the same command again: it reads the file as it is now."
      })
  }
})

/** Brings a source here and tells of it; what is here already is told by nobody. */
const bringSource = Effect.fnUntraced(function* (
  pipeline: string,
  node: AnyNode,
  found: SourceLook
): Effect.fn.Return<SourceHere, RunError, Store | Events | Stop> {
  const store = yield* Store
  const spec = specOf(node)
  if (found.here) return isRemote(spec.location) ? yield* store.fetchSource(spec, { pipeline }) : found
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

/** Runs a node that is due and commits it, or takes what another run committed while this one waited for the lock. */
const execute = Effect.fnUntraced(function* (
  session: Session,
  node: AnyNode,
  done: ReadonlyMap<AnyNode, Where>,
  decision: Decision<Entry>,
  onStart: () => void
): Effect.fn.Return<
  { readonly found: Found; readonly ran: boolean },
  RunError,
  Store | Events | Stop | FileSystem.FileSystem | Scope.Scope
> {
  const store = yield* Store
  const events = yield* Events
  const stop = yield* Stop
  const forced = session.selection.forced.has(node.id)
  const code = decision.code as Code
  if (forced) yield* dropDamaged(store, decision.key, code.digest)
  const work = yield* Effect.raceFirst(
    store.begin({ key: decision.key, code, acceptCode: session.options.acceptCode, fresh: forced }),
    Effect.andThen(stop.wait, Effect.fail(stoppedBefore(node)))
  )
  if (!forced) {
    const meanwhile = (yield* store.find(decision.key, code.digest)).find((one) => entryOf(one, code.digest).accepted)
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
  const places = placesFor(node, done)
  const count = node.spec.kind === "sharded" ? yield* shardCount(node, places).pipe(asNodeFailed(node.id)) : undefined
  const known = yield* rowsInOf(node, done, store)
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
        ...(known === undefined ? {} : { rowsIn: known })
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
    places,
    folder: work.folder,
    ...made,
    threads: Math.min(options.workers, MOST_THREADS),
    checkpoints: {
      checkpointEveryMs: options.checkpointEveryMs,
      ...(options.checkpointEverySteps === undefined ? {} : { checkpointEverySteps: options.checkpointEverySteps })
    }
  }
  const inThread = node.spec.engine === true && options.workers > 0
  const memory = yield* memoryWatch
  const body: Effect.Effect<
    Drained,
    NodeFailed | Interrupted | StoreError,
    Store | Events | Stop | FileSystem.FileSystem
  > =
    count !== undefined
      ? Effect.andThen(announce(), runSharded(session, node, places, work, count, made))
      : inThread
        ? session.engines.runNode(node, task, watch)
        : runNode(node, task, watch)
  const services = inThread ? Context.empty() : yield* startServices(session, node)
  const unlessStopped = Effect.suspend(() => (stop.requested() ? Effect.fail(stoppedBefore(node)) : body))
  const provided = Effect.provideContext(
    unlessStopped as Effect.Effect<Drained, NodeFailed | Interrupted | StoreError, never>,
    Context.merge(yield* Effect.context<never>(), services)
  )
  const drained = yield* node.spec.engine === true ? Semaphore.withPermit(session.engine, provided) : provided
  const refusal = tooManyRefused(node, drained)
  if (refusal !== undefined) return yield* refusal
  yield* sourcesUnchanged(store, node, done, decision)
  const parents = Object.fromEntries(
    Object.entries(node.inputs).map(([port, ref]) => {
      const where = done.get(ref.node)
      return [port, where?.kind === "entry" ? where.key : ""]
    })
  )
  const found = yield* work.commit({
    parts: decision.parts,
    parents,
    shards: drained.shards,
    values: drained.values,
    outputs: node.spec.outputs,
    peakMemory: Math.max(memory.peak(), ...drained.shards.map((record) => record.peakMemory))
  })
  if (found.differing !== undefined && found.differing.length > 0)
    yield* notice(
      `made again, it came out different (${found.differing.join("; ")}); the stored result stays. Equal inputs should give equal results: look for a clock, a random number or an unordered loop`
    )
  return { found, ran: true }
})

/** Rows of a node's rows inputs together; undefined when one is not known. */
const rowsInOf = (node: AnyNode, done: ReadonlyMap<AnyNode, Where>, store: Store["Service"]) =>
  Effect.gen(function* () {
    let rows = 0
    for (const ref of Object.values(node.inputs)) {
      if (ref.artifact.kind !== "rows") continue
      const where = done.get(ref.node)
      if (where?.kind !== "entry") return undefined
      const output = (yield* store.find(where.key, where.code))[0]?.manifest.outputs[ref.port]
      if (output?.kind !== "rows") return undefined
      rows += output.rows
    }
    return rows
  })

/** Runs a recipe. Publishes every event but `start` and the last; see the file header for the order of things. */
export const runRecipe = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions
): Effect.fn.Return<RunResult, RunError, Store | Events | Stop | FileSystem.FileSystem> {
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const events = yield* Events
      const stop = yield* Stop
      const pipeline = build(recipe, choice)
      const selection = yield* select(pipeline, options)
      const codes = new Map<AnyNode["spec"], Code>()
      const planning = yield* factsFor(recipe, choice, pipeline, selection, options, codes, true)
      yield* checkSources(selection.nodes, planning)
      const planned = yield* plan(selection, planning)
      for (const step of planned.steps)
        yield* events.publish({
          event: "plan",
          node: step.node.id,
          status: step.status,
          because: step.because,
          ...(step.rows === undefined ? {} : { rows: step.rows }),
          ...(step.bytes === undefined ? {} : { bytes: step.bytes })
        })
      const facts = yield* factsFor(recipe, choice, pipeline, selection, options, codes, false)
      const scope = yield* Effect.scope
      const setup = { module: moduleUrl, choice, store: store.root }
      const done = new Map<AnyNode, Done>()
      const places = new Map<AnyNode, Where>()
      const context = yield* Effect.context<Store | Events | Stop>()
      const brought = new Map<AnyNode, Effect.Effect<SourceHere, RunError>>()
      for (const node of selection.nodes) {
        if (node.spec.kind !== "source") continue
        const bring = Effect.gen(function* () {
          const here = yield* bringSource(pipeline.name, node, (yield* facts.source(node)).found)
          places.set(node, { kind: "source", path: here.path })
          return here
        })
        brought.set(node, yield* Effect.cached(Effect.provideContext(bring, context)))
      }
      const session: Session = {
        pipeline,
        options,
        selection,
        workers: yield* makeWorkers(options.workers, setup),
        engines: yield* makeWorkers(1, setup),
        services: yield* Effect.cached(
          Layer.buildWithScope(recipe.services(choice.engine) as Layer.Layer<never, unknown>, scope)
        ),
        engine: Semaphore.makeUnsafe(1),
        bring: (source) => brought.get(source)!
      }
      const ready = new Map<AnyNode, Deferred.Deferred<boolean>>()
      for (const node of selection.nodes) ready.set(node, yield* Deferred.make<boolean>())
      const counts = { ran: 0, cached: 0 }
      let stopped: Interrupted | undefined

      const finish = (node: AnyNode, result: Done) =>
        Effect.suspend(() => {
          done.set(node, result)
          places.set(node, result.where)
          return Deferred.succeed(ready.get(node)!, true)
        })

      const process = Effect.fnUntraced(function* (node: AnyNode) {
        if (node.spec.kind === "source") {
          const fact = yield* facts.source(node)
          // Where the content is known, what is not here waits until a node that runs reads it.
          if (!fact.found.here && fact.digest !== undefined)
            return yield* finish(node, { where: { kind: "source", path: "" }, digests: { files: fact.digest } })
          if (!fact.found.here && stop.requested()) {
            stopped ??= stoppedBefore(node)
            return yield* Deferred.succeed(ready.get(node)!, false)
          }
          const here = yield* session.bring(node).pipe(
            Effect.catch((error) =>
              error instanceof Interrupted
                ? Effect.sync(() => {
                    stopped ??= error
                    return undefined
                  })
                : Effect.fail(error)
            )
          )
          if (here === undefined) return yield* Deferred.succeed(ready.get(node)!, false)
          return yield* finish(node, {
            where: { kind: "source", path: here.path },
            digests: { files: here.digest }
          })
        }
        for (const ref of Object.values(node.inputs))
          if (!(yield* Deferred.await(ready.get(ref.node)!))) return yield* Deferred.succeed(ready.get(node)!, false)
        const inputs = Object.fromEntries(
          Object.entries(node.inputs).map(([port, ref]) => [port, done.get(ref.node)!.digests[ref.port]!])
        )
        const decision = yield* decide(node, inputs, facts)
        const started = yield* Clock.currentTimeMillis
        let found = decision.entry?.found
        let { because } = decision
        let ran = false
        if (found !== undefined && options.verify === true) {
          const damaged = yield* store.verify(found)
          if (damaged.length > 0) {
            because = [`damaged in the store: ${damaged.map((one) => `${one.port}/${one.file}`).join(", ")}`]
            yield* events.publish({
              event: "notice",
              at: started,
              node: node.id,
              message: `${because.join("; ")}${selection.mayRun.has(node) ? "; it is made again" : ""}`
            })
            if (selection.mayRun.has(node)) yield* store.reopen(found, damaged)
            found = undefined
          }
        }
        if (found !== undefined && decision.oldCode) {
          yield* store.alias(found, decision.code as Code)
          yield* events.publish({ event: "notice", at: started, node: node.id, message: decision.because.join("; ") })
        }
        if (found === undefined) {
          if (!selection.mayRun.has(node))
            return yield* new SelectionError({
              node: node.id,
              message: `${node.id} is not in the store (${because.join(", ")})`,
              hint: "--only and --from take what comes before from the store: run without them once, or name this node too."
            })
          if (stop.requested()) {
            stopped ??= stoppedBefore(node)
            return yield* Deferred.succeed(ready.get(node)!, false)
          }
          let begun = false
          const ended = (error?: RunError) =>
            Effect.flatMap(Clock.currentTimeMillis, (at) =>
              events.publish({
                event: "node-end",
                at,
                node: node.id,
                kind: node.spec.kind,
                status: error === undefined || error instanceof Interrupted ? "interrupted" : "failed",
                seconds: (at - started) / 1000,
                rowsIn: 0,
                rowsOut: 0,
                refused: 0,
                refusedBy: {},
                ...(error === undefined ? {} : { error: { tag: error._tag, message: error.message, hint: error.hint } })
              })
            )
          const onStart = () => {
            begun = true
          }
          const running = execute(session, node, places, { ...decision, because }, onStart)
          const result = yield* Effect.scoped(running).pipe(
            Effect.onInterrupt(() => (begun ? ended() : Effect.void)),
            Effect.tapError((error) => (error instanceof Interrupted && !begun ? Effect.void : ended(error))),
            Effect.catch((error) =>
              error instanceof Interrupted
                ? Effect.sync(() => {
                    stopped ??= error
                    return undefined
                  })
                : Effect.fail(error)
            )
          )
          if (result === undefined) return yield* Deferred.succeed(ready.get(node)!, false)
          found = result.found
          ran = result.ran
        }
        const { manifest } = found
        yield* store.remember(pipeline.name, node.id, {
          key: manifest.key,
          code: manifest.code.digest,
          parts: manifest.parts
        })
        if (ran) counts.ran++
        else counts.cached++
        const at = yield* Clock.currentTimeMillis
        yield* events.publish(nodeEnd(node, ran ? "ran" : "cached", (at - started) / 1000, at, manifest))
        return yield* finish(node, {
          where: { kind: "entry", key: manifest.key, code: manifest.code.digest },
          digests: entryOf(found, decision.code.digest).digests,
          found
        })
      })

      yield* Effect.forEach(selection.nodes, process, { concurrency: "unbounded", discard: true })
      if (stopped !== undefined) return yield* stopped
      return { nodesRun: counts.ran, nodesCached: counts.cached, ...(yield* collect(pipeline, done)) }
    })
  )
})

/** Keys, digests, paths and values of the targets that this run reached. */
const collect = Effect.fnUntraced(function* (pipeline: Pipeline, done: ReadonlyMap<AnyNode, Done>) {
  const outputs: Record<string, { key: string; digest: string; path: string }> = {}
  const values: Record<string, unknown> = {}
  for (const [name, ref] of Object.entries(pipeline.targets)) {
    const one = done.get(ref.node)
    if (one?.found === undefined) continue
    const output = one.found.manifest.outputs[ref.port]!
    outputs[name] = {
      key: one.found.manifest.key,
      digest: output.digest,
      path:
        output.kind === "value"
          ? valueFile(portFolder(one.found.folder, ref.port))
          : output.kind === "rows" && output.transient
            ? one.found.folder
            : portFolder(one.found.folder, ref.port)
    }
    if (output.kind === "value" && ref.artifact.kind === "value")
      values[name] = yield* Effect.mapError(
        Schema.decodeUnknownEffect(Schema.toCodecJson(ref.artifact.schema))(output.value) as Effect.Effect<
          unknown,
          unknown
        >,
        (cause) =>
          new StoreError({
            reason: "damaged",
            path: one.found!.folder,
            message: `the stored ${name} does not fit its schema: ${describeError(cause)}`,
            hint: "Raise the version of the node that makes it.",
            cause
          })
      )
  }
  return { outputs, values }
})
