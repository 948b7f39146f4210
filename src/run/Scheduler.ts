/**
 * Runs a recipe: every node as soon as its inputs are there, cached ones without work.
 *
 * Order: a node waits for its inputs, is decided (`dag/Plan.ts`) on their real digests, takes the key's lock, is decided
 * again (another run may have made it meanwhile), runs, commits. Nodes that compute with an engine run one at a time;
 * worker shards share one pool. The first failure stops new work: folds in flight save a checkpoint and stop, other nodes
 * are interrupted and their finished shards stay. With `keepGoing` all that does not need a failed node is finished
 * first. Nothing here decides what is done: only the store does.
 *
 * A node that met damage in a stored input starts again once that is repaired (`Repair.ts`); so does one whose input was
 * taken out for repair while it ran.
 */
import { Clock, Context, Deferred, Effect, type FileSystem, Layer, Schema, Semaphore } from "effect"
import { canonical } from "../dag/Canonical.ts"
import type { AnyNode, WiringError } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import { decide, type Plan, plan } from "../dag/Plan.ts"
import { portFolder, valueFile } from "../store/Layout.ts"
import type { Code } from "../store/Manifest.ts"
import { type Found, type SourceError, type SourceHere, Store, StoreError } from "../store/Store.ts"
import { isUnwritable, orWithout } from "../store/Without.ts"
import { CurrentCoordinator } from "./Coordinator.ts"
import { sayEmptied } from "./Emptied.ts"
import { Events, nodeEnd } from "./Events.ts"
import { describeError } from "./Failure.ts"
import { makeFailures } from "./Failures.ts"
import { type EntryRef, entryRefsFor } from "./Inputs.ts"
import type { DamagedInput } from "./Inspect.ts"
import { bringSource, type Executed, execute, type RunError, type Session, stoppedBefore } from "./NodeRun.ts"
import { checkDefinitions, checkSources, type Entry, entryOf, storePlanContext } from "./PlanContext.ts"
import { build, type Choice, type Recipe, recipeChain } from "./Recipe.ts"
import { Recorded, recorded } from "./Record.ts"
import { damagedNames, makeRepairs } from "./Repair.ts"
import { rowsReadByPort } from "./RowsRead.ts"
import { Interrupted, type RunOptions, SelectionError, Stop } from "./Run.ts"
import { type Selection, select } from "./Selection.ts"
import { makeWorkers } from "./Workers.ts"

export type { RunError } from "./NodeRun.ts"

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
    takesOldCode: (node) =>
      allowsStaleCode(options, node) || recipe.whenCodeDiffers?.(recipe.presets[choice.preset], node.id) === "warn",
    listed
  })

/** Whether `--allow-stale-code` names a node. */
const allowsStaleCode = (options: RunOptions, node: AnyNode): boolean =>
  Array.isArray(options.allowStaleCode) && options.allowStaleCode.includes(node.id)

/** What a run would do, without doing it. The pipeline must build (`Recipe.build`); a wrong override throws. */
export const planRecipe = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  choice: Choice,
  options: RunOptions,
  moduleUrl = ""
): Effect.fn.Return<Plan<Entry>, SelectionError | StoreError | SourceError | WiringError, Store> {
  const pipeline = build(recipe, choice)
  const selection = yield* select(pipeline, options)
  const planContext = yield* planContextFor(recipe, moduleUrl, choice, pipeline, selection, options, new Map(), true)
  yield* checkSources(selection.nodes, planContext)
  yield* checkDefinitions(selection.nodes, planContext)
  return yield* plan(selection, planContext)
})

/** A check of stored bytes says how far it has come at most this often. */
const CHECKED_EVERY_MS = 10_000

/** Says how far the check of a node's result has come, where that takes long. */
const checking = Effect.fnUntraced(function* (node: AnyNode) {
  const events = yield* Events
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let last = clock.currentTimeMillisUnsafe()
  return ({ bytes, bytesTotal }: { readonly bytes: number; readonly bytesTotal: number }) => {
    const at = clock.currentTimeMillisUnsafe()
    if (at - last < CHECKED_EVERY_MS || bytesTotal === 0) return
    last = at
    const percent = Math.floor((100 * bytes) / bytesTotal)
    fork(events.publish({ event: "notice", at, node: node.id, message: `checked ${percent} % of its stored bytes` }))
  }
})

/** A node that is done: where it lies and the digest of each output. */
interface Done {
  readonly entryRef: EntryRef
  readonly digests: Readonly<Record<string, string>>
  readonly found?: Found
}

type Made = Done & { readonly found: Found }

/** A result that an attempt came by, when that began, and the digest of the node's code. */
interface Kept {
  readonly found: Found
  readonly ran: boolean
  readonly started: number
  readonly code: string
}
type Attempted = Kept | Extract<Executed, { readonly damaged: unknown }>

/**
 * Runs a recipe. Publishes every event but `start` and the last; see the file header for the order of things. The run
 * leaves a record in the store, unless who asks keeps it (`Recorded`).
 */
export const runRecipe = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions
): Effect.fn.Return<RunResult, RunError, Store | Events | Stop | FileSystem.FileSystem> {
  const running = runNodes(recipe, moduleUrl, choice, options)
  if (yield* Recorded) return yield* running
  const { name, nodes } = build(recipe, choice)
  const count = nodes.filter((node) => node.spec.kind !== "source").length
  return yield* recorded({ name, nodes: count }, choice, running)
})

const runNodes = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  choice: Choice,
  options: RunOptions
): Effect.fn.Return<RunResult, RunError, Store | Events | Stop | FileSystem.FileSystem> {
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const events = yield* Events
      const outer = yield* Stop
      const failures = yield* makeFailures(outer, options.keepGoing === true)
      const { stop } = failures
      const pipeline = build(recipe, choice)
      const selection = yield* select(pipeline, options)
      const codes = new Map<AnyNode["spec"], Code>()
      const planning = yield* planContextFor(recipe, moduleUrl, choice, pipeline, selection, options, codes, true)
      yield* checkSources(selection.nodes, planning)
      yield* checkDefinitions(selection.nodes, planning)
      const planned = yield* plan(selection, planning)
      for (const step of planned.steps)
        yield* events.publish({
          event: "plan",
          node: step.node.id,
          status: step.status,
          because: step.because,
          ...(step.rows === undefined ? {} : { rows: step.rows }),
          ...(step.rowsByPort === undefined ? {} : { rowsByPort: step.rowsByPort }),
          ...(step.bytes === undefined ? {} : { bytes: step.bytes })
        })
      const planContext = yield* planContextFor(recipe, moduleUrl, choice, pipeline, selection, options, codes, false)
      const scope = yield* Effect.scope
      const setup = { module: moduleUrl, choice, store: store.root }
      const done = new Map<AnyNode, Done>()
      const repairs = makeRepairs()
      const entryRefs = new Map<AnyNode, EntryRef>()
      const context = Context.add(yield* Effect.context<Store | Events>(), Stop, stop)
      const brought = new Map<AnyNode, Effect.Effect<SourceHere, RunError>>()
      for (const node of selection.nodes) {
        if (node.spec.kind !== "source") continue
        const bring = Effect.gen(function* () {
          const here = yield* bringSource(pipeline.name, node, (yield* planContext.source(node)).found)
          entryRefs.set(node, { kind: "source", path: here.path })
          return here
        })
        brought.set(node, yield* Effect.cached(Effect.provideContext(bring, context)))
      }
      const session: Session = {
        pipeline,
        options,
        selection,
        allowsStaleCode: (node) => allowsStaleCode(options, node),
        workers: yield* makeWorkers(options.workers, setup),
        engines: yield* makeWorkers(1, setup),
        services: yield* Effect.cached(
          Layer.buildWithScope(recipe.services(choice.engine) as Layer.Layer<never, unknown>, scope)
        ),
        engine: Semaphore.makeUnsafe(1),
        coordinator: yield* CurrentCoordinator,
        bring: (source) => brought.get(source)!
      }
      const ready = new Map<AnyNode, Deferred.Deferred<boolean>>()
      for (const node of selection.nodes) ready.set(node, yield* Deferred.make<boolean>())
      /** How each node that is done came by its result. */
      const ways = new Map<AnyNode, "ran" | "cached">()
      const counted = (way: "ran" | "cached") => [...ways.values()].filter((one) => one === way).length
      let stopped: Interrupted | undefined

      /** A polite stop is remembered and gives undefined: what is in flight elsewhere goes on to its own stop. */
      const unlessStopped = <A, R>(effect: Effect.Effect<A, RunError, R>): Effect.Effect<A | undefined, RunError, R> =>
        Effect.catch(effect, (error) => {
          if (!(error instanceof Interrupted)) return Effect.fail(error)
          stopped ??= error
          return Effect.undefined
        })

      const finish = (node: AnyNode, result: Done) =>
        Effect.suspend(() => {
          done.set(node, result)
          entryRefs.set(node, result.entryRef)
          return Deferred.succeed(ready.get(node)!, true)
        })

      const process = Effect.fnUntraced(function* (node: AnyNode) {
        if (node.spec.kind === "source") {
          const fact = yield* planContext.source(node)
          // Where the content is known, what is not here waits until a node that runs reads it.
          if (!fact.found.here && fact.digest !== undefined)
            return yield* finish(node, { entryRef: { kind: "source", path: "" }, digests: { files: fact.digest } })
          if (!fact.found.here && stop.requested()) {
            stopped ??= stoppedBefore(node)
            return yield* Deferred.succeed(ready.get(node)!, false)
          }
          const brought = session.bring(node).pipe(
            // A store that takes no bytes: as for what is not here, a node that runs and reads it will say so.
            Effect.catchIf(
              (error) => error instanceof StoreError && isUnwritable(error) && fact.found.here,
              () => Effect.succeed({ path: "", digest: fact.digest! })
            )
          )
          const here = yield* unlessStopped(brought)
          if (here === undefined) return yield* Deferred.succeed(ready.get(node)!, false)
          return yield* finish(node, {
            entryRef: { kind: "source", path: here.path },
            digests: { files: here.digest }
          })
        }
        const before = Object.values(node.inputs).map((ref) => ref.node)
        let missing = false
        // All are waited for: a skipped node names every failure before it.
        for (const one of before) if (!(yield* Deferred.await(ready.get(one)!))) missing = true
        if (missing) {
          yield* failures.skip(node, before)
          return yield* Deferred.succeed(ready.get(node)!, false)
        }
        const made = yield* make(node)
        return yield* made === undefined ? Deferred.succeed(ready.get(node)!, false) : finish(node, made)
      })

      /** What a result is made of now, by port. */
      const inputsOf = (node: AnyNode): Readonly<Record<string, string>> =>
        Object.fromEntries(
          Object.entries(node.inputs).map(([port, ref]) => [port, done.get(ref.node)!.digests[ref.port]!])
        )

      /** Nodes of the run whose entries a node reads. */
      const producersOf = (node: AnyNode): ReadonlyArray<AnyNode> => {
        const ids = entryRefsFor(node, entryRefs)
        return selection.nodes.filter((one) => ids[one.id]?.kind === "entry")
      }

      /** Takes a node's result from the store or runs it, again where an input was repaired meanwhile. */
      const make = (
        node: AnyNode,
        why?: ReadonlyArray<string>
      ): Effect.Effect<Made | undefined, RunError, Store | Events | Stop | FileSystem.FileSystem> =>
        Effect.gen(function* () {
          for (;;) {
            const producers = producersOf(node)
            yield* Effect.forEach(producers, repairs.settled, { discard: true })
            const seen = new Map(producers.map((one) => [one, repairs.count(one)]))
            const moved = () => producers.some((one) => repairs.count(one) > seen.get(one)!)
            const inputs = inputsOf(node)
            const result = yield* Effect.catch(attempt(node, inputs, why), (error) =>
              moved() && error._tag !== "Interrupted" ? Effect.succeed({ damaged: [] }) : Effect.fail(error)
            )
            if (result === undefined) return undefined
            if ("found" in result) {
              // What it was made of may have come out different when it was repaired.
              if (moved() && canonical(inputs) !== canonical(inputsOf(node))) continue
              return yield* told(node, result)
            }
            for (const input of result.damaged) {
              const producer = selection.nodes.find((one) => one.id === input.producer)!
              if (!(yield* repair(node, producer, input, seen.get(producer)!))) return undefined
            }
          }
        })

      const repair = (reader: AnyNode, producer: AnyNode, input: DamagedInput, seen: number) =>
        repairs.repair(reader, producer, input, seen, {
          refused: selection.mayRun.has(producer)
            ? undefined
            : `this run takes ${producer.id} from the store and may not run it`,
          users: selection.nodes
            .filter((one) => one !== reader && done.has(one))
            .filter((one) => Object.values(one.inputs).some((ref) => ref.node === producer))
            .map((one) => one.id),
          run: (because) =>
            Effect.map(make(producer, because), (made) => {
              if (made === undefined) return undefined
              done.set(producer, made)
              entryRefs.set(producer, made.entryRef)
              return made.found
            })
        })

      /** One attempt at a node; undefined where the run was asked to stop. */
      const attempt = Effect.fnUntraced(function* (
        node: AnyNode,
        inputs: Readonly<Record<string, string>>,
        why?: ReadonlyArray<string>
      ): Effect.fn.Return<Attempted | undefined, RunError, Store | Events | Stop | FileSystem.FileSystem> {
        const decision = yield* decide(node, inputs, planContext)
        const started = yield* Clock.currentTimeMillis
        const kept = (found: Found, ran: boolean): Attempted => ({ found, ran, started, code: decision.code.digest })
        let found = decision.entry?.found
        let because = why ?? decision.because
        const mayRun = selection.mayRun.has(node)
        if (found !== undefined && options.verify === true) {
          const damaged = yield* store.verify(found, yield* checking(node))
          if (damaged.length > 0) {
            because = [`damaged in the store: ${damagedNames(damaged)}`]
            yield* events.publish({
              event: "notice",
              at: started,
              node: node.id,
              message: `${because.join("; ")}${mayRun ? "; it is made again" : ""}`
            })
            if (mayRun) yield* store.reopen(found, damaged)
            found = undefined
          }
        }
        if (found !== undefined && decision.oldCode) {
          yield* orWithout(store.root, store.alias(found, decision.code as Code))
          yield* events.publish({ event: "notice", at: started, node: node.id, message: decision.because.join("; ") })
        }
        if (found !== undefined) return kept(found, false)
        if (!mayRun)
          return yield* new SelectionError({
            node: node.id,
            message: `${node.id} is not in the store (${because.join(", ")})`,
            hint: "--only and --from take what comes before from the store: run without them once, or name this node too."
          })
        if (stop.requested()) {
          stopped ??= stoppedBefore(node)
          return undefined
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
        const running = execute(session, node, entryRefs, { ...decision, because }, onStart)
        const result: Executed | undefined = yield* Effect.scoped(running).pipe(
          Effect.onInterrupt(() => (begun ? ended() : Effect.void)),
          Effect.tapError((error) => (error instanceof Interrupted && !begun ? Effect.void : ended(error))),
          unlessStopped
        )
        return result === undefined || "damaged" in result ? result : kept(result.found, result.ran)
      })

      /** Remembers and tells a node's result. */
      const told = Effect.fnUntraced(function* (node: AnyNode, { code, found, ran, started }: Kept) {
        const { manifest } = found
        const last = { key: manifest.key, code: manifest.code.digest, parts: manifest.parts }
        yield* orWithout(store.root, store.remember(pipeline.name, node.id, last))
        ways.set(node, ran ? "ran" : "cached")
        const at = yield* Clock.currentTimeMillis
        const read = yield* rowsReadByPort(node, manifest)
        yield* events.publish(nodeEnd(node, ran ? "ran" : "cached", (at - started) / 1000, at, manifest, read))
        const emptied = yield* sayEmptied(node, found)
        if (emptied !== undefined) yield* events.publish({ event: "notice", at, node: node.id, message: emptied })
        return {
          entryRef: { kind: "entry", key: manifest.key, code: manifest.code.digest },
          digests: entryOf(found, code).digests,
          found
        } satisfies Made
      })

      const guarded = (node: AnyNode) =>
        failures.guard(
          node,
          Effect.provideService(process(node), Stop, stop),
          Deferred.succeed(ready.get(node)!, false)
        )
      yield* Effect.forEach(selection.nodes, guarded, { concurrency: "unbounded", discard: true })
      yield* failures.end
      if (stopped !== undefined) return yield* stopped
      return { nodesRun: counted("ran"), nodesCached: counted("cached"), ...(yield* collect(pipeline, done)) }
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
