/**
 * Comes by the result of one node of a run: from the store, or by running it; again where an input was repaired.
 *
 * Not the order of nodes (`Scheduler.ts`) and not the run of a node that is due (`NodeRun.ts`). A node that met damage
 * in a stored input starts again once that is repaired (`Repair.ts`); so does one whose input was taken out for repair
 * while it ran.
 */
import { Clock, Effect, type FileSystem } from "effect"
import { canonical } from "../dag/Canonical.ts"
import type { AnyNode } from "../dag/Node.ts"
import { decide } from "../dag/Plan.ts"
import type { Code } from "../store/Manifest.ts"
import { Store, type StoredEntry } from "../store/Store.ts"
import { orWithout } from "../store/Without.ts"
import { emptyStageNotice } from "./Emptied.ts"
import { Events, nodeEnd } from "./Events.ts"
import { type EntryRef, entryRefsFor } from "./Inputs.ts"
import type { DamagedInput } from "./Inspect.ts"
import { notice } from "./NodeEvents.ts"
import { type Executed, execute } from "./NodeRun.ts"
import { entryOf, type StorePlanContext } from "./PlanContext.ts"
import { damagedNames, type Repairs } from "./Repair.ts"
import { rowsReadByPort } from "./RowsRead.ts"
import { Interrupted, SelectionError, Stop } from "./Run.ts"
import { type RunError, type RunSession, stoppedBefore } from "./RunSession.ts"

/** A finished node: where its result is and the digest of each output. `found` is absent for sources. */
export interface FinishedNode {
  readonly entryRef: EntryRef
  readonly digests: Readonly<Record<string, string>>
  readonly found?: StoredEntry
}

/** What the nodes of a run share while it goes on. */
export interface RunState {
  readonly session: RunSession
  readonly context: StorePlanContext
  readonly repairs: Repairs
  readonly done: Map<AnyNode, FinishedNode>
  readonly entryRefs: Map<AnyNode, EntryRef>
  /** How each finished node came by its result. */
  readonly ways: Map<AnyNode, "ran" | "cached">
  /** The first polite stop of a node. */
  stopped: Interrupted | undefined
}

type Services = Store | Events | Stop | FileSystem.FileSystem
type Made = FinishedNode & { readonly found: StoredEntry }

/** A result that an attempt came by, when that began, and the digest of the node's code. */
interface Kept {
  readonly found: StoredEntry
  readonly ran: boolean
  readonly startedMs: number
  readonly code: string
}
type Attempted = Kept | Extract<Executed, { readonly damaged: unknown }>

/** A polite stop is remembered and gives undefined: other nodes in flight come to their own stop. */
export const unlessStopped = <A, R>(
  state: RunState,
  effect: Effect.Effect<A, RunError, R>
): Effect.Effect<A | undefined, RunError, R> =>
  Effect.catch(effect, (error) => {
    if (!(error instanceof Interrupted)) return Effect.fail(error)
    state.stopped ??= error
    return Effect.undefined
  })

/** Digests of a node's inputs as they are now, by port. */
const inputsOf = (state: RunState, node: AnyNode): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(node.inputs).map(([port, ref]) => [port, state.done.get(ref.node)!.digests[ref.port]!])
  )

/** Nodes of the run whose entries a node reads. */
const producersOf = ({ entryRefs, session }: RunState, node: AnyNode): ReadonlyArray<AnyNode> => {
  const refs = entryRefsFor(node, entryRefs)
  return session.selection.nodes.filter((one) => refs[one.id]?.kind === "entry")
}

/** Takes a node's result from the store or runs it; undefined where the run was asked to stop. */
export const makeNode = (
  state: RunState,
  node: AnyNode,
  why?: ReadonlyArray<string>
): Effect.Effect<Made | undefined, RunError, Services> =>
  Effect.gen(function* () {
    const { repairs, session } = state
    for (;;) {
      const producers = producersOf(state, node)
      yield* Effect.forEach(producers, repairs.settled, { discard: true })
      const seen = new Map(producers.map((one) => [one, repairs.count(one)]))
      const moved = () => producers.some((one) => repairs.count(one) > seen.get(one)!)
      const inputs = inputsOf(state, node)
      const result = yield* Effect.catch(attempt(state, node, inputs, why), (error) =>
        moved() && error._tag !== "Interrupted" ? Effect.succeed({ damaged: [] }) : Effect.fail(error)
      )
      if (result === undefined) return undefined
      if ("found" in result) {
        // An input may have come out different when it was repaired.
        if (moved() && canonical(inputs) !== canonical(inputsOf(state, node))) continue
        return yield* publishResult(state, node, result)
      }
      for (const input of result.damaged) {
        const producer = session.selection.nodes.find((one) => one.id === input.producer)!
        if (!(yield* repair(state, node, producer, input, seen.get(producer)!))) return undefined
      }
    }
  })

/** Makes a damaged input again; false where the run was asked to stop meanwhile. */
const repair = (state: RunState, reader: AnyNode, producer: AnyNode, input: DamagedInput, seen: number) => {
  const { done, repairs, session } = state
  return repairs.repair(reader, producer, input, seen, {
    refused: session.selection.mayRun.has(producer)
      ? undefined
      : `this run takes ${producer.id} from the store and may not run it`,
    users: session.selection.nodes
      .filter((one) => one !== reader && done.has(one))
      .filter((one) => Object.values(one.inputs).some((ref) => ref.node === producer))
      .map((one) => one.id),
    run: (because) =>
      Effect.map(makeNode(state, producer, because), (built) => {
        if (built === undefined) return undefined
        done.set(producer, built)
        state.entryRefs.set(producer, built.entryRef)
        return built.found
      })
  })
}

/** One attempt at a node; undefined where the run was asked to stop. */
const attempt = Effect.fnUntraced(function* (
  state: RunState,
  node: AnyNode,
  inputs: Readonly<Record<string, string>>,
  why?: ReadonlyArray<string>
): Effect.fn.Return<Attempted | undefined, RunError, Services> {
  const { session } = state
  const stop = yield* Stop
  const decision = yield* decide(node, inputs, state.context)
  const startedMs = yield* Clock.currentTimeMillis
  const code = decision.code.digest
  const mayRun = session.selection.mayRun.has(node)
  let because = why ?? decision.because
  let found = decision.entry?.found
  if (found !== undefined && session.options.verify === true) {
    const damage = yield* verify(node, found, mayRun)
    if (damage !== undefined) {
      because = [damage]
      found = undefined
    }
  }
  if (found !== undefined) {
    if (decision.staleCode) yield* alias(node, found, decision.code as Code, decision.because)
    return { found, ran: false, startedMs, code }
  }
  if (!mayRun)
    return yield* new SelectionError({
      node: node.id,
      message: `${node.id} is not in the store (${because.join(", ")})`,
      hint: "--only and --from take what comes before from the store: run without them once, or name this node too."
    })
  if (stop.requested()) {
    state.stopped ??= stoppedBefore(node)
    return undefined
  }
  let begun = false
  const running = execute(session, node, state.entryRefs, { ...decision, because }, () => {
    begun = true
  })
  const result: Executed | undefined = yield* unlessStopped(
    state,
    Effect.scoped(running).pipe(
      Effect.onInterrupt(() => (begun ? publishFailure(node, startedMs) : Effect.void)),
      Effect.tapError((error) =>
        error instanceof Interrupted && !begun ? Effect.void : publishFailure(node, startedMs, error)
      )
    )
  )
  return result === undefined || "damaged" in result ? result : { ...result, startedMs, code }
})

/** A check of stored bytes reports how far it has come at most this often. */
const CHECKED_EVERY_MS = 10_000

/** Reads every byte of a stored result; gives what is damaged. A node that may run has its damaged files taken out. */
const verify = Effect.fnUntraced(function* (node: AnyNode, found: StoredEntry, mayRun: boolean) {
  const store = yield* Store
  const events = yield* Events
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let last = clock.currentTimeMillisUnsafe()
  const damaged = yield* store.verify(found, ({ bytes, bytesTotal }) => {
    const at = clock.currentTimeMillisUnsafe()
    if (at - last < CHECKED_EVERY_MS || bytesTotal === 0) return
    last = at
    const percent = Math.floor((100 * bytes) / bytesTotal)
    fork(events.publish({ event: "notice", at, node: node.id, message: `checked ${percent} % of its stored bytes` }))
  })
  if (damaged.length === 0) return undefined
  const because = `damaged in the store: ${damagedNames(damaged)}`
  yield* notice(node, `${because}${mayRun ? "; it is made again" : ""}`)
  if (mayRun) yield* store.reopen(found, damaged)
  return because
})

/** Records that a result of other code is used by the present code. */
const alias = Effect.fnUntraced(function* (
  node: AnyNode,
  found: StoredEntry,
  code: Code,
  because: ReadonlyArray<string>
) {
  const store = yield* Store
  yield* orWithout(store.root, store.alias(found, code))
  yield* notice(node, because.join("; "))
})

/** Publishes the end of a node without a result; without an error, it was interrupted. */
const publishFailure = Effect.fnUntraced(function* (node: AnyNode, startedMs: number, error?: RunError) {
  const events = yield* Events
  const at = yield* Clock.currentTimeMillis
  yield* events.publish({
    event: "node-end",
    at,
    node: node.id,
    kind: node.spec.kind,
    status: error === undefined || error instanceof Interrupted ? "interrupted" : "failed",
    seconds: (at - startedMs) / 1000,
    rowsIn: 0,
    rowsOut: 0,
    refused: 0,
    refusedBy: {},
    ...(error === undefined ? {} : { error: { tag: error._tag, message: error.message, hint: error.hint } })
  })
})

/** Remembers a node's result for later plans, and publishes its end. */
const publishResult = Effect.fnUntraced(function* (state: RunState, node: AnyNode, kept: Kept) {
  const { code, found, ran, startedMs } = kept
  const store = yield* Store
  const events = yield* Events
  const { manifest } = found
  const way = ran ? "ran" : "cached"
  const last = { key: manifest.key, code: manifest.code.digest, parts: manifest.parts }
  yield* orWithout(store.root, store.remember(state.session.pipeline.name, node.id, last))
  state.ways.set(node, way)
  const at = yield* Clock.currentTimeMillis
  const read = yield* rowsReadByPort(node, manifest)
  yield* events.publish(nodeEnd(node, way, (at - startedMs) / 1000, at, manifest, read))
  const empty = yield* emptyStageNotice(node, found)
  if (empty !== undefined) yield* events.publish({ event: "notice", at, node: node.id, message: empty })
  return {
    entryRef: { kind: "entry", key: manifest.key, code: manifest.code.digest },
    digests: entryOf(found, code).digests,
    found
  } satisfies Made
})
