/**
 * The stored inputs of a node that runs: where they are, and which of them turned out to be damaged.
 *
 * Not repair (`Repair.ts`). Values and trees are opened once beside the caller before the node runs, which checks them,
 * so that no thread does it again; rows are checked where they are read, in any thread. What any reader reports counts,
 * also where the node went on in spite of it: its result must not be committed then.
 */
import { Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { damagedFile, damageSince } from "../store/Damage.ts"
import { layoutOf } from "../store/Layout.ts"
import { Store, type StoredEntry, type StoreError } from "../store/Store.ts"
import type { Damaged } from "../store/Verify.ts"
import { type EntryRefs, findEntry, isTransient } from "./Inputs.ts"

/** Entries that a node reads, by the instance that made them. */
export type StoredInputs = ReadonlyMap<string, StoredEntry>

/** An input that is not what was written. */
export interface DamagedInput {
  /** The instance that made it. */
  readonly producer: string
  readonly found: StoredEntry
  readonly damaged: ReadonlyArray<Damaged>
}

/** The stored results that a node reads. */
export const storedInputs = (entryRefs: EntryRefs): Effect.Effect<StoredInputs, StoreError, Store> =>
  Effect.gen(function* () {
    const inputs = new Map<string, StoredEntry>()
    for (const [id, entryRef] of Object.entries(entryRefs))
      if (entryRef.kind === "entry") inputs.set(id, yield* findEntry(entryRef))
    return inputs
  })

/**
 * Checks the values and trees that a node reads, also through transient inputs. Fails for none: the damage is reported.
 */
export const checkWhole = (node: AnyNode, inputs: StoredInputs): Effect.Effect<void, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    for (const ref of Object.values(node.inputs)) {
      const found = inputs.get(ref.node.id)
      if (isTransient(ref.artifact)) yield* checkWhole(ref.node, inputs)
      else if (found !== undefined && ref.artifact.kind !== "rows")
        yield* Effect.exit(Effect.scoped(store.open(found, ref.port, ref.artifact)))
    }
  })

/** Inputs that readers reported as damaged since `mark`. */
export const damagedInputs = (inputs: StoredInputs, mark: number): ReadonlyArray<DamagedInput> =>
  [...inputs].flatMap(([producer, found]) => {
    const damaged = damageSince(mark, found.folder)
    return damaged.length === 0 ? [] : [{ producer, found, damaged }]
  })

/**
 * Fails where a reader of this thread reported damage in an input since `mark`: for what is made durable before the
 * node is done (a shard, a checkpoint), whatever the node made of the reader's error.
 */
export const failIfDamaged = (entryRefs: EntryRefs, mark: number): Effect.Effect<void, StoreError, Store> =>
  Effect.flatMap(Store, ({ root }) => {
    const layout = layoutOf(root)
    for (const [id, entryRef] of Object.entries(entryRefs)) {
      if (entryRef.kind !== "entry") continue
      const folder = layout.entry(entryRef.key, entryRef.code)
      const [first] = damageSince(mark, folder)
      if (first !== undefined)
        return Effect.fail(damagedFile(folder, `${first.port}/${first.file} of ${id} is damaged`))
    }
    return Effect.void
  })
