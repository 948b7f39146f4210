/** `--only`, `--from`, `--until`, `--force`: which nodes a run looks at, and which of them it may run. */
import { Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { type Pipeline, reach } from "../dag/Pipeline.ts"
import { type RunOptions, SelectionError } from "./Run.ts"

export interface Selection {
  /** Nodes looked at, inputs before consumers. */
  readonly nodes: ReadonlyArray<AnyNode>
  /** Nodes that may run; the others must be in the store. */
  readonly mayRun: ReadonlySet<AnyNode>
  readonly forced: ReadonlySet<string>
}

/**
 * `--until X`: X and what it needs. `--only X`: X alone, the rest from the store. `--from X`: X and what follows it,
 * what comes before from the store; nodes that have nothing to do with X are left out.
 */
export const select = Effect.fn("run.select")(function* (
  pipeline: Pipeline,
  options: Pick<RunOptions, "only" | "from" | "until" | "force" | "allowStaleCode">
): Effect.fn.Return<Selection, SelectionError> {
  const byId = new Map(pipeline.nodes.map((node) => [node.id, node]))
  const named = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const out: Array<AnyNode> = []
    for (const id of ids) {
      const node = byId.get(id)
      if (node === undefined)
        return yield* new SelectionError({
          node: id,
          message: `no node is called "${id}"`,
          hint: `Nodes: ${[...byId.keys()].join(", ")}`
        })
      out.push(node)
    }
    return out
  })
  const only = yield* named(options.only)
  const from = yield* named(options.from)
  const until = yield* named(options.until)
  yield* named(options.force)
  yield* named(options.allowStaleCode === undefined || options.allowStaleCode === false ? [] : options.allowStaleCode)
  const ends = [...only, ...until]
  let wanted = new Set(ends.length === 0 ? pipeline.nodes : reach(ends))
  let mayRun = new Set(wanted)
  if (from.length > 0) {
    const after = new Set<AnyNode>(from)
    for (const node of pipeline.nodes)
      if (Object.values(node.inputs).some((ref) => after.has(ref.node))) after.add(node)
    mayRun = new Set([...wanted].filter((node) => after.has(node)))
    wanted = new Set(reach(mayRun))
  }
  const nodes = pipeline.nodes.filter((node) => wanted.has(node))
  if (only.length > 0)
    mayRun = new Set(nodes.filter((node) => mayRun.has(node) && (only.includes(node) || until.includes(node))))
  return { nodes, mayRun, forced: new Set(options.force) }
})
