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
 */
import { dirname } from "node:path"
import { Duration, Effect, FileSystem, Schedule, Schema, type Scope } from "effect"
import { errnoOf, fromPlatform, instead, io, makeFolder, token } from "./Durable.ts"
import * as Process from "./Process.ts"
import { StoreError } from "./Store.ts"

const Holder = Schema.Struct({ ...Process.Identity.fields, token: Schema.String })
type Holder = typeof Holder.Type
const decode = Schema.decodeUnknownSync(Holder)

type Seen =
  | { readonly state: "free" }
  | { readonly state: "held" | "dead" | "unknown"; readonly holder: Holder }
  | { readonly state: "unreadable" }

/** Looks at a lock without touching it. */
export const look = (path: string): Effect.Effect<Seen, StoreError, FileSystem.FileSystem> =>
  Effect.map(
    io(path, (fs) => instead(fs.readFileString(path), ["NotFound"], undefined)),
    (text): Seen => {
      if (text === undefined) return { state: "free" }
      let holder: Holder
      try {
        holder = decode(JSON.parse(text))
      } catch {
        return { state: "unreadable" } // being written where hard links are missing, or damaged by hand
      }
      const alive = Process.liveness(holder)
      return { state: alive === "alive" ? "held" : alive, holder }
    }
  )

const describe = (path: string, seen: Seen): string =>
  seen.state === "free" || seen.state === "unreadable"
    ? path
    : `${path}, held by process ${seen.holder.pid} on ${seen.holder.host}`

const hintFor = (path: string, seen: Seen): string =>
  seen.state === "unknown" || seen.state === "unreadable"
    ? `Whether its holder lives cannot be seen from here. If you know it is gone, delete ${path}.`
    : "Wait until the other run is done, or stop it."

/** Creates the lock's file with its content if nobody has it. */
const create = (path: string, holder: Holder): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const text = JSON.stringify(holder)
    const own = `${path}.${holder.token}`
    const fs = yield* FileSystem.FileSystem
    const write = (to: string) =>
      Effect.scoped(
        Effect.gen(function* () {
          const file = yield* fs.open(to, { flag: "wx" })
          yield* file.writeAll(new TextEncoder().encode(text))
          yield* file.sync
        })
      )
    const link = Effect.gen(function* () {
      yield* Effect.mapError(write(own), fromPlatform(own))
      const linked = yield* Effect.result(fs.link(own, path))
      if (linked._tag === "Success") return "taken"
      if (linked.failure.reason._tag === "AlreadyExists") return "held"
      if (["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(errnoOf(linked.failure) ?? "")) return "no links"
      return yield* Effect.fail(fromPlatform(path)(linked.failure))
    })
    const linked = yield* Effect.ensuring(link, Effect.ignore(io(own, (fs) => fs.remove(own, { force: true }))))
    if (linked !== "no links") return linked === "taken"
    const written = yield* Effect.result(write(path))
    if (written._tag === "Success") return true
    if (written.failure.reason._tag === "AlreadyExists") return false
    return yield* Effect.fail(fromPlatform(path)(written.failure))
  })

const release = (path: string, holder: Holder): Effect.Effect<void, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const seen = yield* look(path)
    if ("holder" in seen && seen.holder.token === holder.token) yield* io(path, (fs) => fs.remove(path))
  }).pipe(
    Effect.catch((error) => Effect.logWarning(`${path} could not be released: ${error.message}`)),
    Effect.uninterruptible
  )

/** Tries once: takes the lock for the scope, breaking a dead holder's. */
const attempt = (path: string): Effect.Effect<Seen, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const holder: Holder = { ...Process.self(), token: token() }
      if (yield* create(path, holder)) {
        yield* Effect.addFinalizer(() => release(path, holder))
        return { state: "free" }
      }
      const seen = yield* look(path)
      if (seen.state === "free") return { state: "dead", holder } // released just now: try again
      if (seen.state !== "dead") return seen
      const dead = seen.holder.token
      yield* Effect.scoped(
        Effect.gen(function* () {
          if ((yield* attempt(`${path}.${dead}.break`)).state !== "free") return
          const again = yield* look(path)
          if ("holder" in again && again.holder.token === dead) yield* io(path, (fs) => fs.remove(path))
        })
      )
      return seen
    })
  )

/**
 * Takes the lock at `path` for the scope; fails with `locked` while someone else has it.
 *
 * @example
 * yield* Effect.scoped(Effect.andThen(tryLock(path), work))
 */
export const tryLock = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    yield* makeFolder(dirname(path))
    for (let round = 0; ; round++) {
      const seen = yield* attempt(path)
      if (seen.state === "free") return
      if (seen.state === "dead" && round < 8) continue
      return yield* new StoreError({
        reason: "locked",
        path,
        message: `locked: ${describe(path, seen)}`,
        hint: hintFor(path, seen)
      })
    }
  })

/** From 50 ms to 1 s between looks, spread so that many waiters do not march in step. */
const patience = Schedule.exponential("50 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.jittered
)

/**
 * Takes the lock at `path` for the scope, waiting as long as a living process has it. Interruptible.
 *
 * @example
 * yield* Effect.scoped(Effect.andThen(lock(layout.lock(key, code)), work))
 */
export const lock = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    yield* makeFolder(dirname(path))
    let told = false
    const once = Effect.gen(function* () {
      const seen = yield* attempt(path)
      if (seen.state === "free") return true
      if (!told && seen.state !== "dead") {
        told = true
        yield* Effect.logInfo(`waiting for ${describe(path, seen)}. ${hintFor(path, seen)}`)
      }
      return false
    })
    yield* Effect.repeat(once, { until: (taken) => taken, schedule: patience })
  })

/** True while a lock is not known to be free or dead. */
export const isHeld = (path: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.map(look(path), (seen) => seen.state !== "free" && seen.state !== "dead")
