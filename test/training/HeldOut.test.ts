/**
 * Held-out rows measured on the way change nothing that is trained, and the weights of the lowest loss are what is
 * kept.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Fiber, Schema } from "effect"
import type { AnyFold } from "../../src/dag/Fold.ts"
import { encodeParams } from "../../src/dag/Key.ts"
import type { AnyNode } from "../../src/dag/Node.ts"
import { ProcessGroup } from "../../src/dag/ProcessGroup.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import { trainLanguageModel } from "../../src/nodes/TrainLanguageModel.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import type { Weights } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { decodeLoop, encodeLoop } from "../../src/training/Checkpoint.ts"
import { conclude, heldOutSaved, isDue, noteLoss, watchHeldOut } from "../../src/training/HeldOut.ts"
import type { Trained } from "../../src/training/Stage.ts"
import { trainingFold } from "../../src/training/TrainingFold.ts"
import { initialProjector, settings, tinyModels, tinyPictured, tuneSettings } from "../nodes/support.ts"
import { meetInProcess } from "../tensor/ranks.ts"

const bits = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex")

describe("a watch", () => {
  const Losses = Schema.Array(Schema.Literals([0.25, 0.5, 1, 2])).check(Schema.isMinLength(1), Schema.isMaxLength(12))
  const every = Arbitrary.schema(Schema.Literals([1, 2, 3]))
  const cut = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })))

  it.effect.prop(
    "keeps the first of the lowest losses, wherever it is saved and restored, and says which step it was",
    [Arbitrary.schema(Losses), every, cut],
    ([losses, every, cut]) =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const asked = { evaluateEvery: every, keepBest: true }
        const lossAt = (step: number) => losses[step - 1]!
        let watch = yield* watchHeldOut(asked, 1)
        for (let step = 1; step <= losses.length; step++) {
          const weights: Weights = { a: yield* tensors.upload(Float32Array.of(step, -0), [2]) }
          if (isDue(watch, step)) yield* noteLoss(watch, step, lossAt(step), weights)
          yield* tensors.free(weights)
          if (step !== cut) continue
          const { position, tensors: best } = heldOutSaved(watch)
          const files = encodeLoop({ step, lossTokens: 1, losses: [], ...position }, { update: step, tensors: best })
          const found = yield* decodeLoop(files)
          watch = yield* watchHeldOut(asked, 1, { position: found.position.heldOut, tensors: found.saved.tensors })
        }
        const end = losses.length
        const trained: Weights = { a: yield* tensors.upload(Float32Array.of(end, -0), [2]) }
        const { log, weights } = yield* conclude(watch, end, trained, Effect.succeed(lossAt(end)))
        const kept = bits((yield* tensors.read(weights["a"]!)) as Float32Array)
        yield* tensors.free(trained)
        // The slow way: every measured step, the last one too, in order.
        const measured = losses.flatMap((loss, i) =>
          (i + 1) % every === 0 || i + 1 === end ? [{ step: i + 1, loss }] : []
        )
        const lowest = Math.min(...measured.map(({ loss }) => loss))
        const { step } = measured.find(({ loss }) => loss === lowest)!
        expect(log).toEqual({ heldOutLoss: lowest, evaluations: measured, keptStep: step })
        expect(kept).toBe(bits(Float32Array.of(step, -0)))
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("refuses what cannot be measured", () =>
    Effect.gen(function* () {
      for (const [asked, batches] of [
        [{ evaluateEvery: 5 }, 0],
        [{ keepBest: true }, 3]
      ] as const) {
        const error = yield* Effect.flip(watchHeldOut(asked, batches))
        expect(error).toMatchObject({ _tag: "NothingHeldOut" })
        expect(error.hint).toContain("evaluateEvery")
      }
      expect((yield* watchHeldOut({ evaluateEvery: null }, 0)).every).toBe(undefined)
    })
  )

  it("is in no key of a stage that does not ask for it", () => {
    const encoded = (params: object) => encodeParams({ spec: trainLanguageModel.spec, params } as unknown as AnyNode)
    const params = { ...settings, maxTokens: 128 }
    expect(encoded(params)).toEqual(params)
    expect(encoded({ ...params, evaluateEvery: 5 })).toEqual({ ...params, evaluateEvery: 5 })
  })
})

/** Instruction tuning of a tiny model on one answer, and held-out rows with others: the last step is not the best. */
const open = (over: object = {}) =>
  Effect.gen(function* () {
    const { into, model, tokenizer, vision } = yield* tinyModels()
    const projector = yield* initialProjector(into)
    const { pixels, v1 } = yield* tinyPictured(16, (i) => i === 5)
    const inputs = {
      model: { path: model },
      vision: { path: vision },
      tokenizer: { path: tokenizer },
      projector: { path: projector },
      data: fromArray(v1.filter((_, i) => i % 4 === 0)),
      heldOut: fromArray(v1.filter((_, i) => i % 4 !== 0).slice(0, 5)),
      images: fromArray(pixels)
    }
    const params = {
      ...tuneSettings,
      epochs: 8,
      lr: 0.05,
      decay: "constant",
      batch: 2,
      microBatch: 1,
      dropout: true,
      ...over
    }
    return { params, inputs } as never
  })
const asked = { evaluateEvery: 3, keepBest: true }
const fold = tuneInstructions.spec.run as AnyFold
const hex = (files: ReadonlyMap<string, Uint8Array>) =>
  [...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")])

/** All steps; the loop's files after each. */
const walk = (context: never) =>
  Effect.gen(function* () {
    let state = yield* fold.init(context)
    const files = [yield* fold.state.encode(state)]
    const seen: Array<Readonly<Record<string, number>>> = []
    for (let at = fold.progress(state); at.step < at.total; at = fold.progress(state)) {
      state = yield* fold.step(context, state)
      seen.push(fold.progress(state).metrics)
      files.push(yield* fold.state.encode(state))
    }
    return { state, files, seen }
  })

const weightsOf = Effect.fnUntraced(function* (files: ReadonlyMap<string, Uint8Array>, part: string) {
  const { saved } = yield* decodeLoop(files)
  return Object.fromEntries(
    Object.entries(saved.tensors).flatMap(([name, { values }]) =>
      name.startsWith(`${part}/`) ? [[name.slice(part.length + 1), bits(values)]] : []
    )
  )
})

/** The stage's own `finish`, and what it was given. */
const concluded = Effect.fnUntraced(function* (state: unknown) {
  const tensors = yield* Tensors
  let given: { readonly log: Trained["log"]; readonly weights: Readonly<Record<string, string>> } | undefined
  const { finish } = trainingFold(
    () => Effect.die("not opened"),
    (_, trained) =>
      Effect.gen(function* () {
        const weights: Record<string, string> = {}
        for (const [name, tensor] of Object.entries(trained.weights))
          weights[name] = bits((yield* tensors.read(tensor)) as Float32Array)
        given = { log: trained.log, weights }
      })
  )
  yield* finish({}, state as never)
  return given!
})

describe("training that measures on the way", () => {
  it.effect("gives the weights of the lowest held-out loss, and trains as if it had not looked", () =>
    Effect.gen(function* () {
      const watched = yield* walk(yield* open(asked))
      const plain = yield* walk(yield* open())
      for (const [step, files] of plain.files.entries())
        expect(yield* weightsOf(watched.files[step]!, "weights")).toEqual(yield* weightsOf(files, "weights"))
      const { log, weights } = yield* concluded(watched.state)
      expect(log.evaluations!.map(({ step }) => step)).toEqual([3, 6, 9, 12, 15, 16])
      // Live, too: all but the last, which is measured when the steps are over.
      const live = watched.seen.flatMap(({ heldOutLoss }, i) =>
        heldOutLoss === undefined ? [] : [{ step: i + 1, loss: heldOutLoss }]
      )
      expect(live).toEqual(log.evaluations!.slice(0, -1))
      expect(log.heldOutLoss).toBe(Math.min(...log.evaluations!.map(({ loss }) => loss)))
      // The test is about nothing if the last step is the best.
      expect(log.keptStep).toBeLessThan(15)
      expect(weights).toEqual(yield* weightsOf(watched.files[log.keptStep!]!, "weights"))
      // Without keepBest it is the last; the loss at the end is that of a run that looked only there.
      const last = yield* concluded(plain.state)
      expect(Object.keys(last.log)).not.toContain("evaluations")
      expect(last.log.heldOutLoss).toBe(log.evaluations![5]!.loss)
      expect(last.weights).toEqual(yield* weightsOf(plain.files[16]!, "weights"))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("stopped and restored after every step ends with the bits of a loop that never stopped", () =>
    Effect.gen(function* () {
      const context = yield* open(asked)
      const straight = yield* walk(context)
      let files = straight.files[0]!
      for (let step = 0; step < 16; step++)
        files = yield* Effect.scoped(
          Effect.gen(function* () {
            const restored = yield* fold.state.decode(context, files)
            const next = yield* fold.state.encode(yield* fold.step(context, restored))
            expect(hex(next)).toEqual(hex(straight.files[step + 1]!))
            return next
          })
        )
      const again = yield* concluded(yield* fold.state.decode(context, files))
      expect(again).toEqual(yield* concluded(straight.state))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("by two and four ranks measures what one measures, and frees what it made", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const context = yield* open(asked)
      const before = (yield* tensors.memory).tensors
      const one = yield* Effect.scoped(Effect.flatMap(walk(context), ({ state }) => concluded(state)))
      for (const world of [2, 4]) {
        const { join } = meetInProcess(world)
        const as =
          (rank: number) =>
          <A, E, R>(effect: Effect.Effect<A, E, R>) =>
            effect.pipe(
              Effect.provideService(ProcessGroup, {
                rank,
                world,
                host: "",
                port: 0,
                listen: "",
                kept: false,
                name: ""
              }),
              Effect.provideService(Tensors, { ...tensors, join: join(tensors) })
            )
        const followers = yield* Effect.forEach(Array.from({ length: world - 1 }), (_, i) =>
          Effect.forkChild(as(i + 1)(Effect.scoped(fold.follow!(context))))
        )
        const led = yield* as(0)(Effect.scoped(Effect.flatMap(walk(context), ({ state }) => concluded(state))))
        for (const follower of followers) yield* Fiber.join(follower)
        expect(led.log.keptStep).toBe(one.log.keptStep)
        // Sums of gradients in another order: what AdamW makes of that at this rate.
        for (const [i, { loss, step }] of one.log.evaluations!.entries()) {
          expect(led.log.evaluations![i]!.step).toBe(step)
          expect(Math.abs(led.log.evaluations![i]!.loss - loss) / loss).toBeLessThan(1e-2)
        }
      }
      expect((yield* tensors.memory).tensors).toBe(before)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("ends with the rows' names where their loss is no number", () =>
    Effect.gen(function* () {
      // Rows are measured before the next step would find that the weights are useless.
      const context = yield* open({ ...asked, evaluateEvery: 1, lr: 1e30 })
      const error = yield* Effect.flip(Effect.flatMap(fold.init(context), (state) => fold.step(context, state)))
      expect(error).toMatchObject({ _tag: "NonFiniteLoss", step: 1, rows: ["r1"] })
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
