/**
 * The command without a subcommand: checks what was typed, then plans, runs, or joins a run as another rank.
 *
 * Not the scheduler, and not the run's report (`RunCommand.ts`). Errors are not printed here: they leave as they are,
 * and `Start.ts` prints them once.
 */
import { resolve } from "node:path"
import { Effect } from "effect"
import { checkEnvironment, environment } from "../dag/Environment.ts"
import { runRank } from "../run/RankWorker.ts"
import type { Recipe } from "../run/Recipe.ts"
import { checkSelection, choose, UsageError } from "./Choose.ts"
import { checkDistributed, endLate, rankAddressOf } from "./Ranks.ts"
import { runCommand } from "./RunCommand.ts"
import { optionsOf, type RunFlags } from "./RunFlags.ts"
import { storeLayer } from "./RunRecorder.ts"
import type { Session } from "./Session.ts"
import { showPlan } from "./ShowPlan.ts"

export { SummaryFailed } from "./RunCommand.ts"
export { failureOf, wasInterrupted } from "./RunFailure.ts"
export { checkpointEveryMs, type RunFlags } from "./RunFlags.ts"

/** Runs (or with `--plan` plans) the recipe. Everything is reported through the session; failures leave unchanged. */
export const execute = Effect.fn("cli.execute")(function* <S, R>(
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
      return yield* new UsageError({ message: `--${name} has no effect on a run`, hint: "Use it with --plan." })
  yield* checkSelection(pipeline, flags)
  const options = optionsOf(flags)
  const address = yield* rankAddressOf(flags.nproc, environment())
  // A plan with `auto` is for a machine where that may be another engine.
  if (address !== undefined && !(flags.plan && chosen.engineWhy !== undefined))
    yield* checkDistributed(address, choice.engine, recipe.distributed)
  /** What all ranks must agree on. */
  const same = JSON.stringify({ recipe: recipe.name, ...choice })
  if (address !== undefined && address.rank > 0) {
    // A plan is rank 0's alone.
    if (flags.plan) return
    // Rank 0 decides when to stop.
    session.stop = () => undefined
    const setup = { module: moduleUrl, choice, store: resolve(flags.store) }
    return yield* Effect.scoped(Effect.tapError(runRank(address, same, setup), endLate))
  }
  const command = flags.plan
    ? showPlan(recipe, moduleUrl, chosen, options, { ...flags, nproc: address?.world }, session)
    : Effect.scoped(runCommand(recipe, moduleUrl, chosen, options, flags, session, address && { address, same }))
  return yield* Effect.provide(command, storeLayer(flags.store))
})
