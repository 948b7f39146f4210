/**
 * One stream of batches for several ports, as one stream a port.
 *
 * All streams must be drained, concurrently: the slowest sets the pace (one batch in flight a port).
 */

import type { Cause } from "effect"
import { Effect, Queue, type Scope, Stream } from "effect"
import type { NodeSpec } from "./Node.ts"
import { kindOf } from "./Parameters.ts"
import { checkedParts, WrongResult } from "./Results.ts"

/** Splits a stream of `{ port: rows }` batches into its ports. An error reaches every port. */
export const fanOut = <E, R>(
  ports: ReadonlyArray<string>,
  batches: Stream.Stream<Readonly<Record<string, ReadonlyArray<unknown>>>, E, R>
): Effect.Effect<Readonly<Record<string, Stream.Stream<ReadonlyArray<unknown>, E>>>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const queues = new Map<string, Queue.Queue<ReadonlyArray<unknown>, E | Cause.Done>>()
    for (const port of ports) queues.set(port, yield* Queue.bounded<ReadonlyArray<unknown>, E | Cause.Done>(1))
    yield* batches.pipe(
      Stream.runForEach((batch) =>
        Effect.forEach(queues, ([port, queue]) => Queue.offer(queue, batch[port]!), { discard: true })
      ),
      Effect.matchCauseEffect({
        onFailure: (cause) =>
          Effect.forEach(queues.values(), (queue) => Queue.failCause(queue, cause), { discard: true }),
        onSuccess: () => Effect.forEach(queues.values(), (queue) => Queue.end(queue), { discard: true })
      }),
      Effect.forkScoped
    )
    return Object.fromEntries([...queues].map(([port, queue]) => [port, Stream.fromQueue(queue)]))
  })

/**
 * The output streams of a sharded definition applied to one shard's context, whichever of the two forms it returns.
 *
 * `ports` are those that will be drained, all outputs when left out: a port that nobody drains would hold up the
 * others. A single port needs no queue, so its stream may be run any number of times.
 */
export const shardParts = (
  spec: Pick<NodeSpec, "id" | "run" | "outputs">,
  context: unknown,
  ports: ReadonlyArray<string> = Object.keys(spec.outputs)
): Effect.Effect<Readonly<Record<string, Stream.Stream<ReadonlyArray<unknown>, any, any>>>, never, Scope.Scope> =>
  Effect.suspend(() => {
    const built = (spec.run as (context: unknown) => unknown)(context)
    if (!Stream.isStream(built)) {
      if (built instanceof Promise) built.catch(() => undefined)
      return Effect.succeed(
        checkedParts(spec.id, spec.outputs, built, ports) as Readonly<
          Record<string, Stream.Stream<ReadonlyArray<unknown>>>
        >
      )
    }
    const names = Object.keys(spec.outputs)
    const batches = Stream.map(
      built as Stream.Stream<Readonly<Record<string, ReadonlyArray<unknown>>>, any>,
      (batch) => {
        if (names.every((port) => Array.isArray(batch?.[port]))) return batch
        throw new WrongResult({
          node: spec.id,
          message: `its stream must give arrays of rows for every output at once, got ${kindOf(batch)}`,
          hint: `Each element is like \`{ ${names.map((port) => `${port}: [...]`).join(", ")} }\`.`
        })
      }
    )
    const [only, ...more] = ports
    return only !== undefined && more.length === 0
      ? Effect.succeed({ [only]: Stream.map(batches, (batch) => batch[only]!) })
      : fanOut(ports, batches)
  })
