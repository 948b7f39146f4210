/** Ranks in one process: collectives over plain arrays between fibers, for tests of what is built on them. */
import { Deferred, Effect } from "effect"
import type { Rendezvous } from "../../src/dag/ProcessGroup.ts"
import { adamWScalars } from "../../src/tensor/AdamW.ts"
import type { CollectiveShape } from "../../src/tensor/Collective.ts"
import { tf } from "../../src/tensor/Ops.ts"
import type { TensorsShape } from "../../src/tensor/Tensors.ts"
import type { Vector, Vectors } from "../../src/tensor/Vectors.ts"

interface ArrayVector extends Vector {
  readonly values: Float32Array
}
const of = (vector: Vector): Float32Array => (vector as ArrayVector).values
const vector = (values: Float32Array): ArrayVector => ({ size: values.length, values })

/** Vectors as plain arrays; views are copies. */
export const arrayVectors = (tensors: TensorsShape): Vectors => ({
  shared: false,
  changed: () => Effect.void,
  zeros: (size) => Effect.sync(() => vector(new Float32Array(size))),
  part: (from, at, size) => Effect.sync(() => vector(of(from).subarray(at, at + size))),
  put: (tensor, into, at) => Effect.map(tensors.read(tensor), (values) => of(into).set(values, at)),
  copy: (from, into) => Effect.sync(() => of(into).set(of(from))),
  view: (from, at, shape) => tensors.upload(of(from).slice(at, at + tf.util.sizeFromShape([...shape])), shape),
  read: (from) => Effect.sync(() => of(from).slice()),
  write: (values, into) => Effect.sync(() => of(into).set(values)),
  clear: (into) => Effect.sync(() => void of(into).fill(0)),
  scale: (into, by) => Effect.sync(() => of(into).forEach((x, i, all) => void (all[i] = x * by))),
  squares: (all) => Effect.sync(() => all.reduce((sum, one) => of(one).reduce((s, x) => s + x * x, sum), 0)),
  adamW: (slices, options, lr, update) =>
    Effect.sync(() => {
      for (const { decays, gradient, m, v, weights } of slices) {
        const s = adamWScalars(options, lr, update, decays ? 2 : 1)
        for (let i = 0; i < gradient.size; i++) {
          const g = of(gradient)[i]!
          const m2 = (of(m)[i] = of(m)[i]! * s.b1 + g * s.o1)
          const v2 = (of(v)[i] = of(v)[i]! * s.b2 + g * g * s.o2)
          of(weights)[i] = of(weights)[i]! * s.keep - (s.step * m2) / (Math.sqrt(v2) / s.root + s.eps)
        }
      }
    }),
  free: () => Effect.void
})

/** Where ranks of one process meet: `join` of each rank's engine. */
export const meetInProcess = (world: number) => {
  const rounds = new Map<string, { readonly parts: Array<unknown>; readonly all: Deferred.Deferred<Array<any>> }>()
  const calls = Array.from({ length: world }, () => new Map<string, number>())
  /** What all ranks bring to the channel's next round, by rank. */
  const bring = <A>(rank: number, channel: string, mine: A): Effect.Effect<Effect.Effect<Array<A>>> =>
    Effect.sync(() => {
      const round = calls[rank]!.get(channel) ?? 0
      calls[rank]!.set(channel, round + 1)
      const key = `${channel} ${round}`
      const found = rounds.get(key) ?? { parts: [], all: Deferred.makeUnsafe<Array<any>>() }
      rounds.set(key, found)
      found.parts[rank] = mine
      if (found.parts.filter((part) => part !== undefined).length === world) {
        rounds.delete(key)
        Deferred.doneUnsafe(found.all, Effect.succeed(found.parts))
      }
      return Deferred.await(found.all)
    })
  const join =
    (tensors: TensorsShape) =>
    ({ rank }: Rendezvous): Effect.Effect<CollectiveShape> => {
      const sumInto = (into: Float32Array) =>
        Effect.map(bring(rank, "sum", into.slice()), (all) =>
          Effect.map(all, (parts) => {
            // In the order of ranks, so that every rank has the same bits.
            for (let i = 0; i < into.length; i++) into[i] = parts.reduce((sum, part) => Math.fround(sum + part[i]!), 0)
          })
        )
      return Effect.succeed({
        ...arrayVectors(tensors),
        rank,
        world,
        sink: (_, places, buckets) =>
          Effect.sync(() => {
            let pending: ReadonlyArray<Effect.Effect<void>> = []
            const start = Effect.gen(function* () {
              pending = yield* Effect.forEach(buckets, (bucket) => sumInto(of(bucket)))
            })
            return {
              take: (pass, last) =>
                Effect.gen(function* () {
                  const { grads, value } = yield* pass
                  for (const { at, bucket, name } of places) {
                    const values = yield* tensors.read(grads[name]!)
                    for (const [i, x] of values.entries()) of(buckets[bucket]!)[at + i]! += x
                  }
                  yield* tensors.free(grads)
                  if (last) yield* start
                  return value
                }),
              none: start,
              summed: Effect.suspend(() => Effect.forEach(pending, (one) => one, { discard: true }))
            }
          }),
        gather: (whole) =>
          Effect.map(
            bring(rank, "gather", of(whole).slice((whole.size / world) * rank, (whole.size / world) * (rank + 1))),
            (all) =>
              Effect.map(all, (parts) => {
                for (const [r, part] of parts.entries()) of(whole).set(part, (whole.size / world) * r)
              })
          ),
        broadcast: (whole) =>
          Effect.map(bring(rank, "broadcast", of(whole).slice()), (all) =>
            Effect.map(all, (parts) => of(whole).set(parts[0]!))
          ),
        sum: (numbers) =>
          Effect.map(Effect.flatten(bring(rank, "numbers", numbers)), (parts) =>
            numbers.map((_, i) => parts.reduce((sum, part) => sum + part[i]!, 0))
          ),
        tell: (numbers) => Effect.asVoid(Effect.flatten(bring(rank, "telling", numbers))),
        hear: () => Effect.map(Effect.flatten(bring<ReadonlyArray<number>>(rank, "telling", [])), (parts) => parts[0]!)
      })
    }
  return { join }
}
