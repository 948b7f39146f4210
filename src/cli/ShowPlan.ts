/** `--plan`: prints what a run would do and what its training costs, and runs nothing. */
import { Clock, Effect } from "effect"
import type { Plan, PlanStep } from "../dag/Plan.ts"
import type { Event } from "../run/Events.ts"
import { planEvent } from "../run/NodeEvents.ts"
import type { StoredPlanEntry } from "../run/PlanContext.ts"
import type { Recipe } from "../run/Recipe.ts"
import type { RunOptions } from "../run/Run.ts"
import { planRecipe } from "../run/Scheduler.ts"
import { select } from "../run/Selection.ts"
import { Store } from "../store/Store.ts"
import { sayDamaged } from "../store/Verify.ts"
import type { Chosen } from "./Choose.ts"
import { costOf } from "./Cost.ts"
import { engineLine, planCounts, planTable } from "./Report.ts"
import type { RunFlags } from "./RunFlags.ts"
import type { Session } from "./Session.ts"

/** Checks every byte of what a plan would take from the store: what is damaged, by node. A run checks as it goes. */
const verifyStored = Effect.fnUntraced(function* <K extends StoredPlanEntry>(plan: Plan<K>) {
  const store = yield* Store
  const damage = new Map<string, string>()
  for (const { decision, node } of plan.steps) {
    if (decision?.entry === undefined) continue
    const { found } = decision.entry
    const damaged = yield* store.verify(found)
    if (damaged.length === 0) continue
    const shown = damaged.slice(0, 5).map(sayDamaged)
    if (damaged.length > shown.length) shown.push(`${damaged.length - shown.length} more files`)
    damage.set(node.id, `damaged: ${shown.join(", ")}`)
  }
  return damage
})

/** The first event of a run; `run` is its id, "" for a plan. */
export const startEvent = (
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

/** The steps of a plan as events, and the last event of a command that ran nothing. */
const emitPlan = (session: Session, steps: ReadonlyArray<PlanStep<StoredPlanEntry>>): void => {
  for (const step of steps) session.emit(planEvent(step))
}

export const showPlan = Effect.fn("cli.showPlan")(function* <S, R>(
  recipe: Recipe<S, R>,
  moduleUrl: string,
  chosen: Chosen<R>,
  options: RunOptions,
  flags: RunFlags,
  session: Session
) {
  const cost = Effect.fnUntraced(function* (steps: ReadonlyArray<PlanStep<StoredPlanEntry>>) {
    const nodes = steps.length > 0 ? steps.map(({ node }) => node) : (yield* select(chosen.pipeline, options)).nodes
    const estimate = yield* costOf(recipe, chosen, nodes, steps, flags)
    if (estimate === undefined) return
    if (!flags.quiet) session.output.people(["", ...estimate.lines].join("\n") + "\n")
    session.emit({ event: "cost", figures: estimate.figures })
  })
  const found = yield* planRecipe(recipe, chosen.choice, options, moduleUrl, chosen.pipeline).pipe(
    // The cost of training is useful before the data is fetched; the plan fails all the same.
    Effect.tapError((error) => (error._tag === "SourceError" ? cost([]) : Effect.void))
  )
  const damage = flags.verify ? yield* verifyStored(found) : new Map<string, string>()
  const steps = found.steps.map((step) => {
    const why = damage.get(step.node.id)
    return why === undefined ? step : { ...step, status: "run" as const, because: [why] }
  })
  const start = startEvent("", yield* Clock.currentTimeMillis, chosen)
  session.emit(start)
  const line = engineLine(start)
  if (line !== undefined && !flags.quiet) session.output.people(line + "\n")
  emitPlan(session, steps)
  session.output.people((flags.quiet ? planCounts(steps) : planTable(steps)) + "\n")
  yield* cost(steps)
  session.emit({
    event: "run",
    status: "completed",
    nodesRun: 0,
    nodesCached: steps.filter((step) => step.status === "cached").length,
    outputs: {},
    metrics: null
  })
})
