/**
 * The TensorBoard event file of a run under way: what training nodes say, appended as they say it.
 *
 * Not the record of the run (`events.jsonl` is). A node publishes at most a hundred steps a second; of shorter steps
 * some are left out. The file is made with the first figure, so a run that trains nothing leaves none; what a killed
 * run wrote can be read. Its name is durable when it is made, its bytes when the scope closes.
 */
import { join } from "node:path"
import { Effect, FileSystem, Scope, Semaphore } from "effect"
import type { Event } from "../../run/Events.ts"
import { fromPlatform, makeFolder, syncFolder, withFs } from "../../store/Durable.ts"
import type { StoreError } from "../../store/Store.ts"
import { eventFileName, fileVersion, scalars } from "./EventFile.ts"

export interface Board {
  /** Appends the figures of a training step; other events are none of its business. */
  readonly add: (event: Event) => Effect.Effect<void, StoreError>
}

/** A board that writes to `folder` and closes its file with the scope. Tags are `node/figure`: `sft/train/loss`. */
export const makeBoard = (folder: string): Effect.Effect<Board, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const scope = yield* Effect.scope
    let file: FileSystem.File | undefined
    let path = folder
    const opened = Effect.fnUntraced(function* (atMs: number) {
      if (file !== undefined) return file
      yield* makeFolder(folder)
      path = join(folder, eventFileName(atMs))
      const built = yield* withFs(path, (files) => Scope.provide(files.open(path, { flag: "a" }), scope))
      file = built
      yield* Scope.addFinalizer(
        scope,
        Effect.catch(built.sync, (error) => Effect.logWarning(`${path}: ${error.message}`))
      )
      yield* Effect.mapError(built.writeAll(fileVersion(atMs)), fromPlatform(path))
      yield* syncFolder(folder)
      return built
    })
    const add = Effect.fnUntraced(function* (event: Event) {
      if (event.event !== "node-progress" || event.metrics === undefined) return
      const { at, metrics, node, step } = event
      if (step === undefined || !Number.isSafeInteger(step) || step < 0) return
      const figures = Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`${node}/${name}`, value]))
      if (Object.keys(figures).length === 0) return
      const to = yield* opened(at)
      yield* Effect.mapError(to.writeAll(scalars(at, step, figures)), fromPlatform(path))
    })
    // Events come from several fibers; a record must not be torn.
    const one = yield* Semaphore.make(1)
    return { add: (event) => Effect.provideService(one.withPermits(1)(add(event)), FileSystem.FileSystem, fs) }
  })
