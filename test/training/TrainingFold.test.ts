/** The loop can be stopped after any step and go on elsewhere, and nothing shows it but the clock. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AnyFold } from "../../src/dag/Fold.ts"
import { type Loader, Loading } from "../../src/dag/Loader.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import { buffersOf } from "../../src/run/LoaderTask.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { initialProjector, tinyModels, tinyPictured, tuneSettings } from "../nodes/support.ts"

const fold = tuneInstructions.spec.run as AnyFold
const hex = (files: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]))

const open = Effect.gen(function* () {
  const { into, model, tokenizer, vision } = yield* tinyModels()
  const projector = yield* initialProjector(into)
  const { pixels, v1 } = yield* tinyPictured(7, (i) => i === 4)
  const inputs = {
    model: { path: model },
    vision: { path: vision },
    tokenizer: { path: tokenizer },
    projector: { path: projector },
    data: fromArray(v1.slice(0, 6)),
    heldOut: fromArray(v1.slice(6)),
    images: fromArray(pixels)
  }
  const params = { ...tuneSettings, batch: 3, microBatch: 2, dropout: true, warmupRatio: 0.3, maxGradNorm: 0.5 }
  return { params, inputs } as never
})

describe("the training loop", () => {
  it.effect("stopped and restored after every step ends with the bits of a loop that never stopped", () =>
    Effect.gen(function* () {
      const context = yield* open
      let straight = yield* fold.init(context)
      const snapshots = [hex(yield* fold.state.encode(straight))]
      while (fold.progress(straight).step < fold.progress(straight).total) {
        straight = yield* fold.step(context, straight)
        snapshots.push(hex(yield* fold.state.encode(straight)))
      }
      expect(snapshots.length).toBe(5)
      let files = yield* Effect.scoped(Effect.flatMap(fold.init(context), fold.state.encode))
      for (let step = 0; ; step++) {
        expect(hex(files)).toEqual(snapshots[step])
        if (step === 4) break
        // Another life of the process: everything but the files is made anew.
        files = yield* Effect.scoped(
          Effect.gen(function* () {
            const restored = yield* fold.state.decode(context, files)
            expect(fold.progress(restored).step).toBe(step)
            return yield* fold.state.encode(yield* fold.step(context, restored))
          })
        )
      }
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("has the same bits with a loader, which is asked for every batch once it is open", () =>
    Effect.gen(function* () {
      const context = yield* open
      const run = Effect.gen(function* () {
        let state = yield* fold.init(context)
        while (fold.progress(state).step < fold.progress(state).total) state = yield* fold.step(context, state)
        return hex(yield* fold.state.encode(state))
      }).pipe(Effect.scoped)
      const alone = yield* run
      const asked: Array<unknown> = []
      const reply = yield* fold.load!(context)
      // What crosses is handed over as between threads.
      const loader: Loader = {
        isOpen: () => true,
        opened: Effect.void,
        ask: (request) => {
          asked.push(request)
          return Effect.map(Effect.orDie(Effect.scoped(reply(structuredClone(request)))), (batch) =>
            Effect.succeed(structuredClone(batch, { transfer: buffersOf(batch) }))
          )
        }
      }
      expect(yield* Effect.provideService(run, Loading, Effect.succeed(loader))).toEqual(alone)
      expect(asked.length).toBe(8)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("frees everything it made when its scope closes", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const context = yield* open
      const before = (yield* tensors.memory).tensors
      yield* Effect.scoped(Effect.flatMap(fold.init(context), (state) => fold.step(context, state)))
      expect((yield* tensors.memory).tensors).toBe(before)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
