/**
 * Locks between processes that share a store: a file that names its holder, broken by liveness, never by age.
 *
 * Not for worker threads, which write shards under their process's lock. Two fibers or threads that both lock do
 * exclude each other: a lock belongs to its token, not to its process.
 *
 * Taking: the holder's identity is written to a file of its own and linked to the lock's name, so a lock is never seen
 * without its content (where hard links are missing: created exclusively, then written). Breaking a dead holder's lock:
 * whoever holds the lock *of that holder's token* may remove it, after looking again. So a living lock is never removed
 * by someone who looked too early, exactly one taker wins, and a breaker that dies is broken the same way.
 *
 * Dead is a process of this boot and pid namespace that is gone, and one of an earlier boot where the disk itself
 * proves it (`Process.isOfEarlierBoot`). Any other that cannot be looked at (another machine or container; an equal
 * host name or machine id proves nothing, machines are cloned) lives as long as it renews its lease (`Lease.ts`); a
 * file that cannot be read is taken for such a one.
 *
 * What remains possible: a holder that slept for longer than its lease, and wakes up, still runs. It notices before it
 * saves a checkpoint, gives a shard its name, empties a tree's folder or commits (`stillHeld`), and what it writes has
 * names of its own attempt, so it tears nothing. Between such a look and the next rename it can still be stopped: then
 * two processes commit the same key, of which the entry that is there first stays. A shard that comes late replaces one
 * made from the same inputs; only a node whose results change from run to run can show a difference, and `--verify`
 * finds it.
 */
import { lstatSync } from "node:fs"
import { dirname } from "node:path"
import { Duration, Effect, Exit, FileSystem, Schedule, Schema, Scope } from "effect"
import { sha256 } from "../dag/Canonical.ts"
import { errnoOf, fromPlatform, makeFolder, recover, token, withFs } from "./Durable.ts"
import { now } from "./Errno.ts"
import { isOver, LEASE_MS, Lease, renew, type Watches } from "./Lease.ts"
import * as Process from "./Process.ts"
import { type Fence, StoreError } from "./Store.ts"

const Holder = Schema.Struct({
  ...Process.Identity.fields,
  token: Schema.String,
  /** Missing in locks of earlier versions. */
  lease: Schema.optional(Lease),
  /** Its holder sees the folder on a disk (`Process.isOnDisk`). */
  disk: Schema.optional(Schema.Boolean)
})
type Holder = typeof Holder.Type
const decode = Schema.decodeUnknownSync(Holder)

/** What a lock's file says. `id` names the attempt that made it, `sign` changes when it is renewed. */
type Seen =
  | { readonly state: "free" }
  | { readonly state: "held" | "dead" | "unknown"; readonly holder: Holder; readonly id: string; readonly sign: string }
  | { readonly state: "unreadable"; readonly id: string; readonly sign: string }

/** Looks at a lock without touching it. `unknown`: its holder cannot be seen, only its lease can tell. */
export const look = (path: string): Effect.Effect<Seen, StoreError, FileSystem.FileSystem> =>
  Effect.map(
    withFs(path, (fs) => recover(fs.readFileString(path), ["NotFound"], undefined)),
    (text): Seen => {
      if (text === undefined) return { state: "free" }
      let holder: Holder
      try {
        holder = decode(JSON.parse(text))
      } catch {
        // Being written where hard links are missing, lost in a power cut, or damaged by hand.
        const id = sha256(text).slice(0, 16)
        return { state: "unreadable", id, sign: id }
      }
      const id = /^\w+$/.test(holder.token) ? holder.token : sha256(holder.token).slice(0, 16)
      const seen = Process.liveness(holder)
      const isGone =
        seen === "unknown" && holder.disk === true && Process.isOfEarlierBoot(holder) && Process.isOnDisk(dirname(path))
      const alive = isGone ? "dead" : seen
      return { state: alive === "alive" ? "held" : alive, holder, id, sign: `${id} ${text.length}` }
    }
  )

const describe = (path: string, seen: Seen): string =>
  seen.state === "free" || seen.state === "unreadable"
    ? path
    : `${path}, held by process ${seen.holder.pid} on ${seen.holder.host}`

const leaseOf = (seen: Seen): number => ("holder" in seen ? (seen.holder.lease?.ms ?? LEASE_MS) : LEASE_MS)

const hintFor = (seen: Seen): string =>
  seen.state === "unknown" || seen.state === "unreadable"
    ? `Its holder cannot be seen from here; a run that waits takes the lock once it was not renewed for ${leaseOf(seen) / 1000} s.`
    : "Wait until the other run is done, or stop it."

/**
 * Creates the lock's file with its content if nobody has it; gives the file, open for the lease until the scope closes.
 */
const create = (
  path: string,
  holder: Holder
): Effect.Effect<FileSystem.File | undefined, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const text = JSON.stringify(holder)
    const own = `${path}.${holder.token}`
    const fs = yield* FileSystem.FileSystem
    const write = (to: string) =>
      Effect.gen(function* () {
        const file = yield* fs.open(to, { flag: "ax" })
        yield* file.writeAll(new TextEncoder().encode(text))
        yield* file.sync
        return file
      })
    const link = Effect.gen(function* () {
      const file = yield* Effect.mapError(write(own), fromPlatform(own))
      const linked = yield* Effect.result(fs.link(own, path))
      if (linked._tag === "Success") return { taken: file }
      if (linked.failure.reason._tag === "AlreadyExists") return {}
      if (["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(errnoOf(linked.failure) ?? "")) return undefined
      return yield* Effect.fail(fromPlatform(path)(linked.failure))
    })
    const linked = yield* Effect.ensuring(link, Effect.ignore(withFs(own, (fs) => fs.remove(own, { force: true }))))
    if (linked !== undefined) return linked.taken
    const written = yield* Effect.result(write(path))
    if (written._tag === "Success") return written.success
    if (written.failure.reason._tag === "AlreadyExists") return undefined
    return yield* Effect.fail(fromPlatform(path)(written.failure))
  })

/** Which file a name stands for; undefined for no file. */
const inodeOf = (path: string): string | undefined => {
  const info = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return info === undefined ? undefined : `${info.dev} ${info.ino}`
}

const release = (path: string, holder: Holder): Effect.Effect<void, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const seen = yield* look(path)
    if ("holder" in seen && seen.holder.token === holder.token) yield* withFs(path, (fs) => fs.remove(path))
  }).pipe(
    Effect.catch((error) => Effect.logWarning(`${path} could not be released: ${error.message}`)),
    Effect.uninterruptible
  )

type Tried = { readonly taken: Fence } | { readonly taken?: never; readonly again: boolean; readonly seen: Seen }

/** Tries once: takes the lock for the scope, or breaks one whose holder is dead or let its lease end (`again`). */
const attempt = (
  path: string,
  watches: Watches
): Effect.Effect<Tried, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const disk = Process.isOnDisk(dirname(path))
      const holder: Holder = { ...Process.self(), token: token(), lease: { ms: LEASE_MS }, disk }
      const own = yield* Scope.fork(yield* Effect.scope)
      const file = yield* Effect.onError(Scope.provide(create(path, holder), own), (cause) =>
        Scope.close(own, Exit.failCause(cause))
      )
      if (file !== undefined) {
        const context = yield* Effect.context<FileSystem.FileSystem>()
        yield* Scope.addFinalizer(own, Effect.provideContext(release(path, holder), context))
        yield* Effect.forkIn(renew(path, file, LEASE_MS), own)
        return { taken: { path, token: holder.token } }
      }
      yield* Scope.close(own, Exit.void)
      const seen = yield* look(path)
      if (seen.state === "free") return { again: true, seen } // released just now
      const over =
        seen.state === "dead" || (seen.state !== "held" && (yield* isOver(watches, path, seen.sign, leaseOf(seen))))
      if (!over) return { again: false, seen }
      yield* Effect.scoped(
        Effect.gen(function* () {
          if ((yield* attempt(`${path}.${seen.id}.break`, watches)).taken === undefined) return
          const now = yield* look(path)
          if ("sign" in now && now.sign === seen.sign) yield* withFs(path, (fs) => fs.remove(path))
        })
      )
      return { again: true, seen }
    })
  )

const locked = (path: string, seen: Seen): StoreError =>
  new StoreError({ reason: "locked", path, message: `locked: ${describe(path, seen)}`, hint: hintFor(seen) })

/** From 50 ms to 1 s between looks, spread so that many waiters do not march in step. */
const patience = Schedule.exponential("50 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.jittered
)

/** Attempts until the lock is taken, or `giveUp` of what was seen. */
const take = (
  path: string,
  giveUp: (seen: Seen, first: Seen) => boolean
): Effect.Effect<Fence, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    yield* makeFolder(dirname(path))
    const watches: Watches = new Map()
    let first: Seen | undefined
    let rounds = 0
    const once = Effect.gen(function* () {
      for (;;) {
        const tried = yield* attempt(path, watches)
        if (tried.taken !== undefined) return tried.taken
        const { again, seen } = tried
        if (again && rounds++ % 8 < 7) continue
        if (again) return undefined
        if (giveUp(seen, first ?? seen)) return yield* locked(path, seen)
        if (first === undefined) yield* Effect.logInfo(`waiting for ${describe(path, seen)}. ${hintFor(seen)}`)
        first ??= seen
        return undefined
      }
    })
    const taken = yield* Effect.repeat(once, { until: (fence) => fence !== undefined, schedule: patience })
    return taken as Fence
  })

/** Like `lock`, and gives what `stillHeld` needs. */
export const lockFenced = (path: string): Effect.Effect<Fence, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  take(path, () => false)

/**
 * Takes the lock at `path` for the scope, waiting as long as somebody who lives has it. Interruptible.
 *
 * @example
 * yield* Effect.scoped(Effect.andThen(lock(layout.lock(key, code)), work))
 */
export const lock = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.asVoid(lockFenced(path))

/**
 * Takes the lock at `path` for the scope; fails with `locked` while someone else has it. A holder that cannot be seen
 * counts as alive, or with `watch` is looked at until it renews its lease or the lease is over: a minute at most.
 *
 * @example
 * yield* Effect.scoped(Effect.andThen(tryLock(path), work))
 */
export const tryLock = (
  path: string,
  options: { readonly watch?: boolean } = {}
): Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.asVoid(
    take(
      path,
      (seen, first) =>
        options.watch !== true ||
        !("sign" in seen && "sign" in first) ||
        seen.state === "held" ||
        seen.sign !== first.sign
    )
  )

/** Removes those of some locks whose holders cannot be seen and let their leases end; watches all of them at once. */
export const settle = (paths: ReadonlyArray<string>): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.forEach(
    paths,
    (path) =>
      Effect.gen(function* () {
        const { state } = yield* look(path)
        if (state === "unknown" || state === "unreadable") yield* Effect.scoped(tryLock(path, { watch: true }))
      }).pipe(
        Effect.catchIf(
          (error) => error.reason === "locked",
          () => Effect.void
        )
      ),
    { concurrency: 64, discard: true }
  )

/**
 * Fails with `lost` when the lock is not the caller's any more: it slept for longer than its lease, and another took
 * it.
 */
export const stillHeld = ({ path, token }: Fence): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.flatMap(look(path), (seen) =>
    "holder" in seen && seen.holder.token === token
      ? Effect.void
      : Effect.fail(
          new StoreError({
            reason: "lost",
            path,
            message: `${path} is ${seen.state === "free" ? "gone" : "another's"}: this process did not renew its lease for ${LEASE_MS / 1000} s, so it was taken for dead`,
            hint: "Nothing of this node is stored by this process. Run the same command again: it goes on with what the other one made. A machine that sleeps, or a process that is stopped, loses its locks."
          })
        )
  )

/**
 * Takes further locks with the identity of one that this process holds, each as a hard link to its file: neither a byte
 * nor an fsync is needed, and the lease is renewed with that of the first. Whether a link is to that file is seen by
 * its inode: the holder has the file open, so no other file can have that number. Where links are missing: `tryLock`.
 *
 * Fails with `locked` while somebody else has the lock, and with `lost` when the first is not held any more.
 *
 * @example
 * const like = yield* locksLike(yield* lockFenced(layout.gcLock))
 * yield* Effect.scoped(Effect.andThen(like(layout.lock(key, code)), work))
 */
export const locksLike = (
  held: Fence
): Effect.Effect<
  (path: string) => Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope>,
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const own = yield* now(held.path, () => inodeOf(held.path))
    yield* stillHeld(held)
    const isOwn = (path: string) => now(path, () => inodeOf(path) === own)
    const drop = (path: string) => withFs(path, (fs) => fs.remove(path, { force: true }))
    const giveBack = (path: string) =>
      Effect.catch(
        Effect.flatMap(isOwn(path), (is) => (is ? drop(path) : Effect.void)),
        (error) => Effect.logWarning(`${path} could not be released: ${error.message}`)
      )
    return (path) =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          const linked = yield* Effect.result(withFs(path, (fs) => fs.link(held.path, path)))
          if (linked._tag === "Failure") return yield* tryLock(path)
          if (yield* isOwn(path)) return yield* Effect.addFinalizer(() => giveBack(path))
          yield* drop(path) // a link to the lock of whoever took the first one over
          yield* stillHeld(held)
          return yield* tryLock(path)
        })
      )
  })

/** True while a lock is not known to be free or dead. */
export const isHeld = (path: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.map(look(path), (seen) => seen.state !== "free" && seen.state !== "dead")
