/**
 * A step's gradients from several threads, to the bit what one thread computes.
 *
 * Not threads: `Helpers` gives those. Micro-batch `i` is computed by thread `i mod n`, 0 being the one that steps, and
 * gradients are added in the order of micro-batches, whole ones in f32, as `Tensors.valueAndGrad` adds them: the number
 * of threads shows in nothing but the clock. the first micro-batch that fails, in that order, is the one that is
 * reported.
 *
 * Shared memory, P trained floats: the weights (P, written when a step begins), and two slots (2 P) for each helper's
 * gradients. A helper has two tasks at most, so it computes the next one while the last waits to be added; a slot is
 * used again only when its gradient has been added. Each helper holds frozen and trained weights in an engine of its
 * own.
 */
import { Effect, Schema, type Scope } from "effect"
import type { Helper, HelperFailed } from "../dag/Helpers.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import { EngineFailure, OutOfMemory, ShapeMismatch, type TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { type Gradient, gradientOf, type MicroBatch } from "./Gradient.ts"

/** Tasks that a helper holds at a time. */
const AHEAD = 2

/** Where a tensor lies in P floats. */
interface Place {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly at: number
  readonly size: number
}

interface Task {
  readonly places: ReadonlyArray<Place>
  readonly weights: SharedArrayBuffer
  /** Counts steps: the weights are uploaded once for all tasks of one. */
  readonly version: number
  readonly gradients: SharedArrayBuffer
  /** First float of the slot. */
  readonly slot: number
  readonly micro: MicroBatch<any>
}

const AnyTensorError = Schema.Union([ShapeMismatch, OutOfMemory, EngineFailure])
type Answer =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly error: typeof AnyTensorError.Encoded }

/** The gradients of one step, on their way. */
export interface StepGradients {
  /** The gradient of micro-batch `i`, added to `into`, which it consumes. Asked for in order, 0 first. */
  readonly gradient: (i: number, into?: Weights) => Effect.Effect<Gradient, TensorError | HelperFailed, Tensors>
}

/** Threads that compute a step together, the one that steps among them. */
export interface GradientWorkers {
  readonly begin: <Batch extends TokenBatch>(
    model: Trainable<Batch, any>,
    weights: Weights,
    frozen: Weights,
    micros: ReadonlyArray<MicroBatch<Batch>>
  ) => Effect.Effect<StepGradients, TensorError, Tensors>
}

/** One thread. */
export const singleThread: GradientWorkers = {
  begin: (model, weights, frozen, micros) =>
    Effect.succeed({ gradient: (i, into) => gradientOf(model, weights, frozen, micros[i]!, into) })
}

const sharedFloats = (floats: number): Effect.Effect<SharedArrayBuffer, OutOfMemory> =>
  Effect.try({
    try: () => new SharedArrayBuffer(4 * floats),
    catch: () =>
      new OutOfMemory({
        engine: "memory shared by threads",
        requestedBytes: 4 * floats,
        heldBytes: 0,
        hint: "Train on fewer threads: each but the first needs memory for the model and two of its gradients."
      })
  })

/**
 * This thread and its helpers. `weights` are those that are trained: their names and shapes are what is shared.
 *
 * Long: `begin` and the tasks under way share slots of memory that only this closure may give out.
 *
 * @example const workers = yield* gradientWorkers(yield* (yield* Helpers)(3), state.weights)
 */
export const gradientWorkers = (
  helpers: ReadonlyArray<Helper>,
  weights: Weights
): Effect.Effect<GradientWorkers, OutOfMemory> =>
  Effect.gen(function* () {
    if (helpers.length === 0) return singleThread
    let floats = 0
    const places = Object.entries(weights).map(([name, { shape, size }]): Place => {
      const place = { name, shape: [...shape], at: floats, size }
      floats += size
      return place
    })
    const shared = yield* sharedFloats(floats)
    const slots = yield* Effect.forEach(helpers, () => sharedFloats(AHEAD * floats))
    let version = 0

    const begin: GradientWorkers["begin"] = (model, current, frozen, micros) =>
      Effect.gen(function* () {
        const threads = Math.min(micros.length, helpers.length + 1)
        if (threads < 2) return yield* singleThread.begin(model, current, frozen, micros)
        const tensors = yield* Tensors
        version++
        for (const { at, name, size } of places)
          new Float32Array(shared, 4 * at, size).set(yield* tensors.read(current[name]!))

        const slotOf = (i: number) => (Math.floor(i / threads) % AHEAD) * floats
        const answers = new Map<number, Effect.Effect<unknown, HelperFailed>>()
        const send = Effect.fnUntraced(function* (i: number) {
          const micro = micros[i]
          if (micro === undefined) return
          const helper = (i % threads) - 1
          const task: Task = {
            places,
            weights: shared,
            version,
            gradients: slots[helper]!,
            slot: slotOf(i),
            micro
          }
          answers.set(i, yield* helpers[helper]!.ask(task))
        })
        for (let i = 0; i < AHEAD * threads; i++) if (i % threads !== 0) yield* send(i)

        const add = (i: number, into: Weights) =>
          tensors.run(() => {
            const from = slots[(i % threads) - 1]!
            const sums: Record<string, tf.Tensor> = {}
            for (const { at, name, shape, size } of places) {
              const gradient = tf.tensor(new Float32Array(from, 4 * (slotOf(i) + at), size), [...shape], "float32")
              sums[name] = tf.add(into[name]!, gradient)
              gradient.dispose()
              into[name]!.dispose()
            }
            // In the order of `into`, as on one thread: the norm is summed in it.
            return Object.fromEntries(Object.keys(into).map((name) => [name, sums[name]!])) as tf.NamedTensorMap
          })

        return {
          gradient: Effect.fnUntraced(function* (i, into) {
            if (i % threads === 0 || into === undefined)
              return yield* gradientOf(model, current, frozen, micros[i]!, into)
            const answer = (yield* answers.get(i)!) as Answer
            if (!answer.ok)
              return yield* Effect.fail(yield* Effect.orDie(Schema.decodeEffect(AnyTensorError)(answer.error)))
            const grads = yield* add(i, into)
            yield* send(i + AHEAD * threads)
            return { value: answer.value, grads }
          })
        } satisfies StepGradients
      })
    return { begin }
  })

/** An error as another thread can take it: causes may be anything, and only their text crosses. */
const encoded = (error: TensorError): Effect.Effect<Answer> =>
  Effect.map(
    Effect.orDie(
      Schema.encodeEffect(AnyTensorError)(
        error instanceof EngineFailure
          ? new EngineFailure({
              engine: error.engine,
              message: error.message,
              hint: error.hint,
              cause: error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : String(error.cause)
            })
          : error
      )
    ),
    (encoded) => ({ ok: false, error: encoded })
  )

/**
 * The helper's side: answers the tasks of a step with the model and the frozen weights that it opened itself.
 *
 * @example help: (context) => Effect.flatMap(open(context), ({ frozen, model }) => helperOf(model, frozen))
 */
export const helperOf = (
  model: Trainable<any, any>,
  frozen: Weights
): Effect.Effect<(task: unknown) => Effect.Effect<unknown, never, Tensors>, never, Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    let held: { readonly version: number; readonly weights: Weights } | undefined
    const letGo = Effect.suspend(() => (held === undefined ? Effect.void : tensors.free(held.weights)))
    yield* Effect.addFinalizer(() => letGo)
    const answer = Effect.fnUntraced(function* ({ gradients, micro, places, slot, version, weights }: Task) {
      if (held?.version !== version) {
        yield* letGo
        held = undefined
        const uploaded = yield* tensors.run(
          () =>
            Object.fromEntries(
              places.map(({ at, name, shape, size }) => [
                name,
                tf.tensor(new Float32Array(weights, 4 * at, size), [...shape], "float32")
              ])
            ) as tf.NamedTensorMap
        )
        held = { version, weights: uploaded }
      }
      const { grads, value } = yield* gradientOf(model, held.weights, frozen, micro)
      const write = Effect.gen(function* () {
        for (const { at, name, size } of places)
          new Float32Array(gradients, 4 * (slot + at), size).set(yield* tensors.read(grads[name]!))
      })
      yield* Effect.ensuring(write, tensors.free(grads))
      return { ok: true, value } as Answer
    })
    return (task) => Effect.catch(answer(task as Task), encoded)
  })
