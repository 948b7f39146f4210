/**
 * What the failure of one node means for the others of its run.
 *
 * Without `keepGoing` the first failure ends the run: folds save a checkpoint and stop (they hear it as they hear a
 * Ctrl-C), every other node is interrupted at once. With it, all that does not need a failed node goes on to its end,
 * and the rest is skipped, by name. Either way the run fails.
 */
import { Clock, Deferred, Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { Events } from "./Events.ts"
import { NodesFailed, Stop } from "./Run.ts"
import type { RunError } from "./RunSession.ts"

export interface Failures {
  /** The run's stop, which a failure asks for too where it ends the run. */
  readonly stop: Stop["Service"]
  /** Runs a node's part; its failure is kept, and `then` follows it. */
  readonly guard: <A, B, R>(
    node: AnyNode,
    part: Effect.Effect<A, RunError, R>,
    then: Effect.Effect<B>
  ) => Effect.Effect<void, never, R>
  /** Publishes that a node was skipped because of nodes `before` it, if one of them failed or was skipped. */
  readonly skip: (node: AnyNode, before: ReadonlyArray<AnyNode>) => Effect.Effect<void>
  /** Fails if a node did. */
  readonly end: Effect.Effect<void, RunError>
}

/** Failures that no other node could outlive, whatever was asked for. */
const endsAll = (error: RunError): boolean => ["RankLost", "SelectionError", "Interrupted"].includes(error._tag)

export const makeFailures = Effect.fnUntraced(function* (
  outer: Stop["Service"],
  keepGoing: boolean
): Effect.fn.Return<Failures, never, Events> {
  const events = yield* Events
  const ending = yield* Deferred.make<void>()
  let ends = false
  const failed = new Map<AnyNode, RunError>()
  /** Why a node was skipped: the failed nodes that it needs, by id. */
  const skipped = new Map<AnyNode, ReadonlySet<string>>()
  const end = Effect.suspend(() => {
    ends = true
    return Effect.asVoid(Deferred.succeed(ending, undefined))
  })
  const stop = Stop.of({
    request: outer.request,
    requested: () => ends || outer.requested(),
    wait: Effect.raceFirst(outer.wait, Deferred.await(ending))
  })
  const fail = (node: AnyNode, error: RunError): Effect.Effect<void> => {
    failed.set(node, error)
    return keepGoing && !endsAll(error) ? Effect.void : end
  }
  return {
    stop,
    guard: (node, part, then) => {
      // A fold that waits for this node must hear that it will not come.
      const ended = Effect.andThen(Deferred.await(ending), then)
      const alone: Effect.Effect<unknown, RunError, any> =
        node.spec.kind === "fold" ? part : Effect.raceFirst(part, ended)
      return Effect.asVoid(
        Effect.catch(alone, (error) => Effect.andThen(fail(node, error), then) as Effect.Effect<unknown>)
      )
    },
    skip: Effect.fnUntraced(function* (node, before) {
      const needs = new Set<string>()
      for (const one of before) {
        if (failed.has(one)) needs.add(one.id)
        for (const id of skipped.get(one) ?? []) needs.add(id)
      }
      if (!keepGoing || ends || needs.size === 0) return
      skipped.set(node, needs)
      yield* events.publish({
        event: "node-end",
        at: yield* Clock.currentTimeMillis,
        node: node.id,
        kind: node.spec.kind,
        status: "skipped",
        seconds: 0,
        rowsIn: 0,
        rowsOut: 0,
        refused: 0,
        refusedBy: {},
        skippedFor: [...needs]
      })
    }),
    end: Effect.suspend(() => {
      const [first, ...more] = failed.values()
      if (first === undefined) return Effect.void
      if (more.length === 0 || !keepGoing) return Effect.fail(first)
      return Effect.fail(
        new NodesFailed({
          nodes: [...failed.keys()].map((node) => node.id),
          skipped: [...skipped.keys()].map((node) => node.id),
          message: [...failed]
            .map(
              ([node, error]) =>
                `${node.id}: ${error._tag === "NodeFailed" ? error.message : `${error._tag}: ${error.message}`}`
            )
            .join("\n"),
          hint: "Fix the causes and run the same command again: finished work is kept.",
          cause: first
        })
      )
    })
  }
})
