/**
 * Opening a store's folder: its `format.json`, which says the version of the layout.
 *
 * Not the layout itself (`Layout.ts`). A store of another version is refused, and so is a folder of other things. The
 * file carries a checksum since it was found that one flipped bit makes version 1 version 3: a file that is neither of
 * that form nor exactly `{"store":N}` (an earlier version's) is damaged. Then the store is recognised by what else is
 * in it, entries that can be read or unfinished work by its name, and the file is written anew.
 *
 * Lifecycle: written once, before anything else is; durable when `openFolder` returns. Two runs write the same.
 */
import { rmdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { checksummed, type Opened, opener, readOpened } from "./Checksum.ts"
import { listDir, makeFolder, recover, withFs, writeAtomic } from "./Durable.ts"
import { type Layout, placeOf, storeVersion } from "./Layout.ts"
import { readManifest } from "./ReadEntry.ts"
import { StoreError } from "./Store.ts"

const openFormat = opener(Schema.Struct({ store: Schema.Int }))

/** Entries that are tried before a folder counts as no store. */
const TRIED = 32

/** Whether a folder holds something that only a store of this version holds. */
const holdsStore = (layout: Layout): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const work = yield* listDir(layout.works)
    if (work.some((name) => placeOf(join(layout.works, name)) !== undefined)) return true
    let tried = 0
    for (const prefix of yield* listDir(layout.entries))
      for (const key of yield* listDir(join(layout.entries, prefix)))
        for (const code of yield* listDir(layout.keyFolder(key))) {
          const folder = layout.entry(key, code)
          if (placeOf(folder) === undefined) continue
          const manifest = yield* Effect.catchIf(
            readManifest(folder),
            (error) => error.reason === "damaged",
            () => Effect.succeed(undefined)
          )
          if (manifest !== undefined) return true
          if (++tried === TRIED) return false
        }
    return false
  })

/**
 * Writes the file. A store that cannot be written is used as it is: only a warning tells of it, again the next time.
 */
const write = (layout: Layout): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  writeAtomic(layout.format, checksummed({ store: storeVersion }))

const recreate = (
  layout: Layout,
  readOnly: boolean,
  why: string
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const what = `${why}; ${layout.root} is a store of version ${storeVersion} by what else is in it`
    if (readOnly) return yield* Effect.logWarning(what)
    yield* Effect.logWarning(`${what}, and the file is written anew`)
    const notFolder = Effect.ignore(Effect.try({ try: () => rmdirSync(layout.format), catch: (error) => error }))
    yield* Effect.catch(Effect.andThen(notFolder, write(layout)), (error) =>
      Effect.logWarning(`it could not be: ${error.message}`)
    )
  })

/** Opens the folder: made if missing, refused if another version of millrace made it or it holds other things. */
export const openFolder = (layout: Layout, readOnly: boolean): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const wrong = (message: string) =>
      new StoreError({
        reason: "version",
        path: layout.format,
        message,
        hint: `Give another --store folder, or move this one away: this version reads stores of version ${storeVersion}.`
      })
    // names first: another run may make the store now, and its format file is there before anything else in it is
    const names = yield* listDir(layout.root)
    const format: Opened<{ readonly store: number }> | "damaged" | undefined = yield* Effect.catchIf(
      readOpened(layout.format, openFormat),
      (error) => error.reason === "damaged",
      () => Effect.succeed("damaged" as const)
    )
    if (format === "damaged") {
      if (yield* holdsStore(layout)) return yield* recreate(layout, readOnly, `${layout.format} is damaged`)
      return yield* wrong(`${layout.format} is not the format file of a store, and nothing beside it is a store's`)
    }
    if (format !== undefined) {
      const { store } = format.value
      if (store !== storeVersion) return yield* wrong(`${layout.root} is a store of version ${store}`)
      return
    }
    if (names.some((name) => ["entries", "work", "instances"].includes(name))) {
      if (yield* holdsStore(layout)) return yield* recreate(layout, readOnly, `${layout.format} is gone`)
      return yield* wrong(`${layout.root} has entries but no format.json`)
    }
    if (names.some((name) => !name.startsWith(".") && !["runs", "locks", "gc.reserve", "lost+found"].includes(name)))
      return yield* wrong(`${layout.root} is a folder with other things in it, and no store`)
    if (readOnly) {
      const exists = yield* withFs(layout.root, (fs) =>
        recover(Effect.as(fs.stat(layout.root), true), ["NotFound"], false)
      )
      return yield* new StoreError({
        reason: "missing",
        path: layout.root,
        message: exists ? `${layout.root} holds no store` : `${layout.root} does not exist`,
        hint: "Run the recipe once, or give the folder of an existing store with --store."
      })
    }
    yield* makeFolder(layout.root)
    yield* write(layout)
  })
