/** A whole node, from opened inputs to durable outputs. Not resumable inside: a killed one starts over. */
import { Effect, type FileSystem } from "effect"
import type { AnyNode, Origin } from "../dag/Node.ts"
import { makeRefusals } from "../dag/Refusals.ts"
import { callEffect, partsOf } from "../dag/Results.ts"
import type { PendingFolder, Store } from "../store/Store.ts"
import { asNodeFailed } from "./Failure.ts"
import { type EntryRefs, openWhole } from "./Inputs.ts"
import { type Drained, drainOutputs } from "./Outputs.ts"
import { retrying } from "./Retry.ts"
import type { NodeFailed } from "./Run.ts"

/** Opens every input of a node whole; also counts the rows of rows inputs. */
export const openInputs = Effect.fn("run.openInputs")(function* (node: AnyNode, entryRefs: EntryRefs) {
  const inputs: Record<string, unknown> = {}
  let rowsIn = 0
  for (const [port, ref] of Object.entries(node.inputs)) {
    inputs[port] = yield* openWhole(ref, entryRefs)
    if (ref.artifact.kind === "rows") rowsIn += (inputs[port] as { readonly length: number }).length
  }
  return { inputs, rowsIn }
})

export const runWhole = (
  node: AnyNode,
  entryRefs: EntryRefs,
  work: PendingFolder,
  origin: Origin,
  progress: {
    readonly rows: (rows: number) => void
    readonly metrics: (figures: Readonly<Record<string, number>>) => void
  }
): Effect.Effect<Drained, NodeFailed, Store | FileSystem.FileSystem> => {
  const attempt = Effect.scoped(
    Effect.gen(function* () {
      const { inputs, rowsIn } = yield* openInputs(node, entryRefs)
      const refusals = makeRefusals(node.spec.refuses ?? [])
      const run = node.spec.run as (context: unknown) => Effect.Effect<Readonly<Record<string, unknown>>, unknown>
      const built = yield* callEffect(node.id, "its function", () =>
        run({ params: node.params, inputs, origin, report: progress.metrics, ...refusals })
      )
      const parts = yield* partsOf(node.id, node.spec.outputs, built)
      return yield* drainOutputs({ node, work, parts, refusals, rowsIn, onRows: progress.rows })
    })
  ) as Effect.Effect<Drained, unknown, Store | FileSystem.FileSystem>
  return attempt.pipe(retrying(node), asNodeFailed(node.id))
}
