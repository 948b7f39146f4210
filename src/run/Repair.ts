/**
 * Makes a damaged result again while a run goes on, so that the node that met the damage can start again.
 *
 * Not detection (`Inspect.ts`) and not `--verify`, which reads everything first. The damage is put on record, the entry
 * becomes unfinished work again, and its producer runs for the damaged shards alone. The content must come out as it
 * was; if it does not, the reader is decided again, unless another node of the run has used the old content: then the
 * run fails. One repair a file and run: a file that is damaged again after it was written anew points at the disk or
 * memory.
 */
import { Effect, Semaphore } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { damagedFile } from "../store/Damage.ts"
import { Store, type StoredEntry } from "../store/Store.ts"
import { type Damaged, sayDamaged } from "../store/Verify.ts"
import type { Events } from "./Events.ts"
import { describeError, hintOf } from "./Failure.ts"
import type { DamagedInput } from "./Inspect.ts"
import { notice } from "./NodeEvents.ts"
import { NodeFailed } from "./Run.ts"
import type { RunError } from "./RunSession.ts"

/** Names of damaged files for people, at most five. */
export const damagedNames = (damaged: ReadonlyArray<Damaged>): string => {
  const names = damaged.slice(0, 5).map((one) => (one.file === "" ? one.port : sayDamaged(one)))
  return [...names, ...(damaged.length > 5 ? [`${damaged.length - 5} more files`] : [])].join(", ")
}

export interface Repairs {
  /** How often a node's result was taken out for repair in this run. */
  readonly count: (node: AnyNode) => number
  /** Waits while a node's result is made again. */
  readonly settled: (node: AnyNode) => Effect.Effect<void>
  /**
   * Makes the damaged files of `producer` again for `reader`, which started when `producer` had been repaired `seen`
   * times. False where the run was asked to stop meanwhile.
   */
  readonly repair: <R>(
    reader: AnyNode,
    producer: AnyNode,
    input: DamagedInput,
    seen: number,
    remake: Remake<R>
  ) => Effect.Effect<boolean, RunError, R | Store | Events>
}

/** What a repair needs to know of the run. */
export interface Remake<R> {
  /** Why the producer cannot run; undefined where it can. */
  readonly refused: string | undefined
  /** Decides and runs the producer; undefined where the run was asked to stop. */
  readonly run: (because: ReadonlyArray<string>) => Effect.Effect<StoredEntry | undefined, RunError, R>
  /** Other nodes of the run that have used what the producer had made. */
  readonly users: ReadonlyArray<string>
}

/** The words of an error; those of a node name what failed already. */
const errorText = (error: RunError): string => (error instanceof NodeFailed ? error.message : describeError(error))

const DISK = "Check the disk's health and the machine's memory before you run again."

const sameContent = (a: StoredEntry, b: StoredEntry): boolean =>
  Object.entries(a.manifest.outputs).every(([port, { digest }]) => b.manifest.outputs[port]?.digest === digest)

export const makeRepairs = (): Repairs => {
  const counts = new Map<AnyNode, number>()
  const locks = new Map<AnyNode, Semaphore.Semaphore>()
  const repaired = new Set<string>()
  const lockOf = (node: AnyNode): Semaphore.Semaphore => {
    const lock = locks.get(node) ?? Semaphore.makeUnsafe(1)
    locks.set(node, lock)
    return lock
  }
  const count = (node: AnyNode): number => counts.get(node) ?? 0

  const repairNow = Effect.fnUntraced(function* <R>(
    reader: AnyNode,
    producer: AnyNode,
    { damaged, found }: DamagedInput,
    { refused, run, users }: Remake<R>
  ) {
    const store = yield* Store
    const names = damagedNames(damaged)
    const failure = (node: AnyNode, why: string, hint: string, cause?: unknown) =>
      new NodeFailed({
        node: node.id,
        message: `${names} of ${producer.id} is damaged in the store; ${reader.id} met it. ${why}`,
        hint,
        cause: damagedFile(found.folder, `${names} of ${producer.id} is not as it was written`, cause)
      })
    const keys = damaged.map(({ file, port }) => JSON.stringify([found.folder, port, file]))
    if (keys.some((key) => repaired.has(key)))
      return yield* failure(reader, "It was made again in this run and is damaged once more", DISK)
    if (refused !== undefined)
      return yield* failure(
        reader,
        `It cannot be made again: ${refused}`,
        "Run once without --only and --from, or name its node too: what is damaged is made again then."
      )
    for (const key of keys) repaired.add(key)
    counts.set(producer, count(producer) + 1)
    yield* notice(producer, `damaged in the store: ${names}; ${reader.id} met it, and it is made again`)
    // Another run may repair it at this moment: then its lock is waited for where the producer is begun.
    const reopened = Effect.catchIf(
      store.reopen(found, damaged),
      (error) => error.reason === "locked",
      () => Effect.void
    )
    const built = yield* Effect.andThen(reopened, run([`damaged in the store: ${names}`])).pipe(
      Effect.mapError((error) =>
        error._tag === "Interrupted"
          ? error
          : failure(producer, `It could not be made again: ${errorText(error)}`, hintOf(error) ?? DISK, error)
      )
    )
    if (built === undefined) return false
    if (sameContent(found, built)) yield* notice(producer, `${names} came out as before; ${reader.id} starts again`)
    else if (users.length > 0)
      return yield* failure(
        producer,
        `Made again, it came out different, and ${users.join(", ")} used what was there before`,
        "Run the same command again: later nodes are decided again. Equal inputs should give equal results: " +
          "look for a clock, a random number or an unordered loop."
      )
    else yield* notice(producer, `made again, it came out different; ${reader.id} is decided again`)
    return true
  })

  return {
    count,
    settled: (node) => {
      const lock = locks.get(node)
      return lock === undefined ? Effect.void : Semaphore.withPermit(lock, Effect.void)
    },
    repair: (reader, producer, input, seen, remake) =>
      Semaphore.withPermit(
        lockOf(producer),
        Effect.suspend(() =>
          count(producer) > seen ? Effect.succeed(true) : repairNow(reader, producer, input, remake)
        )
      )
  }
}
