/**
 * Rows that a finished node read, input by input.
 *
 * Not part of a manifest, which counts all together: examples, held-out examples and images are different things, and
 * each is shown. Taken from the manifests of the entries that the inputs came from.
 */
import { Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { Manifest } from "../store/Manifest.ts"
import { Store, type StoreError } from "../store/Store.ts"

/**
 * Rows by input, in the order in which the node declares them. Undefined for a node with fewer than two inputs of rows,
 * for a sharded one (its inputs are read side by side), and where an entry is not in the store any more.
 *
 * @example
 * yield* rowsReadByPort(node, manifest) // { data: 2697, heldOut: 113, images: 2750 }
 */
export const rowsReadByPort = (
  node: AnyNode,
  manifest: Pick<Manifest, "parents" | "parts">
): Effect.Effect<Readonly<Record<string, number>> | undefined, StoreError, Store> =>
  Effect.gen(function* () {
    const ports = Object.keys(node.spec.inputs).filter((port) => node.inputs[port]?.artifact.kind === "rows")
    if (node.spec.kind === "sharded" || ports.length < 2) return undefined
    const store = yield* Store
    const rows: Record<string, number> = {}
    for (const port of ports) {
      const parent = manifest.parents[port] ?? ""
      const digest = manifest.parts.inputs[port]
      const from = parent === "" ? [] : yield* store.find(parent, "")
      const outputs = from.map((found) => found.manifest.outputs[node.inputs[port]!.port])
      const read = outputs.find((output) => output?.digest === digest)
      if (read?.kind !== "rows") return undefined
      rows[port] = read.rows
    }
    return rows
  })
