/**
 * What a plan's training will cost, shown under the plan.
 *
 * Not the formulas: the recipe's `cost` has them. Here it is given the nodes, what is stored, and what was asked for.
 */
import { existsSync } from "node:fs"
import { Effect, type Scope } from "effect"
import { type Artifact, type Handle, InputUnavailable } from "../dag/Artifact.ts"
import type { Costing, Estimate } from "../dag/Costing.ts"
import type { AnyNode, AnyRef } from "../dag/Node.ts"
import type { PlanStep } from "../dag/Plan.ts"
import { isRemote } from "../dag/Source.ts"
import type { StoredPlanEntry } from "../run/PlanContext.ts"
import type { Recipe } from "../run/Recipe.ts"
import { Store } from "../store/Store.ts"
import type { Chosen } from "./Choose.ts"

/** Flags that only a plan's cost reads. */
export interface CostFlags {
  readonly nproc: number | undefined
  readonly gpu: string | undefined
  readonly mfu: number | undefined
}

/** Nothing where the recipe does not say. `steps` are those that were planned; none where a source is missing. */
export const costOf = <S, R>(
  recipe: Recipe<S, R>,
  chosen: Chosen<R>,
  nodes: ReadonlyArray<AnyNode>,
  steps: ReadonlyArray<PlanStep<StoredPlanEntry>>,
  flags: CostFlags
): Effect.Effect<Estimate | undefined, any, Store> =>
  Effect.gen(function* () {
    if (recipe.cost === undefined) return undefined
    const store = yield* Store
    const entries = new Map(steps.map(({ decision, node }) => [node, decision?.entry]))
    const open = <A extends Artifact>(
      ref: AnyRef | undefined,
      artifact: A
    ): Effect.Effect<Handle<A> | undefined, InputUnavailable, Scope.Scope> => {
      if (ref === undefined || ref.artifact.tag !== artifact.tag) return Effect.succeed(undefined)
      const { location } = ref.node
      if (location !== undefined)
        return Effect.succeed(
          !isRemote(location) && existsSync(location) ? ({ path: location } as unknown as Handle<A>) : undefined
        )
      const entry = entries.get(ref.node)
      if (entry === undefined) return Effect.succeed(undefined)
      return Effect.mapError(
        store.open(entry.found, ref.port, artifact),
        (cause) => new InputUnavailable({ port: ref.port, message: cause.message, hint: cause.hint, cause })
      ) as Effect.Effect<Handle<A>, InputUnavailable, Scope.Scope>
    }
    const asked: Costing = {
      nodes,
      cached: (node) => entries.get(node) !== undefined,
      engine: chosen.choice.engine,
      engineOpen: chosen.engineWhy !== undefined,
      world: flags.nproc ?? 1,
      gpu: flags.gpu,
      mfu: flags.mfu,
      open
    }
    const estimate = yield* Effect.scoped(recipe.cost(recipe.presets[chosen.choice.preset]!, asked))
    return estimate.lines.length === 0 ? undefined : estimate
  })
