/**
 * Reports that a node left no rows: at the node that emptied the stage, not at the nodes after it.
 *
 * Not an error: a stage may be empty on purpose, and training without a row fails by itself. A node whose rows inputs
 * had no row either is silent; a reader of an empty file is not.
 */
import { Effect, type FileSystem, Option, Stream } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { rowsOut } from "../store/Manifest.ts"
import { readRefused } from "../store/Quarantine.ts"
import type { StoredEntry, StoreError } from "../store/Store.ts"
import { hintOf } from "./Failure.ts"

const number = (value: number): string => value.toLocaleString("en-US")

/**
 * The notice about a node's result; undefined where it has rows, or had none to begin with. Reads one refused row,
 * whose hint it repeats. Fails with `StoreError` where the entry's quarantine cannot be read.
 *
 * @example
 * emptyStageNotice(node, found) // "none of its 1,602 rows are left: Dropped: TooFewTurns 1,602. A conversation needs ..."
 */
export const emptyStageNotice = (
  node: AnyNode,
  { folder, manifest }: StoredEntry
): Effect.Effect<string | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const outputs = Object.values(node.spec.outputs).filter(({ kind }) => kind === "rows")
    if (outputs.length === 0 || rowsOut(manifest) > 0) return undefined
    if (manifest.rowsIn === 0) {
      const fed = Object.values(node.inputs).some(({ artifact }) => artifact.kind === "rows")
      return fed ? undefined : "it read no rows: look at its source, which has none"
    }
    const reasons = Object.entries(manifest.refused).sort((a, b) => b[1] - a[1])
    const said = `none of its ${number(manifest.rowsIn)} rows are left`
    if (reasons.length === 0) return said
    const most = Stream.filter(readRefused(folder), ({ refused: { reason } }) => reason === reasons[0]![0])
    const first = Option.getOrUndefined(yield* Stream.runHead(most))
    const by = reasons.slice(0, 3).map(([reason, rows]) => `${reason} ${number(rows)}`)
    const more = reasons.length > 3 ? [`${reasons.length - 3} other reasons`] : []
    return (
      `${said}: ${[...by, ...more].join(", ")}. ` +
      `${hintOf(first?.refused.error) ?? "The subcommand `quarantine` shows them."}`
    )
  })
