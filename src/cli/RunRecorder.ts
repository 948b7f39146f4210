/**
 * Where the command line meets the store: its layer, and the record of the run under way.
 *
 * Not a store. What the record holds, `run/Record.ts` says. It can fail (a full disk) without ending the run, and
 * reports that once.
 */
import { join } from "node:path"
import { Effect, FileSystem, Scope } from "effect"
import { scrub } from "../dag/Secrets.ts"
import type { View } from "../run/Progress.ts"
import type { Choice } from "../run/Recipe.ts"
import { startRecord, writerOf } from "../run/Record.ts"
import { writeAtomic } from "../store/Durable.ts"
import { layoutOf } from "../store/Layout.ts"
import { layer as localStore } from "../store/LocalStore.ts"
import type { StoreError } from "../store/Store.ts"
import { orWithout } from "../store/Without.ts"
import type { Event } from "./EventJson.ts"
import { makeBoard } from "./report/Board.ts"

/** The store in a folder; with `readOnly` it must exist and is not written. */
export const storeLayer = (root: string, options: { readonly readOnly?: boolean } = {}) =>
  localStore({ root, readOnly: options.readOnly === true })

/** The record of the run under way. */
export interface Recorder {
  /** Id of the run: `20261122-205210-1f3a`; "" while the store takes no bytes. */
  readonly run: string
  /** Records an event; `view` is the view with it. Gives a message when recording just failed for the first time. */
  readonly append: (event: Event, view: View) => Effect.Effect<string | undefined>
  /** Writes the run's page, made for the folder it will lie in, and gives its path; none where there is no record. */
  readonly page: (html: (folder: string) => string) => Effect.Effect<string | undefined, StoreError>
}

/** Where the page of a run lies in the store at `root`. */
export const pagePath = (root: string, run: string): string => join(layoutOf(root).run(run), "report.html")

/**
 * Opens the record of a run in the store at `root`; the file stays open until the scope closes.
 *
 * A store that takes no bytes still answers, so a run goes on without a record. Before its first node runs it tries
 * once more, so that a collection sees every run that makes something.
 */
export const record = (
  root: string,
  pipeline: string,
  choice: Choice
): Effect.Effect<Recorder, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const scope = yield* Effect.scope
    const open = Effect.gen(function* () {
      const log = yield* startRecord(root, pipeline, choice)
      const board = yield* makeBoard(join(log.folder, "tensorboard"))
      const writeEvent = writerOf(log)
      const write = (event: Event, view: View) => Effect.andThen(board.add(event), writeEvent(event, view))
      return { log, write }
    }).pipe(Scope.provide(scope), Effect.provideService(FileSystem.FileSystem, fs))
    let begun = yield* orWithout(root, open)
    let waiting: Array<readonly [Event, View]> | undefined = begun === undefined ? [] : undefined
    let broken = false
    const write = Effect.fnUntraced(function* (event: Event, view: View) {
      if (begun !== undefined) return yield* begun.write(event, view)
      if (waiting === undefined) return
      waiting.push([event, view])
      if (event.event !== "node-start" || event.kind === "source") return
      begun = yield* orWithout(root, open)
      const late = waiting
      waiting = undefined
      if (begun !== undefined) for (const [one, seen] of late) yield* begun.write(one, seen)
    })
    return {
      run: begun?.log.id ?? "",
      page: (html) =>
        Effect.suspend(() => {
          if (begun === undefined) return Effect.undefined
          const path = pagePath(root, begun.log.id)
          return Effect.as(writeAtomic(path, scrub(html(begun.log.folder))), path)
        }).pipe(Effect.provideService(FileSystem.FileSystem, fs)),
      append: (event, view) =>
        Effect.suspend(() =>
          broken
            ? Effect.undefined
            : Effect.as(write(event, view), undefined).pipe(
                Effect.catch((error) => {
                  broken = true
                  return Effect.succeed(
                    `the record of this run cannot be written and ends here (${error.message}); the run goes on`
                  )
                })
              )
        )
    }
  })
