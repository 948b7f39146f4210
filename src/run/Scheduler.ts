/**
 * Runs a recipe: every node as soon as its inputs are there, cached ones without work.
 *
 * Order: a node waits for its inputs, is decided (`dag/Plan.ts`) on their real digests, takes the key's lock, is looked
 * up again (another run may have made it meanwhile), runs, commits. Nodes that compute with an engine run one at a
 * time; worker shards share one pool. The first failure stops new work: folds in flight save a checkpoint and stop,
 * other nodes are interrupted and their finished shards stay. With `keepGoing` all that does not need a failed node is
 * finished first. Nothing here decides what is done: only the store does.
 */
import { Context, Deferred, Effect, type FileSystem, Layer, Schema, Semaphore } from "effect"
import type { AnyNode, WiringError } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import { type Plan, plan } from "../dag/Plan.ts"
import { portFolder, valueFile } from "../store/Layout.ts"
import type { Code } from "../store/Manifest.ts"
import { type SourceError, type SourceHere, Store, StoreError } from "../store/Store.ts"
import { isUnwritable } from "../store/Without.ts"
import { CurrentCoordinator } from "./Coordinator.ts"
import { Events } from "./Events.ts"
import { describeError } from "./Failure.ts"
import { type Failures, makeFailures } from "./Failures.ts"
import { fetchSource } from "./FetchSource.ts"
import type { EntryRef } from "./Inputs.ts"
import { type FinishedNode, makeNode, type RunState, unlessStopped } from "./NodeAttempt.ts"
import { planEvent } from "./NodeEvents.ts"
import { checkDefinitions, checkSources, type StoredPlanEntry, storePlanContext } from "./PlanContext.ts"
import { build, type Choice, type Recipe, recipeChain } from "./Recipe.ts"
import { Recorded, recorded } from "./Record.ts"
import { makeRepairs } from "./Repair.ts"
import { type RunOptions, type SelectionError, Stop } from "./Run.ts"
import { type RunError, type RunSession, stoppedBefore } from "./RunSession.ts"
import { type Selection, select } from "./Selection.ts"
import { makeWorkers } from "./Workers.ts"

export type { RunError } from "./RunSession.ts"

/** What a completed run gives, by target name. */
export interface RunResult {
  readonly nodesRun: number
  readonly nodesCached: number
  readonly outputs: Readonly<Record<string, { readonly key: string; readonly digest: string; readonly path: string }>>
  /** Decoded values of value targets. */
  readonly values: Readonly<Record<string, unknown>>
}

const planContextFor = (
  recipe: Recipe<any, any>,
  moduleUrl: string,
  choice: Choice,
  pipeline: Pipeline,
  selection: Selection,
  options: RunOptions,
  codes: Map<AnyNode["spec"], Code>,
  listed: boolean
) =>
  storePlanContext({
    codes,
    services: recipeChain(recipe, moduleUrl),
    pipeline: pipeline.name,
    numerics: recipe.numerics(choice.engine),
    forced: selection.forced,
    allowsStaleCode: (node) =>
      allowsStaleCode(options, node) || recipe.whenCodeDiffers?.(recipe.presets[choice.preset], node.id) === "warn",
    listed
  })

/** Whether `--allow-stale-code` names a node. */
const allowsStaleCode = (options: RunOptions, node: AnyNode): boolean =>
  Array.isArray(options.allowStaleCode) && options.allowStaleCode.includes(node.id)

/**
 * What a run would do, without doing it. `pipeline` is that of the choice, where the caller has built it; a wrong
 * override throws where it is built here.
 */
export const planRecipe = Effect.fn("run.planRecipe")(function* <S, R>(
  recipe: Recipe<S, R>,
  choice: Choice,
  options: RunOptions,
  moduleUrl = "",
  pipeline: Pipeline = build(recipe, choice)
): Effect.fn.Return<Plan<StoredPlanEntry>, SelectionError | StoreError | SourceError | WiringError, Store> {
  const selection = yield* select(pipeline, options)
  const planContext = yield* planContextFor(recipe, moduleUrl, choice, pipeline, selection, options, new Map(), true)
  yield* checkSources(selection.nodes, planContext)
  yield* checkDefinitions(selection.nodes, planContext)
  return yield* plan(selection, planContext)
})

/**
 * Runs a recipe. Publishes every event but `start` and the last; see the file header for the order of things. The run
 * leaves a record in the store, unless the caller keeps it (`Recorded`). `pipeline` as of `planRecipe`.
 */
export const runRecipe = Effect.fn("run.runRecipe")(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions,
  pipeline: Pipeline = build(recipe, choice)
): Effect.fn.Return<RunResult, RunError, Store | Events | Stop | FileSystem.FileSystem> {
  const running = Effect.scoped(runNodes(recipe, moduleUrl, choice, options, pipeline))
  if (yield* Recorded) return yield* running
  const count = pipeline.nodes.filter((node) => node.spec.kind !== "source").length
  return yield* recorded({ name: pipeline.name, nodes: count }, choice, running)
})

const runNodes = Effect.fnUntraced(function* (
  recipe: Recipe<any, any>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions,
  pipeline: Pipeline
) {
  const failures = yield* makeFailures(yield* Stop, options.keepGoing === true)
  const selection = yield* select(pipeline, options)
  const codes = new Map<AnyNode["spec"], Code>()
  const contextOf = (listed: boolean) =>
    planContextFor(recipe, moduleUrl, choice, pipeline, selection, options, codes, listed)
  yield* publishPlan(selection, yield* contextOf(true))
  const context = yield* contextOf(false)
  const entryRefs = new Map<AnyNode, EntryRef>()
  const session: RunSession = {
    pipeline,
    options,
    selection,
    allowsStaleCode: (node) => allowsStaleCode(options, node),
    ...(yield* openServices(recipe, moduleUrl, choice, options)),
    fetchSource: yield* fetchOnce(pipeline.name, selection, context, entryRefs, failures.stop)
  }
  const state: RunState = {
    session,
    context,
    repairs: makeRepairs(),
    done: new Map(),
    entryRefs,
    ways: new Map(),
    stopped: undefined
  }
  yield* runAll(state, failures)
  yield* failures.end
  if (state.stopped !== undefined) return yield* state.stopped
  const counted = (way: "ran" | "cached") => [...state.ways.values()].filter((one) => one === way).length
  return { nodesRun: counted("ran"), nodesCached: counted("cached"), ...(yield* collect(pipeline, state.done)) }
})

/** Checks the recipe's sources and definitions, and publishes the plan, a line a node. */
const publishPlan = Effect.fnUntraced(function* (
  selection: Selection,
  context: Effect.Success<ReturnType<typeof planContextFor>>
) {
  const events = yield* Events
  yield* checkSources(selection.nodes, context)
  yield* checkDefinitions(selection.nodes, context)
  const { steps } = yield* plan(selection, context)
  for (const step of steps) yield* events.publish(planEvent(step))
})

/** Threads and services of a run; they end with its scope. */
const openServices = Effect.fnUntraced(function* (
  recipe: Recipe<any, any>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions
) {
  const { root } = yield* Store
  const scope = yield* Effect.scope
  const setup = { module: moduleUrl, choice, store: root }
  return {
    workers: yield* makeWorkers(options.workers, setup),
    engines: yield* makeWorkers(1, setup),
    services: yield* Effect.cached(
      Layer.buildWithScope(recipe.services(choice.engine) as Layer.Layer<never, unknown>, scope)
    ),
    engine: Semaphore.makeUnsafe(1),
    coordinator: yield* CurrentCoordinator
  }
})

/** Fetches each source at most once, whichever nodes ask for it. */
const fetchOnce = Effect.fnUntraced(function* (
  pipeline: string,
  selection: Selection,
  planContext: Effect.Success<ReturnType<typeof planContextFor>>,
  entryRefs: Map<AnyNode, EntryRef>,
  stop: Stop["Service"]
) {
  const context = Context.add(yield* Effect.context<Store | Events>(), Stop, stop)
  const fetched = new Map<AnyNode, Effect.Effect<SourceHere, RunError>>()
  for (const node of selection.nodes) {
    if (node.spec.kind !== "source") continue
    const fetching = Effect.gen(function* () {
      const here = yield* fetchSource(pipeline, node, (yield* planContext.source(node)).found)
      entryRefs.set(node, { kind: "source", path: here.path })
      return here
    })
    fetched.set(node, yield* Effect.cached(Effect.provideContext(fetching, context)))
  }
  return (source: AnyNode) => fetched.get(source)!
})

/**
 * Runs every node of the selection as soon as its inputs are done. A node that comes to no result ends those after it.
 */
const runAll = Effect.fnUntraced(function* (state: RunState, failures: Failures) {
  const { nodes } = state.session.selection
  const ready = new Map<AnyNode, Deferred.Deferred<boolean>>()
  for (const node of nodes) ready.set(node, yield* Deferred.make<boolean>())
  const settle = (node: AnyNode, result: FinishedNode | undefined) =>
    Effect.suspend(() => {
      if (result !== undefined) {
        state.done.set(node, result)
        state.entryRefs.set(node, result.entryRef)
      }
      return Deferred.succeed(ready.get(node)!, result !== undefined)
    })
  const process = Effect.fnUntraced(function* (node: AnyNode) {
    if (node.spec.kind === "source") return yield* settle(node, yield* useSource(state, node, failures.stop))
    const before = Object.values(node.inputs).map((ref) => ref.node)
    let missing = false
    // All are waited for: a skipped node names every failure before it.
    for (const one of before) if (!(yield* Deferred.await(ready.get(one)!))) missing = true
    if (missing) {
      yield* failures.skip(node, before)
      return yield* settle(node, undefined)
    }
    return yield* settle(node, yield* makeNode(state, node))
  })
  const guarded = (node: AnyNode) =>
    failures.guard(node, Effect.provideService(process(node), Stop, failures.stop), settle(node, undefined))
  yield* Effect.forEach(nodes, guarded, { concurrency: "unbounded", discard: true })
})

/** A source of known content that is not local stays where it is until a node that runs reads it. */
const useSource = Effect.fnUntraced(function* (
  state: RunState,
  node: AnyNode,
  stop: Stop["Service"]
): Effect.fn.Return<FinishedNode | undefined, RunError> {
  const { digest, found } = yield* state.context.source(node)
  if (!found.here && digest !== undefined) return { entryRef: { kind: "source", path: "" }, digests: { files: digest } }
  if (!found.here && stop.requested()) {
    state.stopped ??= stoppedBefore(node)
    return undefined
  }
  const fetching = state.session.fetchSource(node).pipe(
    // A store that takes no bytes: as for what is not local, a node that runs and reads it fails with that error.
    Effect.catchIf(
      (error) => error instanceof StoreError && isUnwritable(error) && found.here,
      () => Effect.succeed({ path: "", digest: digest! })
    )
  )
  const here = yield* unlessStopped(state, fetching)
  return here === undefined
    ? undefined
    : { entryRef: { kind: "source", path: here.path }, digests: { files: here.digest } }
})

/** Keys, digests, paths and values of the targets that this run reached. */
const collect = Effect.fnUntraced(function* (pipeline: Pipeline, done: ReadonlyMap<AnyNode, FinishedNode>) {
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
