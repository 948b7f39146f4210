/**
 * `Collective` over c10d: Gloo on CPUs, NCCL on GPUs.
 *
 * Not the rendezvous's choice: the runner says where it is (`dag/ProcessGroup.ts`). Three groups: one for what rank 0
 * tells next, which may take as long as it takes; one for a few numbers; one for vectors. Nothing here blocks the
 * thread but the engine's own computation. The limit of a collective is `MILLRACE_COLLECTIVE_SECONDS`, 45 when it is
 * not set.
 */
import { Effect, type Scope } from "effect"
import { read, variables } from "../../dag/Environment.ts"
import { CollectiveFailed, type CollectiveShape, type Join, type Pending, type Sink } from "../Collective.ts"
import { EngineFailure } from "../Errors.ts"
import type { TorchBackend } from "./Backend.ts"
import { type Active, handleOf, makeVectors } from "./Vectors.ts"

/** Milliseconds that a collective may take. */
const limitMs = (): number => 1000 * read(variables.collectiveSeconds)

/** What the other processes may take to come: they import the recipe, and load libtorch. */
const MEETING_MS = 120_000

/** What rank 0 may take between two steps, a day: whether it is alive is seen by the runner. */
const PATIENT_MS = 86_400_000

/**
 * The way of a torch engine into a group of processes.
 *
 * Long: joining and leaving, and a list of exchanges over the groups that were joined.
 */
export const joinOf =
  (backend: TorchBackend, active: Active): Join =>
  (rendezvous) =>
    Effect.gen(function* () {
      const { addon } = backend
      const { distributed } = addon
      const { rank, world } = rendezvous
      const limit = limitMs()
      const failed = (operation: string, cause: unknown): CollectiveFailed =>
        new CollectiveFailed({
          rank,
          world,
          operation,
          message: `${operation}: ${cause instanceof Error ? cause.message : String(cause)}`,
          hint: `Another process of the run ended, hangs, or was more than ${limit / 1000} s late (MILLRACE_COLLECTIVE_SECONDS). Run the same command again: it goes on from the last checkpoint, with any number of processes.`,
          cause
        })
      let underWay = 0
      let broken = false
      /** Counts what is started until it ends; a failure is kept for whoever waits, also when that is later. */
      const watched = <A>(operation: string, promise: Promise<A>): Effect.Effect<A, CollectiveFailed> => {
        underWay++
        const settled = promise.then(
          (value) => {
            underWay--
            return { value }
          },
          (cause: unknown) => {
            underWay--
            broken = true
            return { error: failed(operation, cause) }
          }
        )
        return Effect.flatMap(
          Effect.promise(() => settled),
          (end) => ("error" in end ? Effect.fail(end.error) : Effect.succeed(end.value))
        )
      }

      const overNccl = addon.own("overNccl", [], (results) => results.number()) === 1
      const join = Effect.fnUntraced(function* (name: string, kind: "gloo" | "nccl", ms: number, beside: number) {
        const { host, kept, listen, port } = rendezvous
        const asked = yield* Effect.try({
          try: () =>
            distributed.join(
              host,
              port,
              rank === 0 && !kept ? listen : "",
              !kept,
              `${rendezvous.name}/${name}`,
              kind,
              rank,
              world,
              MEETING_MS,
              ms,
              beside
            ),
          catch: (cause) => failed("join", cause)
        })
        return yield* Effect.acquireRelease(watched("join", asked), (group) =>
          Effect.sync(() => addon.own("leave", [group, broken || underWay > 0 ? 1 : 0], () => undefined))
        )
      })
      const telling = yield* join("telling", "gloo", PATIENT_MS, 0)
      const numbers = yield* join("numbers", "gloo", limit, telling)
      const data = overNccl ? yield* join("data", "nccl", limit, telling) : numbers

      const start = (kind: "gather" | "broadcast") => (vector: Parameters<CollectiveShape["gather"]>[0]) =>
        active((): Pending => watched(kind, distributed.collective(data, kind, handleOf(vector), 0, limit)))
      const exchange = (group: number, kind: "sum" | "tell", some: ReadonlyArray<number>, ms: number) =>
        Effect.suspend(() => watched(kind, distributed.numbers(group, kind, Float64Array.from(some), ms))).pipe(
          Effect.map((values) => Array.from(values))
        )

      const sink: CollectiveShape["sink"] = (weights, places, buckets) =>
        Effect.gen(function* () {
          const id = yield* Effect.acquireRelease(
            active(() =>
              addon.own(
                "sinkNew",
                [
                  data,
                  limit,
                  buckets.length,
                  ...buckets.map(handleOf),
                  places.length,
                  ...places.flatMap(({ at, bucket, name }) => [backend.handle(weights[name]!), bucket, at])
                ],
                (results) => results.number()
              )
            ),
            (made) => Effect.sync(() => addon.own("sinkFree", [made], () => undefined))
          )
          const begin = (last: boolean) =>
            active(() => {
              backend.sinks = true
              addon.own("sinkBegin", [id, last ? 1 : 0], () => undefined)
            })
          const end = active(() => {
            backend.sinks = false
            return addon.own("sinkEnd", [id], (results) => results.number())
          })
          let sums: ReadonlyArray<Effect.Effect<void, CollectiveFailed>> = []
          const sumsOf = active(() => buckets.map((_, i) => watched("sum of gradients", distributed.sinkWait(id, i))))
          return {
            take: (pass, last) =>
              Effect.gen(function* () {
                yield* begin(last)
                // Ends without starting anything where the pass failed.
                const { value } = yield* Effect.onError(pass, () => Effect.ignore(Effect.andThen(begin(false), end)))
                const late = yield* end
                if (late > 0)
                  return yield* new EngineFailure({
                    engine: "torch",
                    message: `${late} gradients came after their bucket had been sent: a weight is used in two recomputed blocks`,
                    hint: "Train with `recompute` false, or in one process."
                  })
                if (last) sums = yield* sumsOf
                return value
              }),
            none: Effect.gen(function* () {
              yield* begin(true)
              yield* end
              sums = yield* sumsOf
            }),
            summed: Effect.suspend(() => Effect.forEach(sums, (sum) => sum, { discard: true }))
          } satisfies Sink
        })

      return {
        ...makeVectors(backend, active),
        rank,
        world,
        sink,
        gather: start("gather"),
        broadcast: start("broadcast"),
        sum: (some) => exchange(numbers, "sum", some, limit),
        tell: (some) => Effect.asVoid(exchange(telling, "tell", some, PATIENT_MS)),
        hear: (count) =>
          exchange(
            telling,
            "tell",
            Array.from({ length: count }, () => 0),
            PATIENT_MS
          )
      } satisfies CollectiveShape
    }) as Effect.Effect<CollectiveShape, CollectiveFailed, Scope.Scope>
