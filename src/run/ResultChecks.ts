/** What must hold of a node's result before it is committed: few enough refused rows, sources that did not change. */
import { Effect, type FileSystem, Option, type Schema, Stream } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { Decision } from "../dag/Plan.ts"
import { isRemote } from "../dag/Source.ts"
import { readRefused } from "../store/Quarantine.ts"
import { type SourceError, Store, type StoreError } from "../store/Store.ts"
import { hintOf } from "./Failure.ts"
import type { EntryRef } from "./Inputs.ts"
import type { Drained } from "./Outputs.ts"
import type { StoredPlanEntry } from "./PlanContext.ts"
import { NodeFailed } from "./Run.ts"

/** A refusal in one line: its message, or else its other fields. */
const refusalText = (error: Schema.Json): string => {
  if (typeof error !== "object" || error === null || Array.isArray(error)) return JSON.stringify(error)
  const { _tag, hint, message, reason, ...fields } = error as Readonly<Record<string, Schema.Json>>
  const text = typeof message === "string" ? message : JSON.stringify(fields)
  return text.replace(/\s+/g, " ").trim()
}

/**
 * Fails when more rows were refused than the node allows. Nothing is stored then, so the message shows the first row of
 * the most frequent reason: no other command can.
 */
export const checkRefused = Effect.fnUntraced(function* (
  node: AnyNode,
  drained: Drained,
  folder: string
): Effect.fn.Return<void, NodeFailed | StoreError, FileSystem.FileSystem> {
  const limit = node.spec.refuseAtMost ?? 1
  let rowsIn = 0
  const by: Record<string, number> = {}
  for (const record of drained.shards) {
    rowsIn += record.rowsIn
    for (const [reason, rows] of Object.entries(record.refused)) by[reason] = (by[reason] ?? 0) + rows
  }
  const refused = Object.values(by).reduce((sum, rows) => sum + rows, 0)
  // One row may be refused in several parts (a conversation with two pairs too long): without a limit nothing is
  // counted.
  if (limit >= 1 || rowsIn === 0 || refused <= limit * rowsIn) return
  const top = Object.entries(by)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
  const most = Stream.filter(readRefused(folder), ({ refused: { reason } }) => reason === top[0]?.[0])
  const first = Option.getOrUndefined(yield* Stream.runHead(most))
  const hint = first === undefined ? undefined : hintOf(first.refused.error)
  const reasons = top.map(([reason, rows]) => `${reason} (${rows})`).join(", ")
  return yield* new NodeFailed({
    node: node.id,
    message: [
      `${refused} of ${rowsIn} rows were refused, more than the ${limit * 100} % allowed: ${reasons}`,
      ...(first === undefined
        ? []
        : [`shard ${first.shard}, row ${first.refused.row}: ${refusalText(first.refused.error)}`])
    ].join("\n"),
    hint: `${hint ?? "Look at the input of this node."} So many bad rows mean a wrong file or a wrong setting.`
  })
})

/** Fails when a source changed while the node read it: the result must not be stored under its earlier digest. */
export const checkSourcesUnchanged = Effect.fnUntraced(function* (
  node: AnyNode,
  done: ReadonlyMap<AnyNode, EntryRef>,
  decision: Decision<StoredPlanEntry>
): Effect.fn.Return<void, NodeFailed | StoreError | SourceError, Store> {
  const store = yield* Store
  for (const [port, ref] of Object.entries(node.inputs)) {
    const entryRef = done.get(ref.node)
    if (entryRef?.kind !== "source") continue
    const { files, location = entryRef.path } = ref.node
    // One stat where nothing changed.
    const { digest } = yield* isRemote(location)
      ? store.digestSource(ref.node.id, entryRef.path, ["**"])
      : store.digestSource(ref.node.id, location, files)
    if (digest !== decision.parts.inputs[port])
      return yield* new NodeFailed({
        node: node.id,
        message: `${entryRef.path} changed while the run read it`,
        hint: "Run the same command again: it reads the file as it is now."
      })
  }
})
