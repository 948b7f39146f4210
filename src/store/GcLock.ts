/**
 * The lock of a collection, which needs no free byte: a full disk is when a collection is wanted most.
 *
 * Not the lock of a key (`Lock.ts`). Two ways to hold it, each seen by the other:
 *
 *   locks/gc.lock              as any lock: a file with its holder's identity. The usual way
 *   locks/gc.by+<identity>     where that cannot be written: an empty file whose name is the identity. Where not even
 *                              an empty file can be made, `gc.reserve` is renamed to it, which lies ready
 *
 * Whoever holds one looks for the other afterwards: the holder of `gc.lock` waits until no living process has its name
 * there, who has put its name there takes it back while `gc.lock` is held. So one of the two always goes on. A name is
 * used once, so that of a dead process can be removed by anybody.
 */
import { basename, join } from "node:path"
import { Clock, Duration, Effect, FileSystem, Schedule, type Scope } from "effect"
import { listDir, makeFolder, recover, token, withFs } from "./Durable.ts"
import type { Layout } from "./Layout.ts"
import { isOver, LEASE_MS, type Watches } from "./Lease.ts"
import { isHeld, lockFenced, locksLike, tryLock } from "./Lock.ts"
import * as Process from "./Process.ts"
import { type Fence, StoreError } from "./Store.ts"
import { isUnwritable } from "./Without.ts"

const PREFIX = "gc.by+"
const SEPARATOR = "+" // no part has one: encodeURIComponent writes %2B

const nameOf = ({ boot, host, namespace, pid, start }: Process.Identity): string =>
  PREFIX + [token(), String(pid), start, boot, namespace, host].map(encodeURIComponent).join(SEPARATOR)

/** Who put a name among the locks; undefined for any other name. */
export const announcedBy = (name: string): Process.Identity | undefined => {
  if (!name.startsWith(PREFIX)) return undefined
  const [, pid, start, boot, namespace, host] = name.slice(PREFIX.length).split(SEPARATOR).map(decodeURIComponent)
  if (host === undefined) return undefined
  return { pid: Number(pid), start: start!, boot: boot!, namespace: namespace!, host }
}

/**
 * Names of others that live, or may. One that cannot be looked at is removed once its file's time stayed the same for
 * the length of a lease: its holder sets that anew, which takes no byte either.
 */
const announced = (
  layout: Layout,
  own: string | undefined,
  watches: Watches
): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<string> = []
    for (const name of yield* listDir(layout.locks)) {
      const by = name === own ? undefined : announcedBy(name)
      const alive = by === undefined ? "dead" : Process.liveness(by)
      if (alive === "dead") continue
      const path = join(layout.locks, name)
      const info = yield* withFs(path, (fs) => recover(fs.stat(path), ["NotFound"], undefined))
      if (info === undefined) continue
      const sign = info.mtime._tag === "Some" ? String(info.mtime.value.getTime()) : ""
      if (alive === "unknown" && (yield* isOver(watches, path, sign, LEASE_MS)))
        yield* withFs(path, (fs) => fs.remove(path, { force: true }))
      else out.push(name)
    }
    return out
  })

/** Sets the time of a name's file anew for ever: the caller interrupts it. */
const renewed = (fs: FileSystem.FileSystem, path: string): Effect.Effect<never> => {
  const once = Effect.flatMap(Clock.currentTimeMillis, (ms) => fs.utimes(path, new Date(ms), new Date(ms)))
  return Effect.forever(Effect.andThen(Effect.sleep(LEASE_MS / 3), Effect.ignore(once)))
}

/** A collection's hold on a store. */
export interface Hold {
  /** Takes the lock of one thing for the scope; fails with `locked` while somebody has it. */
  readonly also: (path: string) => Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope>
}

const patience = Schedule.exponential("50 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.jittered
)

const waitFor = (
  layout: Layout,
  others: Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    let told = false
    const free = Effect.gen(function* () {
      const [first] = yield* others
      if (first === undefined) return true
      if (!told) yield* Effect.logInfo(`waiting for a collection: ${join(layout.locks, first)}`)
      told = true
      return false
    })
    yield* Effect.repeat(free, { until: (isFree) => isFree, schedule: patience })
  })

/** Makes the file that a name can be made of when nothing else can be made. */
const reserve = (layout: Layout): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  withFs(layout.gcReserve, (fs) =>
    Effect.scoped(Effect.asVoid(recover(fs.open(layout.gcReserve, { flag: "wx" }), ["AlreadyExists"], undefined)))
  )

/** Holds `gc.lock` for the scope, waiting for a living holder of either kind. For whoever starts a run, and `hold`. */
export const lockGc = (layout: Layout): Effect.Effect<Fence, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const held = yield* lockFenced(layout.gcLock)
    yield* waitFor(layout, announced(layout, undefined, new Map()))
    yield* Effect.ignore(reserve(layout))
    return held
  })

/** Puts this process's name among the locks; gives how to take it back. */
const announce = (
  layout: Layout
): Effect.Effect<
  { readonly name: string; readonly withdraw: Effect.Effect<void> },
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = join(layout.locks, nameOf(Process.self()))
    const made = Effect.as(Effect.scoped(withFs(path, () => fs.open(path, { flag: "wx" }))), false)
    const reserved = yield* Effect.catchIf(made, isUnwritable, (error) =>
      Effect.as(
        Effect.mapError(
          withFs(path, () => fs.rename(layout.gcReserve, path)),
          () => error
        ),
        true
      )
    )
    const back = reserved ? fs.rename(path, layout.gcReserve) : fs.remove(path)
    const withdraw = Effect.catch(back, (error) => Effect.logWarning(`${path} stays behind: ${error.message}`))
    return { name: basename(path), withdraw }
  })

/** Without a byte: one attempt. Undefined while somebody else has the lock. */
const attempt = (
  layout: Layout,
  watches: Watches
): Effect.Effect<Hold | undefined, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { name, withdraw } = yield* announce(layout)
      const isTaken = Effect.gen(function* () {
        return (yield* isHeld(layout.gcLock)) || (yield* announced(layout, name, watches)).length > 0
      })
      if (yield* Effect.onError(isTaken, () => withdraw)) {
        yield* withdraw
        return undefined
      }
      yield* Effect.addFinalizer(() => withdraw)
      yield* Effect.forkScoped(renewed(yield* FileSystem.FileSystem, join(layout.locks, name)))
      return { also: alsoWithout }
    })
  )

const locked = (path: string) =>
  new StoreError({
    reason: "locked",
    path,
    message: `locked: ${path}`,
    hint: "Wait until the other run is done, or stop it."
  })

/** A lock that cannot be written is looked at instead: on a full disk nobody else can take it either. */
const alsoWithout: Hold["also"] = (path) =>
  Effect.catchIf(tryLock(path), isUnwritable, () =>
    Effect.flatMap(isHeld(path), (held) => (held ? Effect.fail(locked(path)) : Effect.void))
  )

/**
 * Holds the lock of a collection for the scope: with a file where one can be written, else by name. Waits for a living
 * holder; fails with `full` or `read-only` where not even a name can be changed.
 */
export const hold = (layout: Layout): Effect.Effect<Hold, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    yield* makeFolder(layout.locks)
    const usual = Effect.map(Effect.flatMap(lockGc(layout), locksLike), (also): Hold => ({ also }))
    const watches: Watches = new Map()
    const unusual = Effect.repeat(attempt(layout, watches), { until: (held) => held !== undefined, schedule: patience })
    const held = yield* Effect.catchIf(
      usual,
      (error) => error.reason === "full",
      () => unusual
    )
    return held as Hold
  })
