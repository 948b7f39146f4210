/**
 * What may go from a store. Looks only: `Gc.ts` removes it.
 *
 * Kept: everything that the last manifests of the given pipelines and the pins reach through their parents
 * (`Reached.ts`); downloads that these read, or that a source of the pipelines was last; links to its files and digests
 * of them; work and downloads that a living process has locked; unfinished work and downloads that could still be
 * resumed, unless asked for; records of damage while a kept result is suspect by one, or unfinished work may be. What
 * killed processes left is garbage (`Leftovers.ts`).
 *
 * Records of runs stay unless asked for (`runs`): then all but the newest of each pipeline, those younger than some
 * days, and those that made something that is kept.
 */
import { lstatSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Clock, Effect, type FileSystem } from "effect"
import { listDir } from "./Durable.ts"
import { namesNow, now } from "./Errno.ts"
import { checkpointsFolder, type Layout, layoutOf, recordsFolder } from "./Layout.ts"
import { type Kept, leftovers } from "./Leftovers.ts"
import { isHeld } from "./Lock.ts"
import { hex, reached, readAll } from "./Reached.ts"
import * as RunLog from "./RunLog.ts"
import { unreached, unreachedViews, used } from "./remote/Unreached.ts"
import type { StoreError } from "./Store.ts"
import { suspicions } from "./Suspects.ts"

/** Something that would go. */
export interface Garbage {
  readonly kind: "entry" | "work" | "checkpoints" | "download" | "links" | "digests" | "run" | "leftover"
  /** Absolute path. */
  readonly path: string
  /** Bytes on disk. */
  readonly bytes: number
  /** Definition id of an entry, or why it is garbage. */
  readonly what: string
  readonly key: string
  readonly code: string
  /** Held while it is removed; of an entry and of work their own. */
  readonly lock?: string
}

/** What a collection would do. */
export interface GcPlan {
  readonly garbage: ReadonlyArray<Garbage>
  /** Bytes of all garbage. */
  readonly bytes: number
  /** Entries that are reached. */
  readonly kept: number
  /** Unfinished work that is kept because it can be resumed; `unfinished: true` gives it up. */
  readonly resumable: ReadonlyArray<Garbage>
  /** Records of runs that the rules of `runs` let go: garbage where those were given, else only counted. */
  readonly oldRuns: number
  readonly options: GcOptions
}

/** Which records of runs stay, besides those that made something that is kept. */
export interface RunRules {
  /** The newest so many of each pipeline. */
  readonly keepLast: number
  /** All that started within so many days. */
  readonly keepDays: number
}

/** What `gc --runs` keeps when it is told nothing else. */
export const runRules: RunRules = { keepLast: 100, keepDays: 90 }

export interface GcOptions {
  /** Pipelines whose last manifests are roots; all that the store knows when left out. */
  readonly pipelines?: ReadonlyArray<string>
  /** Also give up unfinished work that nobody works on. */
  readonly unfinished?: boolean
  /** Also remove records of runs but these. */
  readonly runs?: RunRules
}

/** Bytes of a file or of all files under a folder; links count as what they are, and what is gone as nothing. */
const bytesNow = (path: string): number => {
  const info = lstatSync(path, { throwIfNoEntry: false })
  if (info?.isDirectory() !== true) return info?.size ?? 0
  let bytes = 0
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    bytes += entry.isDirectory() ? bytesNow(inner) : (lstatSync(inner, { throwIfNoEntry: false })?.size ?? 0)
  }
  return bytes
}

const bytesUnder = (path: string): Effect.Effect<number, StoreError> => now(path, () => bytesNow(path))

/**
 * What would go, and how much. Changes nothing.
 *
 * `before`: a plan of a moment ago, for which this one looks whether it still holds. What that said of something's
 * size, and of what an entry is, is not looked up again; what is reached is.
 *
 * Longer than a screen: one pass over each kind of thing in the store.
 *
 * @example
 * const plan = yield* Gc.plan(store.root, { pipelines: ["llava-phi"] })
 * yield* Gc.collect(store.root, plan)
 */
export const plan = (
  root: string,
  options: GcOptions = {},
  before?: GcPlan
): Effect.Effect<GcPlan, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const known = new Map(before?.garbage.map((one) => [one.path, one]))
    const all = yield* readAll(layout)
    const keep = yield* reached(layout, all, options.pipelines)
    const garbage: Array<Garbage> = []
    const resumable: Array<Garbage> = []
    const add = (into: Array<Garbage>, one: Omit<Garbage, "bytes">) =>
      Effect.map(bytesOf(one.path), (bytes) => {
        into.push({ ...one, bytes })
      })
    const bytesOf = (path: string) => {
      const bytes = known.get(path)?.bytes
      return bytes === undefined ? bytesUnder(path) : Effect.succeed(bytes)
    }
    const kept: Array<Kept> = []
    for (const { code, folder, key, manifest: read } of [...all.values()].flat()) {
      const checkpoints = checkpointsFolder(folder)
      if (!keep.has(folder)) {
        const shown = known.get(folder)
        const what = shown?.kind === "entry" ? shown.what : ((yield* read)?.parts.definition ?? "damaged entry")
        yield* add(garbage, { kind: "entry", path: folder, what, key, code })
        continue
      }
      const manifest = yield* read
      kept.push({ kind: "entry", folder, manifest, lock: layout.lock(key, code) })
      if ((yield* now(checkpoints, () => namesNow(checkpoints))).length > 0) {
        const what = `checkpoints of finished ${manifest?.parts.definition ?? "work"}`
        yield* add(garbage, { kind: "checkpoints", path: checkpoints, what, key, code })
      }
    }
    for (const name of yield* listDir(layout.works)) {
      const path = join(layout.works, name)
      const [key = "", code = ""] = name.split(".")
      if (!hex.test(key) || !hex.test(code)) continue
      if (yield* isHeld(layout.lock(key, code))) continue
      const elsewhere = (all.get(key) ?? []).find((node) => node.code === code)
      const done = elsewhere !== undefined && (yield* elsewhere.manifest) !== undefined
      const something =
        (yield* listDir(recordsFolder(path))).length > 0 || (yield* listDir(checkpointsFolder(path))).length > 0
      const goes = done || !something || options.unfinished === true
      const what = done ? "finished elsewhere" : something ? "unfinished work" : "empty work"
      yield* add(goes ? garbage : resumable, { kind: "work", path, what, key, code })
      if (!goes) kept.push({ kind: "work", folder: path, manifest: undefined, lock: layout.lock(key, code) })
    }
    const uses = yield* used(layout, options.pipelines)
    const content = new Set(uses.map(({ digest }) => digest))
    for (const { manifest } of kept)
      for (const digest of Object.values(manifest?.parts.inputs ?? {})) content.add(digest)
    for (const { resumable: goesOn, ...one } of yield* unreached(layout, content))
      yield* add(goesOn && options.unfinished !== true ? resumable : garbage, { ...one, key: "", code: "" })
    // What links lead to is no part of the store, and may be gone.
    for (const one of yield* unreachedViews(layout, uses))
      if (one.kind === "links") garbage.push({ ...one, bytes: 0, key: "", code: "" })
      else yield* add(garbage, { ...one, key: "", code: "" })
    const made = new Set(kept.filter((one) => one.kind === "entry").map(({ folder }) => folder))
    const oldRuns = yield* runsToGo(layout, options.runs ?? runRules, made)
    if (options.runs !== undefined)
      for (const run of oldRuns)
        yield* add(garbage, {
          kind: "run",
          path: layout.run(run.id),
          what: `run of ${run.pipeline}`,
          key: "",
          code: ""
        })
    if (resumable.length === 0 && !kept.some(({ manifest }) => manifest && suspicions(layout, manifest).length > 0))
      for (const name of yield* listDir(layout.damages))
        if (name.endsWith(".json"))
          yield* add(garbage, {
            kind: "leftover",
            path: join(layout.damages, name),
            what: "record of damage, nothing made from it is left",
            key: "",
            code: ""
          })
    const gone = new Set(garbage.map(({ path }) => path))
    for (const one of yield* leftovers(layout, kept, gone))
      yield* add(garbage, { ...one, kind: "leftover", key: "", code: "" })
    const bytes = garbage.reduce((sum, one) => sum + one.bytes, 0)
    return { garbage, bytes, kept: keep.size, resumable, oldRuns: oldRuns.length, options }
  })

/** Keys and codes of what a run made itself, as folders of entries. */
const madeBy = (layout: Layout, run: RunLog.RunRecord): ReadonlyArray<string> =>
  Object.values(run.nodes).flatMap((node) => {
    const { code, key, status } = (node ?? {}) as Readonly<Record<string, unknown>>
    return status === "ran" && typeof key === "string" && typeof code === "string" ? [layout.entry(key, code)] : []
  })

/** Records of runs that the rules let go, newest first. */
const runsToGo = Effect.fnUntraced(function* (layout: Layout, rules: RunRules, kept: ReadonlySet<string>) {
  const since = (yield* Clock.currentTimeMillis) - rules.keepDays * 86_400_000
  const newer = new Map<string, number>()
  return (yield* RunLog.list(layout.root)).filter((run) => {
    const before = newer.get(run.pipeline) ?? 0
    newer.set(run.pipeline, before + 1)
    if (before < rules.keepLast || run.startedMs >= since || run.status === "running") return false
    return !madeBy(layout, run).some((folder) => kept.has(folder))
  })
})
