/**
 * Makes a run's page and hands it to the record.
 *
 * Not allowed to fail a run: the page is for people, and what the run made is in the store. A recipe's part that fails
 * is left out and named on the page; a page that cannot be written is reported.
 */
import { relative, sep } from "node:path"
import { Cause, Clock, Effect, Exit } from "effect"
import type { Part } from "../../dag/Sections.ts"
import type { Recipe } from "../../run/Recipe.ts"
import { Store, type StoreError } from "../../store/Store.ts"
import { tell } from "../ErrorLines.ts"
import { finished } from "./Finished.ts"
import { page, type ReportData } from "./Page.ts"

/** A path as a link from the page's folder, which moves with the store. */
const linkFrom =
  (folder: string) =>
  (path: string): string =>
    relative(folder, path).split(sep).map(encodeURIComponent).join("/")

const partOf = (recipe: Pick<Recipe<any, any>, "report">, run: Pick<ReportData, "pipeline" | "view">) =>
  Effect.gen(function* () {
    if (recipe.report === undefined) return {}
    const store = yield* Store
    const built = Effect.suspend(() => recipe.report!(finished(store, run.pipeline, run.view)))
    const exit: Exit.Exit<Part, unknown> = yield* Effect.exit(Effect.scoped(built))
    return Exit.isSuccess(exit) ? { part: exit.value } : { partError: tell(Cause.squash(exit.cause)).message }
  })

/** Writes the page; gives its path, or why there is none; neither where the run has no record. */
export const writePage = (
  recipe: Pick<Recipe<any, any>, "report">,
  run: Omit<ReportData, "part" | "partError" | "link" | "endedMs">,
  write: (html: (folder: string) => string) => Effect.Effect<string | undefined, StoreError>
): Effect.Effect<{ readonly path?: string; readonly failed?: string }, never, Store> =>
  Effect.gen(function* () {
    const part = yield* partOf(recipe, run)
    const endedMs = yield* Clock.currentTimeMillis
    const path = yield* write((folder) => page({ ...run, ...part, endedMs, link: linkFrom(folder) }))
    if (path === undefined) return {}
    return {
      path,
      ...(part.partError === undefined
        ? {}
        : { failed: `the recipe's part of ${path} could not be made: ${part.partError}` })
    }
  }).pipe(
    Effect.catchCause((cause) =>
      Effect.succeed({ failed: `the page of this run could not be written: ${tell(Cause.squash(cause)).message}` })
    )
  )
