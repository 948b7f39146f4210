/**
 * Training by 1, 2 and 4 ranks that are fibers of this process, over plain arrays: the same losses and weights within
 * f32's rounding, checkpoints that any number of ranks goes on from, and one error on all ranks.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { AnyFold } from "../../src/dag/Fold.ts"
import { ProcessGroup } from "../../src/dag/ProcessGroup.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { decodeLoop } from "../../src/training/Checkpoint.ts"
import { initialProjector, tinyModels, tinyPictured, tuneSettings } from "../nodes/support.ts"
import { meetInProcess } from "../tensor/ranks.ts"
import { relativeError } from "../tensor/support.ts"

const fold = tuneInstructions.spec.run as AnyFold

const open = (over: object = {}) =>
  Effect.gen(function* () {
    const { into, model, tokenizer, vision } = yield* tinyModels()
    const projector = yield* initialProjector(into)
    const { pixels, v1 } = yield* tinyPictured(9, (i) => i === 4)
    const inputs = {
      model: { path: model },
      vision: { path: vision },
      tokenizer: { path: tokenizer },
      projector: { path: projector },
      data: fromArray(v1.slice(0, 8)),
      heldOut: fromArray(v1.slice(8)),
      images: fromArray(pixels)
    }
    // Five rows, then three: uneven shares, and ranks that have none.
    const params = {
      ...tuneSettings,
      batch: 5,
      microBatch: 2,
      dropout: true,
      warmupRatio: 0.3,
      maxGradNorm: 0.5,
      ...over
    }
    return { params, inputs } as never
  })

/** Runs `lead` as rank 0 among `world` ranks; the others follow. */
const among = <A, E, R>(world: number, context: never, lead: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    if (world === 1) return { led: yield* Effect.exit(lead), followed: [] }
    const tensors = yield* Tensors
    const { join } = meetInProcess(world)
    const as = (rank: number) => {
      const rendezvous = { rank, world, host: "", port: 0, listen: "", kept: false, name: "" }
      return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        effect.pipe(
          Effect.provideService(ProcessGroup, rendezvous),
          Effect.provideService(Tensors, { ...tensors, join: join(tensors) })
        )
    }
    const followers = yield* Effect.forEach(Array.from({ length: world - 1 }), (_, i) =>
      Effect.forkChild(as(i + 1)(Effect.scoped(fold.follow!(context))))
    )
    const led = yield* Effect.exit(as(0)(Effect.scoped(lead as Effect.Effect<A, E>)))
    return { led, followed: yield* Effect.forEach(followers, Fiber.await) }
  })

const succeeded = <A>({ followed, led }: { led: any; followed: ReadonlyArray<any> }): A => {
  expect(led).toMatchObject({ _tag: "Success" })
  for (const one of followed) expect(one).toMatchObject({ _tag: "Success" })
  return led.value
}

/** Trains from files, or from the start, for so many steps; gives the checkpoint. */
const train = (context: never, steps: number, from?: ReadonlyMap<string, Uint8Array>) =>
  Effect.gen(function* () {
    let state = from === undefined ? yield* fold.init(context) : yield* fold.state.decode(context, from)
    for (let i = 0; i < steps; i++) state = yield* fold.step(context, state)
    return yield* fold.state.encode(state)
  })

const compare = Effect.fnUntraced(function* (
  one: ReadonlyMap<string, Uint8Array>,
  other: ReadonlyMap<string, Uint8Array>,
  tolerance: number
) {
  const [a, b] = [yield* decodeLoop(one), yield* decodeLoop(other)]
  expect({ ...a.position, losses: [] }).toEqual({ ...b.position, losses: [] })
  expect(relativeError(a.position.losses, b.position.losses)).toBeLessThan(tolerance)
  expect(Object.keys(a.saved.tensors).sort()).toEqual(Object.keys(b.saved.tensors).sort())
  for (const [name, { shape, values }] of Object.entries(a.saved.tensors)) {
    expect(b.saved.tensors[name]!.shape).toEqual(shape)
    for (const [i, x] of values.entries())
      expect(Math.abs(x - b.saved.tensors[name]!.values[i]!), name).toBeLessThan(1e-3 * Math.abs(x) + 2e-5)
  }
})

describe("training by several ranks", () => {
  for (const world of [2, 4])
    it.effect(`of ${world} gives what one gives, within rounding`, () =>
      Effect.gen(function* () {
        const context = yield* open()
        const alone = succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(1, context, train(context, 4)))
        const together = succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(world, context, train(context, 4)))
        yield* compare(alone, together, 1e-5)
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
    )

  it.effect("goes on from a checkpoint of any other number of ranks; with the same number, to the bit", () =>
    Effect.gen(function* () {
      const context = yield* open()
      const straight = succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(2, context, train(context, 4)))
      const half = succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(2, context, train(context, 2)))
      const same = succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(2, context, train(context, 2, half)))
      expect([...same].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")])).toEqual(
        [...straight].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")])
      )
      for (const world of [1, 4])
        yield* compare(
          straight,
          succeeded<ReadonlyMap<string, Uint8Array>>(yield* among(world, context, train(context, 2, half))),
          1e-5
        )
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("ends on all of them with one error, of the rows of whichever rank it was", () =>
    Effect.gen(function* () {
      const context = yield* open({ lr: 1e30, maxGradNorm: null })
      const errors = []
      for (const world of [1, 2]) {
        const { followed, led } = yield* among(world, context, train(context, 4))
        for (const exit of [led, ...followed]) {
          expect(exit).toMatchObject({ _tag: "Failure" })
          const [reason] = (exit as unknown as { cause: { reasons: ReadonlyArray<{ error: any }> } }).cause.reasons
          const { _tag, quantity, rows, step } = reason!.error
          errors.push({ _tag, quantity, rows, step })
        }
      }
      expect(errors[1]).toEqual(errors[2])
      expect(errors[0]).toMatchObject({ _tag: "NonFiniteLoss", step: errors[1]!.step, quantity: errors[1]!.quantity })
      expect(errors[1]!.rows.length).toBeGreaterThan(0)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("frees everything when its scope closes", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const context = yield* open()
      const before = (yield* tensors.memory).tensors
      succeeded(yield* among(2, context, train(context, 1)))
      expect((yield* tensors.memory).tensors).toBe(before)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
