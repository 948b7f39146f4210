/**
 * Runs the recipe for a person: live lines, JSON events, a record, a page, and the report at the end.
 *
 * Not the scheduler. It publishes the two events that the scheduler leaves out (`start` and the last `run`), and feeds
 * every event to the terminal, the JSON stream and the run's record in the order of publishing.
 */
import { type Cause, Clock, Deferred, Effect, Exit, Layer, Schema } from "effect"
import type { RankAddress } from "../run/Coordinator.ts"
import { type Event, Events } from "../run/Events.ts"
import { makeHistory } from "../run/History.ts"
import { reduce } from "../run/Progress.ts"
import type { Recipe, Summary } from "../run/Recipe.ts"
import { Recorded } from "../run/Record.ts"
import { Interrupted, type RunOptions, Stop } from "../run/Run.ts"
import { type RunResult, runRecipe } from "../run/Scheduler.ts"
import { Store } from "../store/Store.ts"
import type { Chosen } from "./Choose.ts"
import { runDistributed } from "./Distributed.ts"
import { writePainted } from "./Output.ts"
import { type Color, joined, paint, plain } from "./Paint.ts"
import { nodeTable, outputLines, runLine } from "./Report.ts"
import { failureOf, wasInterrupted } from "./RunFailure.ts"
import { type RunFlags, typedFlags } from "./RunFlags.ts"
import { type Recorder, record } from "./RunRecorder.ts"
import { writePage } from "./report/Write.ts"
import type { Session } from "./Session.ts"
import { startEvent } from "./ShowPlan.ts"
import { animate, make, type Terminal } from "./Terminal.ts"

/** The recipe's `summary` threw; the run itself is complete. */
export class SummaryFailed extends Schema.TaggedError<SummaryFailed>()("SummaryFailed", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const summarize = (recipe: Recipe<any, any>, result: RunResult): Effect.Effect<Summary, SummaryFailed> =>
  recipe.summary === undefined
    ? Effect.succeed({ metrics: null, lines: [] })
    : Effect.try({
        try: () => recipe.summary!(result.values),
        catch: (cause) =>
          new SummaryFailed({
            message:
              "the run is complete, but its summary failed: " +
              `${cause instanceof Error ? cause.message : String(cause)}`,
            hint: "The outputs are in the store. Fix `summary` in the recipe and run again: every node is cached.",
            cause
          })
      })

/** One run of the command, as its parts need it. */
interface LiveRun {
  readonly recipe: Recipe<any, any>
  readonly moduleUrl: string
  readonly chosen: Chosen<any>
  readonly options: RunOptions
  readonly flags: RunFlags
  readonly session: Session
  readonly terminal: Terminal
  readonly recorder: Recorder
  readonly startedMs: number
  /** Feeds an event to everything that hears of it; nothing after the last one. */
  readonly take: (event: Event) => Effect.Effect<void>
  /** Records a message that the terminal has shown already. */
  readonly note: (message: string) => Effect.Effect<void>
  readonly history: ReturnType<typeof makeHistory>
}

/** Runs the recipe. Everything is reported through the session; failures leave unchanged. */
export const runCommand = Effect.fn("cli.run")(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  chosen: Chosen<R>,
  options: RunOptions,
  flags: RunFlags,
  session: Session,
  distributed: { readonly address: RankAddress; readonly same: string } | undefined
) {
  const { output } = session
  const startedMs = yield* Clock.currentTimeMillis
  const terminal = make({ ...output, write: (text) => writePainted(output, text) }, { quiet: flags.quiet })
  session.terminal = terminal
  const recorder = yield* record((yield* Store).root, chosen.pipeline.name, chosen.choice)
  const common = { recipe, moduleUrl, chosen, options, flags, session, terminal, recorder, startedMs }
  const live: LiveRun = { ...common, ...makeSink(session, terminal, recorder) }
  const givenUp = yield* openGiveUp(live)
  const running = runNodes(live, (nodes) =>
    distributed === undefined ? nodes : runDistributed(nodes, distributed.address, distributed.same)
  )
  const exit = yield* Effect.exit(Effect.raceFirst(running, givenUp))
  session.stop = undefined
  session.giveUp = undefined
  terminal.close()
  const ms = (yield* Clock.currentTimeMillis) - startedMs
  if (Exit.isFailure(exit)) {
    yield* endFailed(live, exit.cause, ms)
    return yield* Effect.failCause(exit.cause)
  }
  yield* endCompleted(live, exit.value.result, exit.value.summary, ms)
})

/** Terminal, JSON stream, curves and record hear every event, in this order. */
const makeSink = (session: Session, terminal: Terminal, recorder: Recorder) => {
  const history = makeHistory()
  let over = false
  const take = (event: Event): Effect.Effect<void> =>
    Effect.suspend(() => {
      // Progress is published from forked fibers: what comes after the end is no part of the run.
      if (over) return Effect.void
      over = event.event === "run"
      history.add(event)
      terminal.event(event)
      session.emit(event)
      return Effect.flatMap(recorder.append(event, terminal.view()), (broke) =>
        broke === undefined
          ? Effect.void
          : Effect.flatMap(Clock.currentTimeMillis, (at) => take({ event: "notice", at, message: broke }))
      )
    })
  const note = Effect.fnUntraced(function* (message: string) {
    const event: Event = { event: "notice", at: yield* Clock.currentTimeMillis, message }
    if (over) return
    session.emit(event)
    yield* recorder.append(event, terminal.view())
  })
  return { history, take, note }
}

/** Lets the session give the run up; the effect it gives fails then. */
const openGiveUp = Effect.fnUntraced(function* ({ note, session }: LiveRun) {
  const givenUp = yield* Deferred.make<never, Interrupted>()
  session.giveUp = (why) => {
    Effect.runFork(note(why))
    const hint = "Run the same command again: what is finished is kept."
    Deferred.doneUnsafe(givenUp, Effect.fail(new Interrupted({ message: why, hint })))
  }
  return Deferred.await(givenUp)
})

/** The events service that hands every event to `take`, in the order of publishing, before others see it. */
const tapped = (take: (event: Event) => Effect.Effect<void>) =>
  Layer.effect(
    Events,
    Effect.map(Events, (inner) =>
      Events.of({
        stream: inner.stream,
        publish: (event) => Effect.andThen(take(event), inner.publish(event))
      })
    )
  ).pipe(Layer.provide(Events.layer))

/** Runs the nodes with the terminal live, and asks the recipe for its summary. */
const runNodes = <E, R>(
  live: LiveRun,
  among: (nodes: ReturnType<typeof runRecipe>) => Effect.Effect<RunResult, E, R>
) =>
  Effect.gen(function* () {
    const { chosen, moduleUrl, note, options, recipe, recorder, session, startedMs, terminal } = live
    const events = yield* Events
    const stop = yield* Stop
    session.stop = (why) => {
      Effect.runFork(stop.request)
      Effect.runFork(note(why))
    }
    yield* events.publish(startEvent(recorder.run, startedMs, chosen))
    yield* animate(terminal)
    if (session.output.live)
      yield* Effect.acquireRelease(
        Effect.sync(() => session.output.intercept(terminal.aside)),
        (end) => Effect.sync(end)
      )
    const nodes = runRecipe(recipe, moduleUrl, chosen.choice, options, chosen.pipeline)
    const result = yield* Effect.provideService(among(nodes), Recorded, true)
    return { result, summary: yield* summarize(recipe, result) }
  }).pipe(Effect.scoped, Effect.provide(Layer.merge(tapped(live.take), Stop.layer)))

const say = ({ session }: LiveRun, text: string): void => {
  if (text !== "") session.output.people(text + "\n")
}

const sayIn = ({ session: { output } }: LiveRun, color: Color, text: string): void =>
  writePainted(output, joined(paint(output.color, color, text), plain("\n")))

const sayPage = (live: LiveRun, path: string | undefined): void => {
  if (path !== undefined) say(live, `This run as a page: ${path}`)
}

/** Writes the run's page, and gives its path; an error of the page is a notice and changes nothing about the run. */
const writeReport = Effect.fnUntraced(function* (live: LiveRun, last: Event) {
  const { chosen, flags, history, recipe, recorder, startedMs, take, terminal } = live
  const { choice, pipeline } = chosen
  const run = { pipeline, choice, flags: typedFlags(flags), startedMs, history: history.points() }
  const { failed, path } = yield* writePage(recipe, { ...run, view: reduce(terminal.view(), last) }, recorder.page)
  if (failed !== undefined) yield* take({ event: "notice", at: yield* Clock.currentTimeMillis, message: failed })
  return path
})

const endFailed = Effect.fnUntraced(function* (live: LiveRun, cause: Cause.Cause<unknown>, ms: number) {
  const { flags, session, take, terminal } = live
  const status = wasInterrupted(cause) ? "interrupted" : "failed"
  const last = session.unfinished(status, status === "failed" ? failureOf(cause) : undefined)
  const path = yield* writeReport(live, last)
  if (!flags.quiet) {
    if (terminal.view().nodes.size > 0) say(live, nodeTable(terminal.view()))
    sayIn(live, status === "failed" ? "red" : "yellow", runLine(status, last.nodesRun, last.nodesCached, ms))
    sayPage(live, path)
  }
  yield* take(last)
})

const endCompleted = Effect.fnUntraced(function* (live: LiveRun, result: RunResult, summary: Summary, ms: number) {
  const { chosen, flags, session, take, terminal } = live
  const last: Event = {
    event: "run",
    status: "completed",
    nodesRun: result.nodesRun,
    nodesCached: result.nodesCached,
    outputs: result.outputs,
    metrics: summary.metrics
  }
  const path = yield* writeReport(live, last)
  if (!flags.quiet) {
    session.output.people("\n")
    say(live, nodeTable(terminal.view()))
    sayIn(live, "bold", runLine("completed", result.nodesRun, result.nodesCached, ms))
  }
  if (!(flags.quiet && session.json)) {
    for (const line of summary.lines) session.output.people(line + "\n")
    for (const line of outputLines(result.outputs)) say(live, line)
    if (Object.keys(result.outputs).length === 0)
      say(live, `No output of ${chosen.pipeline.name} was reached; \`show last\` lists what was made.`)
    sayPage(live, path)
  }
  yield* take(last)
})
