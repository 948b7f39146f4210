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
 * is the waiter's own monotonic clock, and of a pause between two looks (a stopped process, a file server that hangs for
 * both) only a few seconds count: the clocks of two machines are never compared, and nobody is given up for a gap in
 * which nobody looked. A file without a lease, of an earlier version, has the default length and is never renewed.
 */
import { Clock, Effect, type FileSystem, Schema } from "effect"

/** Length of a lease. A process that cannot run a timer for so long may lose its locks, and notices (`Lock.stillHeld`). */
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
