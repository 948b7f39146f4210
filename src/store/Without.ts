/**
 * Writes that one can go without: on a store that takes no bytes, what is stored still gives answers.
 *
 * For records of runs, what instances were last, and remembered digests; never for results. A full disk, a used-up
 * quota, a read-only mount and a folder of somebody else's are told once a process and store, in one line, and end
 * nothing.
 */
import { Effect } from "effect"
import type { StoreError } from "./Store.ts"

/** Whether an error says that the store takes no bytes. */
export const isUnwritable = (error: StoreError): boolean => error.reason === "full" || error.reason === "read-only"

/** Stores that were told of, by folder. */
const told = new Set<string>()

/** The line that a person reads. */
const line = (root: string, { message, reason }: StoreError): string =>
  [
    `the store ${root} ${reason === "full" ? "is full" : "cannot be written"} (${message}).`,
    "What it holds is used; no record of this run is kept there, and nothing is remembered for later.",
    ...(reason === "full" ? ["`gc --collect` makes room, on a full disk too."] : [])
  ].join(" ")

/**
 * Does a write to the store at `root`; where that takes no bytes, goes without: told once, `undefined` is the result.
 *
 * @example
 * yield* orWithout(store.root, store.remember(pipeline.name, node.id, last))
 */
export const orWithout = <A, R>(
  root: string,
  write: Effect.Effect<A, StoreError, R>
): Effect.Effect<A | undefined, StoreError, R> =>
  Effect.catchIf(write, isUnwritable, (error) => {
    if (told.has(root)) return Effect.undefined
    told.add(root)
    return Effect.as(Effect.logWarning(line(root, error)), undefined)
  })
