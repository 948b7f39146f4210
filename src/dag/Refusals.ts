/**
 * Collects the rows that a node refuses while it runs.
 *
 * Not the quarantine on disk: the store takes what waits here, again and again, and writes it beside the node's
 * manifest. Idempotent: saying the same refusal twice (an input that two output ports read, say) counts once.
 *
 * Memory: what waits, and 16 to 32 bytes for each row refused so far; millions of refused rows are no burden.
 */
import { hash } from "node:crypto"
import { Effect, Redacted, Result, Schema, Stream } from "effect"
import { canonical } from "./Canonical.ts"
import { DigestTable } from "./DigestTable.ts"
import type { RefusalClass, Refusing } from "./Node.ts"
import { REDACTED, scrubJson } from "./Secrets.ts"

/** One refused row: its number in the (shard's) input, the refusal's tag, and the refusal as JSON. */
export const Refused = Schema.Struct({
  row: Schema.Number,
  reason: Schema.String,
  error: Schema.Json
})
export type Refused = typeof Refused.Type

/** A node called `refuse` with an error that it does not declare. Raised as a defect: it is a bug in the node. */
export class UndeclaredRefusal extends Schema.TaggedError<UndeclaredRefusal>()("UndeclaredRefusal", {
  reason: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

export interface Refusals extends Refusing<any> {
  /** What was refused since the last call, ordered by row; it is forgotten here. */
  readonly take: () => ReadonlyArray<Refused>
  /** How many rows the next `take` gives. */
  readonly waiting: () => number
  /**
   * Rows that went through `mapEffectOrRefuse` or `flatMap` so far (the longest pass), or that `countRows` counted; 0
   * without any of them.
   */
  readonly seen: () => number
}

/**
 * Plain JSON of an error's own fields. Unknown causes become their message: a stack has paths, which no artifact holds.
 */
const plain = (value: unknown): Schema.Json => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (value instanceof Error && !("_tag" in value)) return `${value.name}: ${value.message}`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object") return String(value)
  if (Redacted.isRedacted(value)) return REDACTED
  const fields = Object.entries(value).filter(([name, field]) => name !== "stack" && field !== undefined)
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]))
}

/**
 * A fresh collector for one attempt of one shard. `reason` is the error's `reason` field if it has one, else its tag.
 */
export const makeRefusals = (classes: ReadonlyArray<RefusalClass>): Refusals => {
  const said = new DigestTable()
  let waiting: Array<Refused> = []
  let seen = 0
  const count = (at: number): number => {
    if (at >= seen) seen = at + 1
    return at
  }
  const isRefusal = (error: unknown): boolean => classes.some((one) => error instanceof one)
  const refuse = (row: number, error: unknown): void => {
    if (!isRefusal(error))
      throw new UndeclaredRefusal({
        reason: String((error as { _tag?: string })?._tag ?? error),
        message: `row ${row} was refused for a reason the node does not declare`,
        hint: "Add the error's class to `refuses` in the node's declaration."
      })
    const tagged = error as { readonly _tag: string; readonly reason?: unknown; readonly message?: unknown }
    const message = typeof tagged.message === "string" && tagged.message !== "" ? { message: tagged.message } : {}
    const json = scrubJson(plain({ ...tagged, ...message, _tag: tagged._tag })) // an error's own message is not enumerable
    const reason = typeof tagged.reason === "string" ? `${tagged._tag}: ${tagged.reason}` : tagged._tag
    // 32 bits distinguish the refusals of one row.
    const digest = hash("sha256", canonical(json), "buffer").readUInt32BE(0)
    const before = said.size
    if (said.add(row, digest) === before) waiting.push({ row, reason, error: json })
  }
  return {
    refuse,
    countRows: (rows) => {
      if (rows > seen) seen = rows
    },
    mapEffectOrRefuse: (batches, f) =>
      Stream.suspend(() => {
        let at = 0
        return Stream.mapEffect(batches, (batch) =>
          Effect.gen(function* () {
            const out: Array<any> = []
            for (const row of batch) {
              const index = count(at++)
              const result = yield* Effect.result(f(row, index))
              if (Result.isSuccess(result)) out.push(result.success)
              else if (isRefusal(result.failure)) refuse(index, result.failure)
              else return yield* Effect.fail(result.failure as never)
            }
            return out
          })
        )
      }),
    flatMap: (batches, f) =>
      Stream.suspend(() => {
        let at = 0
        return Stream.map(batches, (batch) => {
          const out: Array<any> = []
          for (const row of batch) {
            const index = count(at++)
            const built = f(row, index)
            if (!Result.isResult(built)) out.push(...built)
            else if (Result.isSuccess(built)) out.push(...built.success)
            else refuse(index, built.failure)
          }
          return out
        })
      }),
    take: () => {
      const taken = waiting.sort((a, b) => a.row - b.row)
      waiting = []
      return taken
    },
    waiting: () => waiting.length,
    seen: () => seen
  }
}
