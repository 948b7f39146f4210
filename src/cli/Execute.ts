/**
 * The command without a subcommand: plans or runs the recipe and tells what came of it.
 *
 * Not the scheduler. It publishes the two events that the scheduler leaves out (`start` and the last `run`), feeds every
 * event to the terminal, the JSON stream and the run's record in the order of publishing, and prints the report. Errors
 * are not printed here: they leave as they are, `Main.ts` tells them once.
 */
import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import { Cause, Clock, Deferred, Effect, Exit, Layer, Result, Schema } from "effect"
import { checkEnvironment, environment } from "../dag/Environment.ts"
import type { PlanStep } from "../dag/Plan.ts"
import type { RankLost } from "../dag/ProcessGroup.ts"
import {
  type Coordinator,
  CurrentCoordinator,
  isSymptom,
  openCoordinator,
  type RankAddress
} from "../run/Coordinator.ts"
import { type Event, Events } from "../run/Events.ts"
import { makeHistory } from "../run/History.ts"
import type { Entry } from "../run/PlanContext.ts"
import { planVerified } from "../run/PlanVerified.ts"
import { reduce } from "../run/Progress.ts"
import { runRank } from "../run/RankWorker.ts"
import type { Recipe, Summary } from "../run/Recipe.ts"
import { Recorded } from "../run/Record.ts"
import { Interrupted, NodeFailed, type RunOptions, Stop } from "../run/Run.ts"
import { planRecipe, type RunResult, runRecipe } from "../run/Scheduler.ts"
import { select } from "../run/Selection.ts"
import { namedTooManyFiles } from "../store/OpenFiles.ts"
import { Store } from "../store/Store.ts"
import { type Chosen, checkSelection, choose, UsageError } from "./Choose.ts"
import { costOf } from "./Cost.ts"
import { writePainted } from "./Output.ts"
import { type Color, joined, paint, plain } from "./Paint.ts"
import { checkDistributed, endLate, makeRankSpawner, rankAddressOf, shareMachine, spawnsRanks } from "./Ranks.ts"
import { engineLine, nodeTable, outputLines, planCounts, planTable, runLine } from "./Report.ts"
import { record, storeLayer } from "./RunRecorder.ts"
import { writePage } from "./report/Write.ts"
import type { Session } from "./Session.ts"
import { animate, make } from "./Terminal.ts"

/** The recipe's `summary` threw; the run itself is complete. */
export class SummaryFailed extends Schema.TaggedError<SummaryFailed>()("SummaryFailed", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Flags of a run. Lists hold node ids; `settings` hold `instance.param=value`. */
export interface RunFlags {
  readonly preset: string | undefined
  readonly engine: string | undefined
  readonly settings: ReadonlyArray<string>
  /** Absolute or relative folder of the store. */
  readonly store: string
  readonly plan: boolean
  /** With `plan`: the card whose hours are told, and the share of its peak that is counted with. */
  readonly gpu: string | undefined
  readonly mfu: number | undefined
  readonly only: ReadonlyArray<string>
  readonly from: ReadonlyArray<string>
  readonly until: ReadonlyArray<string>
  readonly force: ReadonlyArray<string>
  readonly workers: number | undefined
  /** Processes that train together, started here; see `Ranks.ts`. */
  readonly nproc: number | undefined
  readonly keepGoing: boolean
  readonly allowStaleCode?: ReadonlyArray<string>
  readonly quiet: boolean
  readonly checkpointEvery: number | undefined
  readonly verify: boolean
}

/** Folds save a checkpoint this often unless `--checkpoint-every` counts steps. */
export const checkpointEveryMs = 120_000

const optionsOf = (flags: RunFlags): RunOptions => ({
  only: flags.only,
  from: flags.from,
  until: flags.until,
  force: flags.force,
  allowStaleCode: flags.allowStaleCode ?? [],
  keepGoing: flags.keepGoing,
  workers: flags.workers ?? availableParallelism(),
  ...(flags.checkpointEvery === undefined ? {} : { checkpointEverySteps: flags.checkpointEvery }),
  checkpointEveryMs,
  verify: flags.verify
})

/** Flags that cut or steer a run, as typed. */
const cuts = (flags: RunFlags): ReadonlyArray<string> => [
  ...(["only", "from", "until", "force"] as const).flatMap((name) => flags[name].map((id) => `--${name} ${id}`)),
  ...(flags.allowStaleCode ?? []).map((id) => `--allow-stale-code ${id}`),
  ...(flags.workers === undefined ? [] : [`--workers ${flags.workers}`]),
  ...(flags.nproc === undefined ? [] : [`--nproc ${flags.nproc}`]),
  ...(flags.checkpointEvery === undefined ? [] : [`--checkpoint-every ${flags.checkpointEvery}`]),
  ...(flags.keepGoing ? ["--keep-going"] : []),
  ...(flags.verify ? ["--verify"] : [])
]

const startEvent = (
  run: string,
  at: number,
  { choice, engineWhy, pipeline }: Chosen<any>
): Extract<Event, { readonly event: "start" }> => ({
  event: "start",
  at,
  run,
  pipeline: pipeline.name,
  preset: choice.preset,
  engine: choice.engine,
  ...(engineWhy === undefined ? {} : { engineWhy }),
  nodes: pipeline.nodes.filter((node) => node.spec.kind !== "source").length
})

const showPlan = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  chosen: Chosen<R>,
  options: RunOptions,
  flags: RunFlags,
  session: Session
) {
  const cost = Effect.fnUntraced(function* (steps: ReadonlyArray<PlanStep<Entry>>) {
    const nodes = steps.length > 0 ? steps.map(({ node }) => node) : (yield* select(chosen.pipeline, options)).nodes
    const told = yield* costOf(recipe, chosen, nodes, steps, flags)
    if (told === undefined) return
    if (!flags.quiet) session.output.people(["", ...told.lines].join("\n") + "\n")
    session.emit({ event: "cost", figures: told.figures })
  })
  const planning = (flags.verify ? planVerified : planRecipe)(recipe, chosen.choice, options, moduleUrl)
  const plan = yield* planning.pipe(
    // What training costs is worth knowing before the data is fetched; the plan fails all the same.
    Effect.tapError((error) => (error._tag === "SourceError" ? cost([]) : Effect.void))
  )
  const start = startEvent("", yield* Clock.currentTimeMillis, chosen)
  session.emit(start)
  const line = engineLine(start)
  if (line !== undefined && !flags.quiet) session.output.people(line + "\n")
  for (const step of plan.steps)
    session.emit({
      event: "plan",
      node: step.node.id,
      status: step.status,
      because: step.because,
      ...(step.rows === undefined ? {} : { rows: step.rows }),
      ...(step.rowsByPort === undefined ? {} : { rowsByPort: step.rowsByPort }),
      ...(step.bytes === undefined ? {} : { bytes: step.bytes })
    })
  session.output.people((flags.quiet ? planCounts(plan.steps) : planTable(plan.steps)) + "\n")
  yield* cost(plan.steps)
  session.emit({
    event: "run",
    status: "completed",
    nodesRun: 0,
    nodesCached: plan.steps.filter((step) => step.status === "cached").length,
    outputs: {},
    metrics: null
  })
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

const summarize = (recipe: Recipe<any, any>, result: RunResult): Effect.Effect<Summary, SummaryFailed> =>
  recipe.summary === undefined
    ? Effect.succeed({ metrics: null, lines: [] })
    : Effect.try({
        try: () => recipe.summary!(result.values),
        catch: (cause) =>
          new SummaryFailed({
            message: `the run is complete, but its summary failed: ${cause instanceof Error ? cause.message : String(cause)}`,
            hint: "The outputs are in the store. Mend `summary` in the recipe and run again: every node is cached.",
            cause
          })
      })

/** The failure to tell of a cause: the first that is no interruption, else the first, else the defect. */
export const failureOf = (cause: Cause.Cause<unknown>): unknown => namedTooManyFiles(causeOf(cause))

const causeOf = (cause: Cause.Cause<unknown>): unknown => {
  const errors = cause.reasons.filter(Cause.isFailReason).map((reason) => reason.error)
  const real = errors.find((error) => !(error instanceof Interrupted))
  if (real !== undefined) return real
  const defect = Cause.findDefect(cause)
  return Result.isSuccess(defect) ? defect.success : (errors[0] ?? Cause.squash(cause))
}

/** True when nothing failed but the run was asked to stop (or its fiber was interrupted). */
export const wasInterrupted = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) || failureOf(cause) instanceof Interrupted

/** A collective that broke is a symptom: so long is waited for word of the rank that broke it. */
const CLOSER_REASON = "8 seconds"

/** Rank 0's run among other processes: it ends with the first rank that is lost. */
const runDistributed = <A, E, R>(running: Effect.Effect<A, E, R>, address: RankAddress, same: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const local = spawnsRanks(address)
      if (local) shareMachine(address, environment())
      const spawner = yield* makeRankSpawner
      const spawnRanks = (coordinator: Coordinator) => spawner.spawnRanks(address, coordinator, process, environment())
      const events = yield* Events
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const say = (message: string) =>
        void fork(Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "notice", at, message })))
      const coordinator = yield* openCoordinator(address, same, local ? spawnRanks : undefined, say)
      const led = running.pipe(
        Effect.provideService(CurrentCoordinator, coordinator),
        Effect.catch((error) =>
          error instanceof NodeFailed && isSymptom(error)
            ? Effect.andThen(Effect.timeoutOption(coordinator.lost, CLOSER_REASON), Effect.fail<E | RankLost>(error))
            : Effect.fail(error)
        )
      )
      return yield* Effect.raceFirst(led, Effect.tapError(coordinator.lost, endLate))
    })
  )

/** Runs (or with `--plan` plans) the recipe. Everything is told through the session; failures leave unchanged. */
export const execute = Effect.fnUntraced(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  flags: RunFlags,
  session: Session
) {
  yield* checkEnvironment()
  const chosen = yield* choose(recipe, flags)
  const { choice, pipeline } = chosen
  for (const name of ["gpu", "mfu"] as const)
    if (flags[name] !== undefined && !flags.plan)
      return yield* new UsageError({ message: `--${name} says nothing to a run`, hint: "Use it with --plan." })
  yield* checkSelection(pipeline, flags)
  const options = optionsOf(flags)
  const { output } = session
  const address = yield* rankAddressOf(flags.nproc, environment())
  // A plan with `auto` is for a machine where that may be another engine.
  if (address !== undefined && !(flags.plan && chosen.engineWhy !== undefined))
    yield* checkDistributed(address, choice.engine, recipe.distributed)
  /** What all ranks must agree on. */
  const same = JSON.stringify({ recipe: recipe.name, ...choice })
  if (address !== undefined && address.rank > 0) {
    // A plan is rank 0's alone.
    if (flags.plan) return
    // Rank 0 says when to stop.
    session.stop = () => undefined
    const setup = { module: moduleUrl, choice, store: resolve(flags.store) }
    return yield* Effect.scoped(Effect.tapError(runRank(address, same, setup), endLate))
  }
  if (flags.plan)
    return yield* showPlan(recipe, moduleUrl, chosen, options, { ...flags, nproc: address?.world }, session).pipe(
      Effect.provide(storeLayer(flags.store))
    )

  const started = yield* Clock.currentTimeMillis
  const terminal = make({ ...output, write: (text) => writePainted(output, text) }, { quiet: flags.quiet })
  session.terminal = terminal

  const work = Effect.gen(function* () {
    const recorder = yield* record((yield* Store).root, pipeline.name, choice)
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

    /** Recorded, not shown: who asked has said it. */
    const note = Effect.fnUntraced(function* (message: string) {
      const event: Event = { event: "notice", at: yield* Clock.currentTimeMillis, message }
      if (over) return
      session.emit(event)
      yield* recorder.append(event, terminal.view())
    })
    const givenUp = yield* Deferred.make<never, Interrupted>()
    session.giveUp = (why) => {
      Effect.runFork(note(why))
      const hint = "Run the same command again: what is finished is kept."
      Deferred.doneUnsafe(givenUp, Effect.fail(new Interrupted({ message: why, hint })))
    }

    const inner = Effect.gen(function* () {
      const events = yield* Events
      const stop = yield* Stop
      session.stop = (why) => {
        Effect.runFork(stop.request)
        Effect.runFork(note(why))
      }
      yield* events.publish(startEvent(recorder.run, started, chosen))
      yield* animate(terminal)
      if (output.live)
        yield* Effect.acquireRelease(
          Effect.sync(() => output.intercept(terminal.aside)),
          (end) => Effect.sync(end)
        )
      const running = Effect.provideService(runRecipe(recipe, moduleUrl, choice, options), Recorded, true)
      const result = yield* address === undefined ? running : runDistributed(running, address, same)
      return { result, summary: yield* summarize(recipe, result) }
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(tapped(take), Stop.layer)))

    const exit = yield* Effect.exit(Effect.raceFirst(inner, Deferred.await(givenUp)))
    session.stop = undefined
    session.giveUp = undefined
    terminal.close()
    const ms = (yield* Clock.currentTimeMillis) - started
    const say = (text: string) => (text === "" ? undefined : output.people(text + "\n"))
    const sayIn = (color: Color, text: string) =>
      writePainted(output, joined(paint(output.color, color, text), plain("\n")))
    /** The run's page; what hinders it is told and changes nothing about the run. */
    const report = Effect.fnUntraced(function* (last: Event) {
      const told = { pipeline, choice, flags: cuts(flags), startedMs: started, history: history.points() }
      const { failed, path } = yield* writePage(recipe, { ...told, view: reduce(terminal.view(), last) }, recorder.page)
      if (failed !== undefined) {
        const at = yield* Clock.currentTimeMillis
        yield* take({ event: "notice", at, message: failed })
      }
      return path
    })
    const sayPage = (path: string | undefined) => (path === undefined ? undefined : say(`This run as a page: ${path}`))
    if (Exit.isFailure(exit)) {
      const status = wasInterrupted(exit.cause) ? "interrupted" : "failed"
      const last = session.unfinished(status, status === "failed" ? failureOf(exit.cause) : undefined)
      const path = yield* report(last)
      if (!flags.quiet) {
        if (terminal.view().nodes.size > 0) say(nodeTable(terminal.view()))
        sayIn(status === "failed" ? "red" : "yellow", runLine(status, last.nodesRun, last.nodesCached, ms))
        sayPage(path)
      }
      yield* take(last)
      return yield* Effect.failCause(exit.cause)
    }
    const { result, summary } = exit.value
    const last: Event = {
      event: "run",
      status: "completed",
      nodesRun: result.nodesRun,
      nodesCached: result.nodesCached,
      outputs: result.outputs,
      metrics: summary.metrics
    }
    const path = yield* report(last)
    if (!flags.quiet) {
      output.people("\n")
      say(nodeTable(terminal.view()))
      sayIn("bold", runLine("completed", result.nodesRun, result.nodesCached, ms))
    }
    if (!(flags.quiet && session.json)) {
      for (const line of summary.lines) output.people(line + "\n")
      for (const line of outputLines(result.outputs)) say(line)
      if (Object.keys(result.outputs).length === 0)
        say(`No output of ${pipeline.name} was reached; \`show last\` lists what was made.`)
      sayPage(path)
    }
    yield* take(last)
  })
  yield* work.pipe(Effect.scoped, Effect.provide(storeLayer(flags.store)))
})
