/**
 * What a run with `--verify` would do, without doing it: every byte of what the plan takes from the store is read.
 *
 * Writes nothing, not even that something is damaged. So what was made from a damaged entry by software that checked
 * nothing is told from here: as such a run would, the plan takes it for suspect, and does not take it from the store.
 */
import { Effect } from "effect"
import type { WiringError } from "../dag/Node.ts"
import type { Plan } from "../dag/Plan.ts"
import { layoutOf } from "../store/Layout.ts"
import { type SourceError, Store, type StoreError } from "../store/Store.ts"
import { type DamageRecord, damagedDigests, suspicions } from "../store/Suspects.ts"
import type { Damaged } from "../store/Verify.ts"
import type { StoredPlanEntry } from "./PlanContext.ts"
import type { Choice, Recipe } from "./Recipe.ts"
import { damagedNames } from "./Repair.ts"
import type { RunOptions, SelectionError } from "./Run.ts"
import { planRecipe } from "./Scheduler.ts"

/** The store, where entries that read what was found damaged are suspect too. */
const suspecting = (store: Store["Service"], found: Map<string, DamageRecord>): Store["Service"] => {
  const layout = layoutOf(store.root)
  return Store.of({
    ...store,
    find: (key, code) =>
      Effect.map(store.find(key, code), (all) =>
        all.map((one) => {
          const suspect = suspicions(layout, one.manifest, found)
          return suspect.length === 0 ? one : { ...one, suspect }
        })
      )
  })
}

/** As `planRecipe`; what is damaged, and what was made from it unchecked, will run and says why. */
export const planVerified = Effect.fn("run.planVerified")(function* <S, R>(
  recipe: Recipe<S, R>,
  choice: Choice,
  options: RunOptions,
  moduleUrl = ""
): Effect.fn.Return<Plan<StoredPlanEntry>, SelectionError | StoreError | SourceError | WiringError, Store> {
  const store = yield* Store
  const found = new Map<string, DamageRecord>()
  /** What is wrong, by the entry's folder. */
  const checked = new Map<string, ReadonlyArray<Damaged>>()
  const planning = Effect.provideService(
    planRecipe(recipe, choice, options, moduleUrl),
    Store,
    suspecting(store, found)
  )
  for (;;) {
    const plan = yield* planning
    const before = found.size
    for (const { decision } of plan.steps) {
      const entry = decision?.entry?.found
      if (entry === undefined || checked.has(entry.folder)) continue
      const damaged = yield* store.verify(entry)
      checked.set(entry.folder, damaged)
      if (damaged.length === 0) continue
      const { key, parts } = entry.manifest
      const digests = [...(found.get(key)?.digests ?? []), ...damagedDigests(entry, damaged)]
      found.set(key, { format: 1, key, definition: parts.definition, digests })
    }
    if (found.size > before) continue
    return {
      steps: plan.steps.map((step) => {
        const damaged = checked.get(step.decision?.entry?.found.folder ?? "") ?? []
        if (damaged.length === 0) return step
        return { ...step, status: "run" as const, because: [`damaged: ${damagedNames(damaged)}`] }
      })
    }
  }
})
