/**
 * A pipeline: a name and named targets; what the targets reach is the graph. A plain value, nothing runs.
 *
 * Cycles cannot be written, because a node is applied to outputs that exist already.
 */
import type { Artifact } from "./Artifact.ts"
import { nameFault } from "./InstanceScope.ts"
import { type AnyNode, type AnyRef, type Ref, WiringError } from "./Node.ts"
import { kindOf } from "./Parameters.ts"
import { callerLocation, showSourceLocation } from "./SourceLocation.ts"

export type Targets = { readonly [name: string]: AnyRef }

/** A graph with named outputs; `E` and `R` are all errors and services of the nodes in it. */
export interface Pipeline<out T extends Targets = Targets, out E = any, out R = any> {
  readonly name: string
  readonly targets: T
  /** Every node once, inputs before consumers; the order is a function of the graph alone. */
  readonly nodes: ReadonlyArray<AnyNode>
  readonly "~": { readonly e: E; readonly r: R }
}

type ErrorOf<X> = X extends Ref<Artifact, infer E, any> ? E : never
type ServicesOf<X> = X extends Ref<Artifact, any, infer R> ? R : never

/** Nodes that `roots` reach, inputs first; an explicit stack, so depth is bounded by memory alone. */
export const reach = (roots: Iterable<AnyNode>): ReadonlyArray<AnyNode> => {
  const done = new Set<AnyNode>()
  for (const root of roots) {
    const stack: Array<{ node: AnyNode; next: Array<AnyNode> }> = []
    const enter = (node: AnyNode) => {
      if (!done.has(node)) stack.push({ node, next: Object.values(node.inputs).map((ref) => ref.node) })
    }
    enter(root)
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!
      const next = top.next.shift()
      if (next !== undefined) enter(next)
      else {
        done.add(top.node)
        stack.pop()
      }
    }
  }
  return [...done]
}

/**
 * A pipeline value of everything `targets` reach. Throws `WiringError` when two instances share an id.
 *
 * @example
 * const recipe = pipeline("words", { loud: shout({ rows: words.out.rows }, {}).out.rows })
 */
export const pipeline = <const T extends Targets>(
  name: string,
  targets: T
): Pipeline<T, ErrorOf<T[keyof T]>, ServicesOf<T[keyof T]>> => {
  const fail = (at: string, fault: { readonly message: string; readonly hint: string }): never => {
    throw new WiringError({ node: at, sourceLocation: showSourceLocation(callerLocation()), ...fault })
  }
  const wrongName = nameFault("pipeline", name)
  if (wrongName !== undefined) fail(String(name), wrongName)
  for (const [target, ref] of Object.entries(targets))
    if (ref?.node === undefined || ref.port === undefined)
      fail(name, {
        message: `target ${target} must be an output of a node, got ${kindOf(ref)}`,
        hint: "Write `{ NAME: node.out.PORT }`."
      })
  const nodes = reach(Object.values(targets).map((ref) => ref.node))
  const byId = new Map<string, AnyNode>()
  for (const node of nodes) {
    const other = byId.get(node.id)
    if (other !== undefined)
      throw new WiringError({
        node: node.id,
        sourceLocation: showSourceLocation(node.sourceLocation),
        message:
          `two nodes are called "${node.id}": one at ${showSourceLocation(other.sourceLocation)}, ` +
          `one at ${showSourceLocation(node.sourceLocation)}`,
        hint: `Name one of them: definition.named("...")(...), or wrap the sub-graph in scope("...", () => ...).`
      })
    byId.set(node.id, node)
  }
  return { name, targets, nodes } as unknown as Pipeline<T, ErrorOf<T[keyof T]>, ServicesOf<T[keyof T]>>
}
