/**
 * The record of a run: every event (progress at most once a second and node), and how each node ended.
 *
 * The command line keeps it and adds a page and figures (`cli/RunRecorder.ts`); a run that a program starts keeps it
 * itself (`recorded`), so that `runs` and `show` list it and `gc` sees it while it is alive.
 */

import type { FileSystem } from "effect"
import { Cause, Clock, Context, Effect, Exit, Schema, type Scope } from "effect"
import { scrubJson } from "../dag/Secrets.ts"
import { showLocation } from "../dag/Source.ts"
import * as RunLog from "../store/RunLog.ts"
import { Store, type StoreError } from "../store/Store.ts"
import { orWithout } from "../store/Without.ts"
import { Event, Events } from "./Events.ts"
import { describeError, hintOf } from "./Failure.ts"
import { empty, ended, reduce, type View } from "./Progress.ts"
import type { Choice } from "./Recipe.ts"
import { Interrupted } from "./Run.ts"

/** Progress of one node is recorded at most this often; the last before its end always is. */
const progressEveryMs = 1000

/** What a run's record says of each node so far. */
export const nodesOf = (view: View): Readonly<Record<string, Schema.Json>> =>
  Object.fromEntries(
    [...view.nodes.values()]
      .filter((node) => node.end !== undefined)
      .map((node) => [
        node.id,
        {
          status: node.end!.status,
          kind: node.kind,
          seconds: node.end!.seconds,
          ...(node.failedAttempts === undefined ? {} : { failedAttempts: node.failedAttempts }),
          ...(node.end!.skippedFor === undefined ? {} : { skippedFor: node.end!.skippedFor }),
          rowsOut: node.end!.rowsOut,
          refused: node.end!.refused,
          ...(node.end!.key === undefined ? {} : { key: node.end!.key }),
          ...(node.end!.code === undefined ? {} : { code: node.end!.code })
        }
      ])
  )

const ends = { completed: "done", failed: "failed", interrupted: "interrupted" } as const

/** Thins progress: gives the events to write now. Holds back at most one event a node. */
export const makeThinning = () => {
  const written = new Map<string, number>()
  const held = new Map<string, Event>()
  return (event: Event): ReadonlyArray<Event> => {
    if (event.event === "node-progress") {
      const last = written.get(event.node)
      if (last !== undefined && event.at - last < progressEveryMs) {
        held.set(event.node, event)
        return []
      }
      written.set(event.node, event.at)
      held.delete(event.node)
      return [event]
    }
    const late: Array<Event> = []
    if (event.event === "node-end" || event.event === "checkpoint") {
      const one = held.get(event.node)
      if (one !== undefined) late.push(one)
      held.delete(event.node)
    } else if (event.event === "run") {
      late.push(...held.values())
      held.clear()
    }
    return [...late, event]
  }
}

const showSource = (text: string): string => {
  const at = text.indexOf("=") + 1
  return text.slice(0, at) + showLocation(text.slice(at))
}

const encode = Schema.encodeUnknownSync(Schema.toCodecJson(Event)) as (event: Event) => Schema.Json

/** Opens the record of a run in the store at `root`; its file stays open until the scope closes. */
export const startRecord = (
  root: string,
  pipeline: string,
  choice: Choice
): Effect.Effect<RunLog.RunLog, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  RunLog.start(root, {
    pipeline,
    settings: {
      preset: choice.preset,
      engine: choice.engine,
      set: [...choice.settings],
      // An address may hold a signature; a path is what a person needs to run it again.
      ...(choice.sources === undefined ? {} : { sources: choice.sources.map(showSource) })
    }
  })

/** Writes events into a record; `view` is the view with the event. */
export const writerOf = (log: RunLog.RunLog) => {
  const thin = makeThinning()
  return (event: Event, view: View): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      for (const one of thin(event)) yield* log.event(scrubJson(encode(one)))
      if (event.event === "node-end") yield* log.update(nodesOf(view))
      if (event.event === "run") yield* log.end(ends[event.status], nodesOf(view))
    })
}

/** True where whoever runs a recipe keeps its record. */
export const Recorded = Context.Reference<boolean>("millrace/run/Recorded", { defaultValue: () => false })

/** What a finished run says of itself in its last event. */
interface Outcome {
  readonly nodesRun: number
  readonly nodesCached: number
  readonly outputs: Extract<Event, { readonly event: "run" }>["outputs"]
}

const failureOf = (cause: Cause.Cause<unknown>): unknown =>
  cause.reasons.filter(Cause.isFailReason).map((reason) => reason.error)[0] ?? Cause.squash(cause)

/** Runs with a record of its own. A record that cannot be written is reported once and ends no run. */
export const recorded = <A extends Outcome, E, R>(
  pipeline: { readonly name: string; readonly nodes: number },
  choice: Choice,
  running: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError, R | Store | Events | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { root } = yield* Store
      const events = yield* Events
      const log = yield* orWithout(root, startRecord(root, pipeline.name, choice))
      const write = log === undefined ? () => Effect.void : writerOf(log)
      let view = empty
      let broken = log === undefined
      const take = (event: Event) =>
        Effect.suspend(() => {
          view = reduce(view, event)
          if (broken) return Effect.void
          return Effect.catch(write(event, view), (error) => {
            broken = true
            return Effect.logWarning(`the record of this run cannot be written and ends here: ${error.message}`)
          })
        })
      const at = yield* Clock.currentTimeMillis
      yield* take({
        event: "start",
        at,
        run: log?.id ?? "",
        pipeline: pipeline.name,
        preset: choice.preset,
        engine: choice.engine,
        nodes: pipeline.nodes
      })
      const both = Events.of({
        stream: events.stream,
        publish: (event) => Effect.andThen(take(event), events.publish(event))
      })
      const exit = yield* Effect.exit(Effect.provideService(running, Events, both))
      const counts = { nodesRun: ended(view, "ran"), nodesCached: ended(view, "cached") }
      if (Exit.isSuccess(exit)) {
        const { outputs } = exit.value
        yield* take({ event: "run", status: "completed", ...counts, outputs, metrics: null })
        return exit.value
      }
      const error = failureOf(exit.cause)
      const status = Cause.hasInterruptsOnly(exit.cause) || error instanceof Interrupted ? "interrupted" : "failed"
      const hint = hintOf(error)
      const failure = { message: describeError(error), ...(hint === undefined ? {} : { hint }) }
      yield* take({ event: "run", status, ...counts, outputs: {}, metrics: { error: failure } })
      return yield* Effect.failCause(exit.cause)
    })
  )
