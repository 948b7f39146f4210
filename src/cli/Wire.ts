/**
 * Where the command line meets the store: its layer, and the record of the run under way.
 *
 * Not a store. The record holds every event, progress thinned to one a second and node: a week of training must not
 * leave gigabytes. It can fail (a full disk) without ending the run; that is told once.
 */
import { join } from "node:path"
import { Effect, FileSystem, type Schema, type Scope } from "effect"
import { scrub, scrubJson } from "../dag/Secrets.ts"
import type { View } from "../run/Progress.ts"
import type { Choice } from "../run/Recipe.ts"
import { writeWhole } from "../store/Durable.ts"
import { layoutOf } from "../store/Layout.ts"
import { layer as localStore } from "../store/LocalStore.ts"
import * as RunLog from "../store/RunLog.ts"
import type { StoreError } from "../store/Store.ts"
import { type Event, encodeEvent } from "./EventJson.ts"
import { makeBoard } from "./report/Board.ts"

/** The store in a folder; with `readOnly` it must exist and is not written. */
export const storeLayer = (root: string, options: { readonly readOnly?: boolean } = {}) =>
  localStore({ root, readOnly: options.readOnly === true })

/** Progress of one node is recorded at most this often; the last before its end always is. */
const progressEveryMs = 1000

/** What a run's record says of each node so far. */
const nodesOf = (view: View): Readonly<Record<string, Schema.Json>> =>
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

/** The record of the run under way. */
export interface Recorder {
  /** Id of the run: `20261122-205210-1f3a`. */
  readonly run: string
  /** Records an event; `view` is the view with it. Gives a message when recording just failed for the first time. */
  readonly append: (event: Event, view: View) => Effect.Effect<string | undefined>
  /** Writes the run's page, made for the folder it will lie in, and gives its path. */
  readonly page: (html: (folder: string) => string) => Effect.Effect<string, StoreError>
}

/** Where the page of a run lies in the store at `root`. */
export const pagePath = (root: string, run: string): string => join(layoutOf(root).run(run), "report.html")

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

/** Opens the record of a run in the store at `root`; the file stays open until the scope closes. */
export const record = (
  root: string,
  pipeline: string,
  choice: Choice
): Effect.Effect<Recorder, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const log = yield* RunLog.start(root, {
      pipeline,
      settings: { preset: choice.preset, engine: choice.engine, set: [...choice.settings] }
    })
    const fs = yield* FileSystem.FileSystem
    const board = yield* makeBoard(join(log.folder, "tensorboard"))
    const thin = makeThinning()
    let broken = false
    const write = (event: Event, view: View) =>
      Effect.gen(function* () {
        yield* board.add(event)
        for (const one of thin(event)) yield* log.event(scrubJson(encodeEvent(one)))
        if (event.event === "node-end") yield* log.update(nodesOf(view))
        if (event.event === "run") yield* log.end(ends[event.status], nodesOf(view))
      })
    return {
      run: log.id,
      page: (html) =>
        Effect.suspend(() => {
          const path = pagePath(root, log.id)
          return Effect.as(writeWhole(path, scrub(html(log.folder))), path)
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
