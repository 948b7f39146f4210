/**
 * What a file system says, as a `StoreError` with a reason and a hint that can be followed.
 *
 * Not the operations themselves (`Durable.ts`). An error is known by the name of its errno, and where libuv has no name
 * for it, by its number: a quota that is used up comes as "Unknown system error -122".
 */
import { readdirSync } from "node:fs"
import { constants } from "node:os"
import { Effect, type PlatformError } from "effect"
import { StoreError } from "./Store.ts"

const reasons: Record<string, { readonly reason: StoreError["reason"]; readonly hint: string }> = {
  ENOSPC: {
    reason: "full",
    hint: "Free space on the store's disk, then run again: it resumes. `gc` shows what may go and `gc --collect` removes it, on a full disk too."
  },
  EDQUOT: {
    reason: "full",
    hint: "Your quota is used up: free some, then run again. `gc` shows what may go and `gc --collect` removes it, without needing any."
  },
  EROFS: { reason: "read-only", hint: "The disk is mounted read-only: give another --store folder." },
  EACCES: { reason: "read-only", hint: "You may not write here: give another --store folder, or fix its owner." },
  EPERM: { reason: "read-only", hint: "You may not write here: give another --store folder, or fix its owner." },
  ENOENT: { reason: "missing", hint: "The file is gone; if nobody deleted it, check the disk, then run again." },
  EMFILE: { reason: "io", hint: "Too many open files: raise the limit (`ulimit -n 65536`) or lower the concurrency." },
  ENFILE: { reason: "io", hint: "The machine has too many open files; close something and run again." },
  EIO: { reason: "io", hint: "The disk reports an error: check its health before you run again." },
  EUCLEAN: { reason: "io", hint: "The file system says that it is damaged: check it (fsck) before you run again." },
  EREMOTEIO: { reason: "io", hint: "The disk reports an error: check its health before you run again." },
  ESTALE: {
    reason: "io",
    hint: "The network file system lost the file: check that the share is mounted, then run again."
  },
  ENOMEDIUM: { reason: "io", hint: "The disk is gone: attach it again, then run again." },
  EFBIG: {
    reason: "io",
    hint: "The file system or a limit (`ulimit -f`) allows no larger file: raise it, or use more shards."
  },
  ENAMETOOLONG: { reason: "io", hint: "The path is too long for this file system: give a shorter --store." }
}

/** A worn or damaged file system, a disk that is gone: the hint is that of EIO. */
const LINUX_ONLY = [
  [117, "EUCLEAN"],
  [121, "EREMOTEIO"],
  [123, "ENOMEDIUM"],
  [124, "EMEDIUMTYPE"]
] as const

/** What Effect made of an errno before it came here. */
const tags: Record<string, string> = { PermissionDenied: "EACCES", NotFound: "ENOENT" }

/** Names of errnos by number: of some that disks and networks give, libuv knows the number only. */
const named: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
  // Linux has these, and Node no name for them.
  ...(process.platform === "linux" ? LINUX_ONLY : [])
])

/** The name of an error's errno (`ENOSPC`), from its code, or where that is no name from its number; else undefined. */
export const errnoName = (error: unknown): string | undefined => {
  const { code, errno } = (error ?? {}) as { readonly code?: unknown; readonly errno?: unknown }
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return code
  // "Unknown system error -122" is libuv's name of a number that it does not know.
  const number = typeof errno === "number" ? errno : /^Unknown system error (-?\d+)$/.exec(String(code))?.[1]
  return number === undefined ? undefined : named.get(Math.abs(Number(number)))
}

/** The errno of a platform error (`ENOSPC`), or undefined. */
export const errnoOf = (error: PlatformError.PlatformError): string | undefined =>
  errnoName(error.reason.cause) ?? tags[error.reason._tag]

/** What the file system said, an errno that libuv cannot name by its name. */
const saidBy = (error: PlatformError.PlatformError): string => {
  const raw = error.reason.cause
  if (!(raw instanceof Error)) return error.message
  const name = errnoName(raw)
  return name === undefined ? raw.message : raw.message.replace(/^(Unknown system error -?\d+[:,] )+/, `${name}: `)
}

/** Why a call of `node:fs` failed, as a reason of `StoreError`. */
export const reasonOf = (error: unknown): StoreError["reason"] => reasons[errnoName(error) ?? ""]?.reason ?? "io"

/** A platform error about `path` as a `StoreError` that says what to do. */
export const fromPlatform =
  (path: string) =>
  (cause: PlatformError.PlatformError): StoreError => {
    const known = reasons[errnoOf(cause) ?? ""]
    return new StoreError({
      reason: known?.reason ?? "io",
      path,
      message: `${path}: ${saidBy(cause)}`,
      hint: known?.hint ?? "The file system refused; its own words are above. Run again once that is solved.",
      cause
    })
  }

/**
 * Runs a call of `node:fs` on `path`, its error as `StoreError`. For reading only: tests make changes fail elsewhere.
 */
export const now = <A>(path: string, use: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({
    try: use,
    catch: (cause) => {
      const known = reasons[errnoName(cause) ?? ""]
      return new StoreError({
        reason: known?.reason ?? "io",
        path,
        message: `${path}: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: known?.hint ?? "The store's folder cannot be read: check its permissions and the disk.",
        cause
      })
    }
  })

/** Names in a folder, sorted; none if there is no folder. Throws what `node:fs` throws. */
export const namesNow = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    const name = errnoName(error)
    if (name === "ENOENT" || name === "ENOTDIR") return []
    throw error
  }
}
