/**
 * Leases: how the holder of a lock shows that it lives to whoever cannot see its process (another machine, container or
 * boot).
 *
 * Not the lock itself (`Lock.ts`), and not asked where the process can be looked at (`Process.ts`). Every third of the
 * lease's length the holder appends one blank to its own file, so the file's length is a count that only rises. It
 * writes through the handle that made the file: a lock that was taken over meanwhile is another file, and a late blank
 * goes to one without a name. Blanks after JSON mean nothing, so versions without leases read the same lock.
 *
 * Whoever waits looks again and again, and gives the holder up when the file stayed the same for the whole length. Time
 * is the waiter's own monotonic clock, and of a pause between two looks (a stopped process, a file server that hangs
 * for both) only a few seconds count: the clocks of two machines are never compared, and nobody is given up for a gap
 * in which nobody looked. A file without a lease, of an earlier version, has the default length and is never renewed.
 */
import { dirname, join } from "node:path"
import { Clock, Effect, FileSystem, Schema } from "effect"
import { token } from "./Durable.ts"

/**
 * Length of a lease. A process that cannot run a timer for so long may lose its locks, and notices (`Lock.stillHeld`).
 */
export const LEASE_MS = 60_000

/** What a lock's file says of it. */
export const Lease = Schema.Struct({ ms: Schema.Number })

const BLANK = new TextEncoder().encode(" ")

/** Renews for ever: the caller interrupts it when the lock is given back. `file` was opened for appending. */
export const renew = (path: string, file: FileSystem.File, ms: number): Effect.Effect<never> => {
  let told = false
  const once = Effect.catch(Effect.andThen(file.writeAll(BLANK), file.sync), (error) => {
    if (told) return Effect.void
    told = true
    return Effect.logWarning(
      `the lease of ${path} cannot be renewed (${error.message}); another machine may take it over`
    )
  })
  return Effect.forever(Effect.andThen(Effect.sleep(ms / 3), once))
}

/** Of the time between two looks at most so much counts as watched, ms. Waiters look every second. */
const COUNTED_MS = 5_000

/** What one waiter has seen of locks whose holders it cannot look at, by path. */
export type Watches = Map<string, { readonly sign: string; readonly at: bigint; readonly quietMs: number }>

/**
 * Looks once more: true when the file at `path` has had the same `sign` for the length of its lease.
 *
 * @example
 * const watches: Watches = new Map()
 * if (yield* isOver(watches, path, `${token} ${text.length}`, LEASE_MS)) yield* breakIt
 */
export const isOver = (watches: Watches, path: string, sign: string, ms: number): Effect.Effect<boolean> =>
  Effect.map(Clock.monotonicTimeNanos, (at) => {
    const before = watches.get(path)
    if (before?.sign !== sign) {
      watches.set(path, { sign, at, quietMs: 0 })
      return false
    }
    const quietMs = before.quietMs + Math.min(COUNTED_MS, Number((at - before.at) / 1_000_000n))
    watches.set(path, { sign, at, quietMs })
    return quietMs >= ms
  })

/** Leases without a renewal after which a holder is shown as gone. */
const SHOWN_AFTER = 3

/**
 * For what is only shown (`runs`), without waiting: whether the file at `path` is missing, or was not renewed for three
 * leases by the file system's own clock: its time is compared with that of a file that is made beside it now. False
 * where that cannot be told. Nothing may be removed on account of it.
 */
export const looksOver = (path: string): Effect.Effect<boolean, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if (!(yield* fs.exists(path))) return true
    const probe = join(dirname(path), `.now.${token()}.tmp`)
    const timeOf = (of: string) => Effect.map(fs.stat(of), ({ mtime }) => (mtime._tag === "Some" ? +mtime.value : NaN))
    const now = yield* Effect.ensuring(
      Effect.andThen(fs.writeFileString(probe, ""), timeOf(probe)),
      Effect.ignore(fs.remove(probe, { force: true }))
    )
    return now - (yield* timeOf(path)) > SHOWN_AFTER * LEASE_MS
  }).pipe(Effect.catch(() => Effect.succeed(false)))
