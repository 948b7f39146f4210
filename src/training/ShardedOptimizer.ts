/**
 * A training step by several processes: data parallel, the optimiser's state cut over them (ZeRO-1).
 *
 * Not processes and not a model. Weights lie in flat buckets that all ranks have; moments only in slices, of which each
 * rank owns one a bucket. A step: every rank adds the gradients of its micro-batches (`BatchSharding.ts`) in order, in
 * f32; sums over ranks start bucket by bucket while the last backward pass goes on; each rank updates its slices;
 * slices are gathered. The loss is normalised over the supervised tokens of all ranks' rows. Losses, norms and refusals
 * are the same everywhere: what one rank finds not to be finite ends the step on all, with the state from before it.
 *
 * The same bits on every run with as many ranks; with another number, equal within rounding: sums are added in another
 * order.
 */
import { Effect, type Scope } from "effect"
import { lossTokens, type TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import { recipeAdamW } from "../tensor/AdamW.ts"
import { Collective, type CollectiveFailed, numbersOf, textOf } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import type { Slice, Vector } from "../tensor/Vectors.ts"
import { type Cut, cutBuckets, type Shapes } from "./BatchSharding.ts"
import { clipCoefficient } from "./Clip.ts"
import { gradientOf } from "./Gradient.ts"
import {
  NonFiniteLoss,
  NothingToLearn,
  rowsOf,
  type SavedState,
  type SavedTensor,
  type StepOptions,
  type StepResult,
  type TrainState
} from "./Step.ts"

/** The step's micro-batches, and how one of them is loaded. */
export interface GroupStep<Batch extends TokenBatch, E, R> {
  readonly cuts: ReadonlyArray<Cut<ReadonlyArray<number>>>
  readonly load: (rows: ReadonlyArray<ReadonlyArray<number>>) => Effect.Effect<Batch, E, R>
}

/** A state that several processes hold together. */
export interface ShardedOptimizer {
  /** The weights, and the updates that they have had; moments are elsewhere. */
  readonly train: () => TrainState
  /** One step. Fails as `trainStep` does, and leaves the state as it was. */
  readonly step: <Batch extends TokenBatch, E, R>(
    model: Trainable<Batch, any>,
    frozen: Weights,
    shared: GroupStep<Batch, E, R>,
    options: Omit<StepOptions, "workers">
  ) => Effect.Effect<
    Omit<StepResult, "state">,
    E | TensorError | NonFiniteLoss | NothingToLearn | CollectiveFailed,
    R | Tensors
  >
  /** The whole state as plain arrays on rank 0; the others give their parts, and get nothing. */
  readonly save: Effect.Effect<SavedState, TensorError | CollectiveFailed>
}

/** What rank 0 says of the state before its values. */
interface Header {
  readonly update: number
  readonly shapes: Shapes
}

const tellText = Effect.fnUntraced(function* (text: string) {
  const collective = yield* Collective
  const numbers = numbersOf(text)
  yield* collective.tell([numbers.length])
  yield* collective.tell(numbers)
})

const hearText = Effect.gen(function* () {
  const collective = yield* Collective
  const [length] = yield* collective.hear(1)
  return textOf(yield* collective.hear(length!))
})

/**
 * Shares rank 0's state with the ranks that follow; it is consumed. The others give none.
 *
 * Long: `step` and `save` share buckets and moments that only this closure may touch.
 *
 * @example const optimizer = yield* shardOptimizer(yield* restoreState(saved)) // and `shardOptimizer(undefined)` on the other ranks
 */
export const shardOptimizer = (
  state: TrainState | undefined
): Effect.Effect<ShardedOptimizer, TensorError | CollectiveFailed, Tensors | Collective | Scope.Scope> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const collective = yield* Collective
    const { rank, world } = collective
    const header: Header =
      state === undefined
        ? (JSON.parse(yield* hearText) as Header)
        : {
            update: state.update,
            shapes: Object.entries(state.weights).map(([name, { shape }]) => [name, [...shape]] as const)
          }
    if (state !== undefined) yield* tellText(JSON.stringify(header))
    const cut = cutBuckets(header.shapes, world)

    const held: Array<Vector> = []
    yield* Effect.addFinalizer(() => collective.free(...held))
    const keep = (made: Effect.Effect<Vector, TensorError>) =>
      Effect.tap(made, (vector) => Effect.sync(() => held.push(vector)))
    const ownPart = (of: Vector) => collective.part(of, (of.size / world) * rank, of.size / world)

    const whole: Array<Vector> = []
    const gradients: Array<Vector> = []
    const slices: Array<Slice> = []
    /** Fills a bucket from the tensors of rank 0, and brings it to all. */
    const fill = Effect.fnUntraced(function* (bucket: Vector, i: number, from: Weights | undefined) {
      if (from !== undefined) for (const { at, name } of cut[i]!.places) yield* collective.put(from[name]!, bucket, at)
      yield* yield* collective.broadcast(bucket)
    })
    for (const [i, { decays, places, size }] of cut.entries()) {
      const bucket = yield* keep(collective.zeros(size))
      const gradient = yield* keep(collective.zeros(size))
      const [m, v] = [yield* keep(collective.zeros(size / world)), yield* keep(collective.zeros(size / world))]
      yield* fill(bucket, i, state?.weights)
      if (header.update > 0) {
        const moments = yield* collective.zeros(size)
        for (const [into, from] of [[m, state?.m] as const, [v, state?.v] as const]) {
          yield* fill(moments, i, from)
          const part = yield* ownPart(moments)
          yield* collective.copy(part, into)
          yield* collective.free(part)
        }
        yield* collective.free(moments)
      }
      if (state !== undefined)
        for (const { name } of places)
          yield* tensors.free(...[state.weights[name], state.m[name], state.v[name]].filter((t) => t !== undefined))
      whole.push(bucket)
      gradients.push(gradient)
      slices.push({
        weights: yield* keep(ownPart(bucket)),
        gradient: yield* keep(ownPart(gradient)),
        m,
        v,
        decays
      })
    }

    const viewed = Effect.gen(function* () {
      const views: Record<string, Tensor> = {}
      for (const [i, { places }] of cut.entries())
        for (const { at, name, shape } of places) views[name] = yield* collective.view(whole[i]!, at, shape)
      // In the model's order, not in that of buckets.
      return Object.fromEntries(header.shapes.map(([name]) => [name, views[name]!]))
    })
    let train: TrainState = { weights: yield* viewed, m: {}, v: {}, update: header.update }
    yield* Effect.addFinalizer(() => tensors.free(train.weights))
    const sink = yield* collective.sink(
      train.weights,
      cut.flatMap(({ places }, bucket) => places.map(({ at, name }) => ({ name, bucket, at }))),
      gradients
    )

    const step: ShardedOptimizer["step"] = (model, frozen, { cuts, load }, options) =>
      Effect.gen(function* () {
        const mine = cuts.filter(({ index }) => index % world === rank)
        const batches = yield* Effect.forEach(mine, ({ rows }) => load(rows))
        /** Row ids of micro-batches, which may be another rank's. */
        const namesOf = (some: typeof cuts) =>
          Effect.map(
            Effect.forEach(some, ({ rows }) => load(rows)),
            rowsOf
          )
        const [tokens] = yield* collective.sum([batches.reduce((sum, batch) => sum + lossTokens(batch), 0)])
        if (tokens === 0)
          return yield* new NothingToLearn({
            step: options.step,
            message: `no token of step ${options.step}'s rows carries loss`,
            rows: yield* namesOf(cuts),
            hint: "Every label is -100 or cut off: drop rows without an answer, and truncate after image expansion."
          })
        yield* Effect.forEach(gradients, collective.clear, { discard: true })
        const losses = cuts.map(() => 0)
        for (const [i, batch] of batches.entries()) {
          const { first, index } = mine[i]!
          const rows = Array.from({ length: batch.rows }, (_, row) => batch.rowNumbers?.[row] ?? first + row)
          const micro = {
            batch,
            normaliser: tokens!,
            ...(options.dropout === false ? {} : { dropout: { seed: options.seed, step: options.step, rows } })
          }
          losses[index] = yield* sink.take(gradientOf(model, train.weights, frozen, micro), i === batches.length - 1)
        }
        if (batches.length === 0) yield* sink.none
        yield* sink.summed
        const squares = yield* collective.squares(slices.map(({ gradient }) => gradient))
        // Each micro-batch's loss is one rank's, and nothing is added to it: the same bits everywhere.
        const found = yield* collective.sum([...losses, squares])
        const bad = cuts.find(({ index }) => !Number.isFinite(found[index]))
        if (bad !== undefined)
          return yield* new NonFiniteLoss({
            step: options.step,
            value: String(found[bad.index]),
            quantity: "loss",
            rows: yield* namesOf([bad]),
            hint: "Look at these rows, lower the learning rate, or go back to the last good checkpoint."
          })
        const gradNorm = Math.sqrt(found[cuts.length]!)
        if (!Number.isFinite(gradNorm))
          return yield* new NonFiniteLoss({
            step: options.step,
            value: String(gradNorm),
            quantity: "gradient",
            rows: yield* namesOf(cuts),
            hint: "The loss is finite but its gradient is not: look at these rows, or lower the learning rate."
          })
        const scale = clipCoefficient(gradNorm, options.maxGradNorm)
        if (scale < 1) for (const { gradient } of slices) yield* collective.scale(gradient, scale)
        yield* collective.adamW(slices, options.adamW ?? recipeAdamW, options.lr, train.update + 1)
        const gathered = yield* Effect.forEach(whole, collective.gather)
        yield* Effect.forEach(gathered, (pending) => pending, { discard: true })
        if (collective.shared) yield* collective.changed(train.weights)
        else {
          yield* tensors.free(train.weights)
          train = { ...train, weights: yield* Effect.provideService(viewed, Tensors, tensors) }
        }
        train = { ...train, update: train.update + 1 }
        const loss = cuts.reduce((sum, { index }) => sum + found[index]!, 0)
        return { loss, tokens: tokens!, gradNorm }
      })

    const save = Effect.gen(function* () {
      const saved: Record<string, SavedTensor> = {}
      const take = Effect.fnUntraced(function* (part: string, i: number, bucket: Vector) {
        if (rank !== 0) return
        const values = yield* collective.read(bucket)
        for (const { at, name, shape, size } of cut[i]!.places)
          saved[`${part}/${name}`] = { shape, values: values.subarray(at, at + size) }
      })
      for (const [i, { size }] of cut.entries()) {
        yield* take("weights", i, whole[i]!)
        for (const part of ["m", "v"] as const) {
          const bucket = yield* collective.zeros(size)
          const own = yield* ownPart(bucket)
          yield* collective.copy(slices[i]![part], own)
          yield* yield* collective.gather(bucket)
          yield* take(part, i, bucket)
          yield* collective.free(own, bucket)
        }
      }
      return { update: train.update, tensors: saved }
    })

    return { train: () => train, step, save } satisfies ShardedOptimizer
  })
