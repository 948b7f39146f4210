/**
 * Records of runs: who ran what, when, with which settings, how it ended, and every event on the way.
 *
 * Not what decides what is done (the manifests do) and no part of any key: times and process ids live here and only
 * here. Events are JSON; their types belong to whoever writes them. An event is appended with one write and reaches the
 * disk at the latest when the run ends; a line that a killed run left half written is ignored by readers.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Clock, Effect, FileSystem, Random, Schema, Scope, Semaphore, Stream } from "effect"
import {
  fromPlatform,
  listDir,
  makeFolder,
  readJsonIfGood,
  recover,
  syncFolder,
  withFs,
  writeAtomic
} from "./Durable.ts"
import { lockGc } from "./GcLock.ts"
import { type Layout, layoutOf } from "./Layout.ts"
import { looksOver } from "./Lease.ts"
import { settle, tryLock } from "./Lock.ts"
import * as Process from "./Process.ts"
import { StoreError } from "./Store.ts"

/** How a run stands. `killed` is never written: it is what a running record of a dead process is shown as. */
export const RunStatus = Schema.Literals(["running", "done", "failed", "interrupted", "killed"])
export type RunStatus = typeof RunStatus.Type

export const RunRecord = Schema.Struct({
  format: Schema.Literal(1),
  id: Schema.String,
  pipeline: Schema.String,
  /** Settings of the run as JSON (preset, overrides, engine); never raw arguments, which may hold secrets. */
  settings: Schema.Json,
  /** Milliseconds since 1970, UTC. */
  startedMs: Schema.Number,
  endedMs: Schema.optional(Schema.Number),
  status: RunStatus,
  /** Per instance: whatever the runner says (status, key, rows). */
  nodes: Schema.Record(Schema.String, Schema.Json),
  process: Process.Identity
})
export type RunRecord = typeof RunRecord.Type

/** A run under way. */
export interface RunLog {
  readonly id: string
  /** Absolute folder of the record. */
  readonly folder: string
  /** Appends one event. Events of one run keep their order. */
  readonly event: (event: Schema.Json) => Effect.Effect<void, StoreError>
  /** Writes what is known of the instances so far; the status stays `running`. */
  readonly update: (nodes: Readonly<Record<string, Schema.Json>>) => Effect.Effect<void, StoreError>
  /** Ends the record. */
  readonly end: (
    status: "done" | "failed" | "interrupted",
    nodes?: Readonly<Record<string, Schema.Json>>
  ) => Effect.Effect<void, StoreError>
}

/** `20260131-235959-0a1b`: sorts by start, UTC. */
const makeId = Effect.gen(function* () {
  const now = yield* Clock.currentTimeMillis
  const [day, time] = new Date(now).toISOString().split("T")
  const salt = yield* Random.nextIntBetween(0, 0x10000)
  return `${day!.replaceAll("-", "")}-${time!.slice(0, 8).replaceAll(":", "")}-${salt.toString(16).padStart(4, "0")}`
})

const runFile = (folder: string): string => join(folder, "run.json")
const eventsFile = (folder: string): string => join(folder, "events.jsonl")
/** Held by the run while it lasts: its lease shows to other machines that it does. */
const lockFile = (folder: string): string => join(folder, "run.lock")

/** A folder for a new run; gives its id. */
const makeRunFolder = Effect.fnUntraced(function* (layout: Layout) {
  for (;;) {
    const id = yield* makeId
    const folder = layout.run(id)
    const made = yield* withFs(folder, (files) =>
      recover(Effect.as(files.makeDirectory(folder), true), ["AlreadyExists"], false)
    )
    if (made) return id
  }
})

/**
 * Opens the record of a new run in the store at `root`. The events' file stays open until the scope closes.
 *
 * A scope that closes before `end` leaves the record `running`: `list` shows it as `killed` once the process is gone.
 *
 * @example
 * const log = yield* start(store.root, { pipeline: "llava-phi", settings: { preset: "sample" } })
 * yield* log.event({ type: "node-started", node: "clean" })
 * yield* log.end("done")
 */
export const start = (
  root: string,
  run: { readonly pipeline: string; readonly settings: Schema.Json }
): Effect.Effect<RunLog, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const layout = layoutOf(root)
    const startedMs = yield* Clock.currentTimeMillis
    const process = Process.self()
    yield* makeFolder(layout.runs)
    let record: RunRecord
    const write = (next: RunRecord) =>
      Effect.suspend(() => {
        record = next
        const path = runFile(layout.run(next.id))
        const text = JSON.stringify(next, undefined, 2) + "\n"
        return Effect.provideService(writeAtomic(path, text), FileSystem.FileSystem, fs)
      })
    const scope = yield* Effect.scope
    const begin = Effect.gen(function* () {
      // A collection that is removing finishes first; one that comes later finds this record and leaves the store
      // alone. The folder is made under its lock too: what a collection finds without a record is nobody's.
      yield* lockGc(layout)
      const id = yield* makeRunFolder(layout)
      const folder = layout.run(id)
      const path = eventsFile(folder)
      const { pipeline, settings } = run
      const first: RunRecord = { format: 1, id, pipeline, settings, startedMs, status: "running", nodes: {}, process }
      const opened = withFs(path, (files) => Scope.provide(files.open(path, { flag: "a" }), scope))
      // On a full disk a folder can be made where its files cannot.
      const events = yield* Effect.onError(
        Effect.tap(opened, () => Effect.andThen(Scope.provide(tryLock(lockFile(folder)), scope), write(first))),
        () => Effect.ignore(withFs(folder, (files) => files.remove(folder, { recursive: true, force: true })))
      )
      yield* syncFolder(layout.runs)
      return { id, folder, events }
    })
    const { events, folder, id } = yield* Effect.scoped(begin)
    const one = yield* Semaphore.make(1)
    const text = new TextEncoder()
    const said = fromPlatform(eventsFile(folder))
    return {
      id,
      folder,
      event: (event) =>
        one.withPermits(1)(Effect.mapError(events.writeAll(text.encode(JSON.stringify(event) + "\n")), said)),
      update: (nodes) => one.withPermits(1)(Effect.suspend(() => write({ ...record, nodes }))),
      end: (status, nodes) =>
        one.withPermits(1)(
          Effect.gen(function* () {
            yield* Effect.mapError(events.sync, said)
            yield* write({
              ...record,
              status,
              endedMs: yield* Clock.currentTimeMillis,
              ...(nodes === undefined ? {} : { nodes })
            })
          })
        )
    }
  })

/**
 * A running record whose process is gone is shown as killed. Where that cannot be seen (another machine, a boot before
 * this one), the lease of the run's lock tells; without a lock (an earlier version wrote the record) it counts as gone.
 */
const shown = (layout: Layout, record: RunRecord): Effect.Effect<RunRecord, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    if (record.status !== "running") return record
    const alive = Process.liveness(record.process)
    const gone = alive === "dead" || (alive === "unknown" && (yield* looksOver(lockFile(layout.run(record.id)))))
    return gone ? { ...record, status: "killed" } : record
  })

/** Watches the runs that cannot be seen from here for a lease, all at once; of those that ended, no lock is left. */
export const settleRuns = (root: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const locks = (yield* listDir(layout.runs)).map((id) => lockFile(join(layout.runs, id)))
    yield* settle(locks.filter((path) => existsSync(path))) // few of many: most runs have ended
  })

/**
 * A record out of `JSON.parse`, whose values are JSON as they are: to look at each of them took longer than all else.
 */
const Parsed = Schema.Struct({
  ...RunRecord.fields,
  settings: Schema.Unknown,
  nodes: Schema.Record(Schema.String, Schema.Unknown)
})
const decodeParsed = Schema.decodeUnknownSync(Parsed)
const recordNow = (path: string): RunRecord => decodeParsed(JSON.parse(readFileSync(path, "utf8"))) as RunRecord

/** The same where nothing is wrong; undefined is to be read again by what tells why. */
const recordIfGood = (path: string): RunRecord | undefined => {
  try {
    return recordNow(path)
  } catch {
    return undefined
  }
}

/** All runs of a store, newest first. Damaged records are reported and left out. */
export const list = (root: string): Effect.Effect<ReadonlyArray<RunRecord>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const out: Array<RunRecord> = []
    for (const id of yield* listDir(layout.runs)) {
      const path = runFile(layout.run(id))
      // Through the FileSystem service, or with an effect for each, five thousand records take twice to ten times as
      // long.
      const record = recordIfGood(path) ?? (yield* readJsonIfGood(path, RunRecord))
      if (record !== undefined) out.push(record.status === "running" ? yield* shown(layout, record) : record)
    }
    return out.sort((a, b) => b.startedMs - a.startedMs || (a.id < b.id ? 1 : -1)) // ids tell seconds only
  })

/** One run's record, by its id or by the only id that starts so. Fails with `missing`. */
export const show = (root: string, id: string): Effect.Effect<RunRecord, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const names = yield* listDir(layout.runs)
    const matching = names.includes(id) ? [id] : names.filter((name) => name.startsWith(id))
    const path = layout.run(matching[0] ?? id)
    const record = matching.length === 1 ? yield* readJsonIfGood(runFile(path), RunRecord) : undefined
    if (record !== undefined) return yield* shown(layout, record)
    const latest = (yield* list(root))[0]
    return yield* new StoreError({
      reason: "missing",
      path,
      message: matching.length > 1 ? `${matching.length} runs start with ${id}` : `there is no run ${id}`,
      hint: latest === undefined ? "This store has seen no run yet." : `The latest run is ${latest.id}.`
    })
  })

/** Bytes of events that are read at a time: few enough to stay in a processor's cache. */
const CHUNK = 1 << 19
const newline = 10

/**
 * Events as they are written: texts of whole lines, each line ended by a newline; a half-written last line is left out.
 */
const lines = (path: string): Stream.Stream<string, StoreError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const bytes = Stream.mapError(fs.stream(path, { chunkSize: CHUNK }), fromPlatform(path))
      let rest: ReadonlyArray<Uint8Array> = []
      return Stream.map(bytes, (chunk) => {
        const end = chunk.lastIndexOf(newline) + 1
        const text = end === 0 ? "" : Buffer.concat([...rest, chunk.subarray(0, end)]).toString("utf8")
        rest = end === 0 ? [...rest, chunk] : [chunk.subarray(end)]
        return text
      })
    })
  )

/** One line as JSON; throws the error that says which file is damaged. */
const parseIn =
  (path: string) =>
  (line: string): Schema.Json => {
    try {
      return JSON.parse(line) as Schema.Json
    } catch (cause) {
      throw new StoreError({
        reason: "damaged",
        path,
        message: `${path} holds a line that is not JSON`,
        hint: "The file was edited; the lines before it are good.",
        cause
      })
    }
  }

/** What `now` gives or the `StoreError` that it throws; anything else thrown is a defect. */
const orDamaged = <A>(now: () => A): Effect.Effect<A, StoreError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(now())
    } catch (error) {
      return error instanceof StoreError ? Effect.fail(error) : Effect.die(error)
    }
  })

/** The events of a run in order, as far as they are written; a half-written last line is left out. */
export const events = (root: string, id: string): Stream.Stream<Schema.Json, StoreError, FileSystem.FileSystem> => {
  const path = eventsFile(layoutOf(root).run(id))
  const parse = parseIn(path)
  return lines(path).pipe(
    Stream.mapEffect((text) =>
      orDamaged(() =>
        text
          .split("\n")
          .filter((line) => line !== "")
          .map(parse)
      )
    ),
    Stream.flatMap((some) => Stream.fromIterable(some))
  )
}

/**
 * The same events as texts of whole lines, many at a time, for a reader that needs few of them: `see` calls `parse` for
 * those. An empty line is no event.
 */
export const eachLines = (
  root: string,
  id: string,
  see: (text: string, parse: (line: string) => Schema.Json) => void
): Effect.Effect<void, StoreError, FileSystem.FileSystem> => {
  const path = eventsFile(layoutOf(root).run(id))
  return Stream.runForEach(lines(path), (text) => orDamaged(() => see(text, parseIn(path))))
}
