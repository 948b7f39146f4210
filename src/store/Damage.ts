/**
 * Damage that readers of this thread met: files whose bytes are not those that were written.
 *
 * Not the error itself, which the reader fails with: a node may catch that, or make a refusal of it. So every reader
 * also reports here, and a runner that asks afterwards knows, whatever the node did. Nothing here is durable; a worker
 * thread passes what it hears on to the thread that started it (`onDamage`).
 */
import { StoreError } from "./Store.ts"
import type { Damaged } from "./Verify.ts"

/** A damaged file of the entry in `folder`. */
export interface Met extends Damaged {
  /** Absolute folder of the entry. */
  readonly folder: string
}

interface Noted extends Met {
  readonly at: number
}

/** By folder, port and file: the latest report of each. */
const met = new Map<string, Noted>()
const listeners = new Set<(met: Met) => void>()
let count = 0

/** Says that a file is damaged. The same again counts as a new report. */
export const reportDamage = ({ file, folder, port }: Met): void => {
  met.set(JSON.stringify([folder, port, file]), { folder, port, file, at: ++count })
  for (const listener of listeners) listener({ folder, port, file })
}

/** Hears of every report from now on; gives how to hear no more. */
export const onDamage = (listener: (met: Met) => void): (() => void) => {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

/** Now, in reports; for `damageSince`. */
export const damageMark = (): number => count

/** What was reported of an entry after `mark`, in the order of reports. */
export const damageSince = (mark: number, folder: string): ReadonlyArray<Damaged> =>
  [...met.values()]
    .filter((one) => one.at > mark && one.folder === folder)
    .sort((a, b) => a.at - b.at)
    .map(({ file, port }) => ({ port, file }))

/** The error of a reader that met damage. `what` says which bytes. */
export const damagedFile = (path: string, what: string, cause?: unknown): StoreError =>
  new StoreError({
    reason: "damaged",
    path,
    message: `${path}: ${what}`,
    hint: "A run that reads it makes it again; --verify reads all that is stored. If it keeps happening, check the disk and the memory.",
    ...(cause === undefined ? {} : { cause })
  })

/** The error of damage that another error has as its cause, at any depth. */
export const damageIn = (error: unknown): StoreError | undefined => {
  const seen = new Set<unknown>()
  for (let at = error; typeof at === "object" && at !== null && !seen.has(at); ) {
    if (at instanceof StoreError && at.reason === "damaged") return at
    seen.add(at)
    at = (at as { readonly cause?: unknown }).cause
  }
  return undefined
}
