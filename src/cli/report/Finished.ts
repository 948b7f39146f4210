/**
 * What a run left in the store, as a recipe's report reads it.
 *
 * Not a second store: it finds entries by the keys of this run's `node-end` events, so it shows what this run made or
 * took, and nothing newer.
 */
import { Effect } from "effect"
import { type Artifact, InputUnavailable } from "../../dag/Artifact.ts"
import type { AnyRef } from "../../dag/Node.ts"
import type { Pipeline } from "../../dag/Pipeline.ts"
import type { Finished, Made } from "../../dag/Sections.ts"
import { specOf } from "../../run/PlanContext.ts"
import type { View } from "../../run/Progress.ts"
import type { Store } from "../../store/Store.ts"

const fits = (ref: AnyRef | undefined, artifact: Artifact): ref is AnyRef =>
  ref !== undefined &&
  ref.artifact.tag === artifact.tag &&
  ref.artifact.kind === artifact.kind &&
  !(ref.artifact.kind === "rows" && ref.artifact.transient)

/** Reads the entries that the nodes of `view` ended with. */
export const finished = (store: Store["Service"], pipeline: Pipeline, view: View): Finished => {
  const built = Effect.fnUntraced(
    function* <A extends Artifact>(ref: AnyRef | undefined, artifact: A) {
      if (!fits(ref, artifact)) return undefined
      if (ref.node.spec.kind === "source") {
        const found = yield* store.lookAtSource(specOf(ref.node))
        return found.here ? ({ node: ref.node.id, value: { path: found.path } } as unknown as Made<A>) : undefined
      }
      const { code, key } = view.nodes.get(ref.node.id)?.end ?? {}
      if (key === undefined || code === undefined) return undefined
      const found = (yield* store.find(key, code)).find((one) => one.manifest.code.digest === code)
      if (found === undefined) return undefined
      return { node: ref.node.id, value: yield* store.open(found, ref.port, artifact) } as Made<A>
    },
    (effect, ref) =>
      Effect.mapError(
        effect,
        (cause) => new InputUnavailable({ port: ref?.port ?? "", message: cause.message, hint: cause.hint, cause })
      )
  )
  return {
    targets: (artifact) =>
      Object.entries(pipeline.targets).flatMap(([name, ref]) => (fits(ref, artifact) ? [name] : [])),
    output: (target, artifact) => built(pipeline.targets[target], artifact),
    input: (target, port, artifact) => built(pipeline.targets[target]?.node.inputs[port], artifact)
  }
}
