/** However many threads compute a step, its bits are those of one, and so is its error. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { AnyFold } from "../../src/dag/Fold.ts"
import { type Helper, HelperFailed, Helpers } from "../../src/dag/Helpers.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import { phiTrainable } from "../../src/model/Trainable.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { EngineFailure, OutOfMemory } from "../../src/tensor/Errors.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { gradientWorkers, helperOf } from "../../src/training/GradientWorkers.ts"
import { evaluateLoss, freeState, initialState, saveState, trainStep } from "../../src/training/Step.ts"
import { textBatch, tinyPhi, uploadPhi } from "../model/support.ts"
import { initialProjector, tinyModels, tinyPictured, tuneSettings } from "../nodes/support.ts"

const fold = tuneInstructions.spec.run as AnyFold
const hex = (files: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]))

/**
 * A helper in this thread: what crosses is copied as between threads. `eager` computes when asked, as a fast helper
 * does, so that two gradients lie in its slots before the first is added; otherwise when the answer is waited for.
 */
const near = (reply: (task: unknown) => Effect.Effect<unknown>, eager: boolean, asked: { count: number }): Helper => ({
  ask: (task) =>
    Effect.suspend(() => {
      asked.count++
      const answer = Effect.map(reply(structuredClone(task)), structuredClone)
      return eager ? Effect.map(answer, Effect.succeed) : Effect.succeed(answer)
    })
})

/**
 * Nine conversations about images, in batches of five: micro-batches of 2, 2 and 1 rows, and a last batch of 2 and 2.
 */
const open = Effect.gen(function* () {
  const { into, model, tokenizer, vision } = yield* tinyModels()
  const projector = yield* initialProjector(into)
  const { pixels, v1 } = yield* tinyPictured(9, (i) => i % 4 === 3)
  const inputs = {
    model: { path: model },
    vision: { path: vision },
    tokenizer: { path: tokenizer },
    projector: { path: projector },
    data: fromArray(v1),
    heldOut: fromArray([]),
    images: fromArray(pixels)
  }
  const params = { ...tuneSettings, batch: 5, microBatch: 2, dropout: true, warmupRatio: 0.3, maxGradNorm: 0.5 }
  return (some: Partial<typeof params>) => ({ params: { ...params, ...some }, inputs }) as never
})

/** Runs a fold from `files` (or its start) on so many threads, a snapshot after every step. */
const stepped = Effect.fnUntraced(function* (
  context: never,
  threads: number,
  options: { readonly eager?: boolean; readonly from?: ReadonlyMap<string, Uint8Array>; readonly steps?: number } = {}
) {
  const asked = { count: 0 }
  const run = Effect.gen(function* () {
    let state = options.from === undefined ? yield* fold.init(context) : yield* fold.state.decode(context, options.from)
    const snapshots: Array<ReadonlyMap<string, Uint8Array>> = []
    for (let done = 0; done < (options.steps ?? 100); done++) {
      const { step, total } = fold.progress(state)
      if (step >= total) break
      state = yield* fold.step(context, state)
      snapshots.push(yield* fold.state.encode(state))
    }
    return snapshots
  })
  const helpers = (wanted: number) =>
    Effect.forEach(Array.from({ length: Math.min(wanted, threads - 1) }), () =>
      Effect.map(fold.help!(context), (reply) => near(reply as never, options.eager ?? true, asked))
    ) as unknown as Effect.Effect<ReadonlyArray<Helper>>
  const snapshots = yield* Effect.scoped(Effect.provideService(run, Helpers, helpers))
  return { snapshots, asked: asked.count }
})

describe("gradient workers", () => {
  it.effect(
    "of two, three or more threads gives the bits of one after every step: dropout, clipping, uneven parts",
    () =>
      Effect.gen(function* () {
        const context = yield* open
        for (const some of [{}, { microBatch: 1 }, { microBatch: 1, batch: 9, maxGradNorm: null }] as const) {
          const one = yield* stepped(context(some as never), 1)
          expect(one.asked).toBe(0)
          expect(one.snapshots.length).toBeGreaterThan(1)
          for (const threads of [2, 3, 5])
            for (const eager of [true, false]) {
              const many = yield* stepped(context(some as never), threads, { eager })
              expect(many.asked).toBeGreaterThan(one.snapshots.length - 1)
              expect(many.snapshots.map(hex)).toEqual(one.snapshots.map(hex))
            }
        }
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("may be of another size after a checkpoint", () =>
    Effect.gen(function* () {
      const context = (yield* open)({})
      const straight = (yield* stepped(context, 1)).snapshots
      let files: ReadonlyMap<string, Uint8Array> | undefined
      for (const [i, threads] of [3, 1, 2, 3].entries()) {
        const { snapshots } = yield* stepped(context, threads, { steps: 1, ...(files && { from: files }) })
        files = snapshots[0]!
        expect(hex(files)).toEqual(hex(straight[i]!))
      }
      expect(straight.length).toBe(4)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("asks for no helper when a step is one micro-batch, and keeps no tensor when its scope closes", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const context = yield* open
      const wanted: Array<number> = []
      const spy = (n: number) =>
        Effect.as(
          Effect.sync(() => wanted.push(n)),
          []
        )
      const begun = (some: object) =>
        Effect.scoped(Effect.provideService(fold.init(context(some as never)), Helpers, spy as never))
      yield* begun({ batch: 4, microBatch: 4 })
      expect(wanted).toEqual([])
      yield* begun({ batch: 9, microBatch: 2 })
      expect(wanted).toEqual([4])
      const before = (yield* tensors.memory).tensors
      yield* stepped(context({}), 3)
      expect((yield* tensors.memory).tensors).toBe(before)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})

const model = phiTrainable(tinyPhi)
const named = (name: string, seed: number) => ({ ...textBatch([6, 5], 6, seed), rowIds: [`${name}1`, `${name}2`] })
const options = { lr: 1e-3, seed: 0, step: 41 }

/**
 * Steps a tiny Phi over micro-batches with helpers that reply so, and gives the error. The state stays as it was, and
 * no tensor is left behind.
 */
const failing = Effect.fnUntraced(function* (
  helpers: Effect.Effect<ReadonlyArray<Helper>, never, Tensors | Scope.Scope>,
  poisoned = false,
  micros = ["a", "b", "c", "d"].map(named)
) {
  const tensors = yield* Tensors
  const fresh = yield* initialState(yield* uploadPhi)
  const name = "model.final_layernorm.bias"
  const weights = poisoned
    ? { ...fresh.weights, [name]: yield* tensors.run(() => tf.fill([tinyPhi.hiddenSize], Number.NaN)) }
    : fresh.weights
  const state = { ...fresh, weights }
  const before = yield* saveState(state)
  yield* evaluateLoss(model, fresh.weights, [named("a", 0)]) // makes the tables that the model keeps
  const { tensors: alive } = yield* tensors.memory
  const error = yield* Effect.scoped(
    Effect.gen(function* () {
      const workers = yield* gradientWorkers(yield* helpers, state.weights)
      return yield* Effect.flip(trainStep(model, state, {}, micros, { ...options, workers }))
    })
  )
  expect((yield* tensors.memory).tensors).toBe(alive)
  expect(yield* saveState(state)).toEqual(before)
  yield* tensors.free(fresh.weights)
  yield* freeState(state)
  return error
})

const noHelpers = Effect.succeed([])
const one = (with_ = model) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const reply = yield* helperOf(with_, {})
    return [near((task) => Effect.provideService(reply(task), Tensors, tensors), true, { count: 0 })]
  })

describe("an error of gradient workers", () => {
  it.effect("is the first in the order of micro-batches, as on one thread, and leaves the state as it was", () =>
    Effect.gen(function* () {
      const first = yield* failing(noHelpers, true)
      expect(first).toMatchObject({ _tag: "NonFiniteLoss", step: 41, rows: ["a1", "a2"] })
      expect(yield* failing(one(), true)).toEqual(first)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "is the engine's own, typed, whichever thread it came from, and told before a later one of this thread",
    () =>
      Effect.gen(function* () {
        // Micro-batch b fails in the helper, c (too few ids) in this thread: b is told.
        const short = { ...named("c", 2), ids_BT: new Int32Array(3) }
        const micros = [named("a", 0), named("b", 1), short, named("d", 3)]
        expect(yield* failing(noHelpers, false, micros)).toMatchObject({ _tag: "ShapeMismatch" })
        for (const error of [
          new OutOfMemory({ engine: "wasm", requestedBytes: 8, heldBytes: 4, hint: "Less." }),
          new EngineFailure({ engine: "wasm", message: "no", hint: "Look.", cause: () => "not plain data" })
        ]) {
          const refusing = {
            ...model,
            prepare: () => {
              throw error
            }
          }
          const told = yield* failing(one(refusing), false, micros)
          expect(told).toBeInstanceOf(error.constructor)
          expect({ ...told, cause: "" }).toMatchObject({ ...error, cause: "" })
        }
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("is a helper's end when a helper ends", () =>
    Effect.gen(function* () {
      const gone = new HelperFailed({ message: "a helper thread exited with code 7", hint: "Run again." })
      expect(yield* failing(Effect.succeed([{ ask: () => Effect.succeed(Effect.fail(gone)) }]))).toBe(gone)
    }).pipe(Effect.provide(Engine.wasm))
  )
})
