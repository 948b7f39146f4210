/** A training step is a pure function of state and batch: resumable to the bit, exact over micro-batches, guarded. */
import { execFile } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { openSafetensors, writeSafetensors } from "../../src/model/Safetensors.ts"
import { llavaTrainable, phiTrainable } from "../../src/model/Trainable.ts"
import { recipeAdamW } from "../../src/tensor/AdamW.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import {
  evaluateLoss,
  freeState,
  initialState,
  restoreState,
  type SavedState,
  saveState,
  splitTrained,
  trainStep
} from "../../src/training/Step.ts"
import { imageBatch, slice, textBatch, tinyLlava, tinyPhi, uploadLlava, uploadPhi } from "../model/support.ts"
import { relativeError } from "../tensor/support.ts"
import { train } from "./support.ts"

const batches = (step: number) => [textBatch([9, 12, 5], 12, step)]
const bits = (saved: SavedState) =>
  Object.fromEntries(
    Object.entries(saved.tensors).map(([name, { values }]) => [
      name,
      Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64")
    ])
  )
const asFile = (path: string, saved: SavedState) =>
  writeSafetensors(
    path,
    Object.entries(saved.tensors).map(([name, { shape, values }]) => ({
      name,
      shape,
      dtype: "F32" as const,
      bytes: Effect.succeed(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    })),
    { update: String(saved.update) }
  )

describe("Step", () => {
  it.effect("six steps equal three, a save, and three more in another process, to the last bit", () =>
    Effect.gen(function* () {
      const dir = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "resume-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
      )
      const [from, to] = [join(dir, "three.safetensors"), join(dir, "six.safetensors")]
      const model = phiTrainable(tinyPhi)
      const whole = yield* train(model, yield* initialState(yield* uploadPhi), 0, 6, batches)
      const half = yield* train(model, yield* initialState(yield* uploadPhi), 0, 3, batches)
      yield* asFile(from, yield* saveState(half.state))
      const script = fileURLToPath(new URL("./resume.ts", import.meta.url))
      yield* Effect.promise(() => promisify(execFile)(process.execPath, ["--no-warnings", script, from, to]))
      const file = yield* openSafetensors(to)
      const saved = yield* saveState(whole.state)
      const expected = bits(saved)
      expect(file.metadata["update"]).toBe("6")
      expect(file.entries.size).toBe(Object.keys(expected).length)
      for (const [name, text] of Object.entries(expected))
        expect(Buffer.from(yield* file.bytes(name)).toString("base64"), name).toBe(text)
      expect(whole.losses.every((loss) => Number.isFinite(loss))).toBe(true)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("the loss falls, and a step leaves no tensor behind", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const model = phiTrainable(tinyPhi)
      const fixed = () => [textBatch([9, 12, 5], 12, 1)]
      const first = yield* train(model, yield* initialState(yield* uploadPhi), 0, 1, fixed)
      const before = yield* tensors.memory
      const { losses, state } = yield* train(model, first.state, 1, 40, fixed)
      const after = yield* tensors.memory
      expect(after.tensors).toBe(before.tensors)
      expect(losses.at(-1)!).toBeLessThan(first.losses[0]! * 0.8)
      yield* freeState(state)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "micro-batches of any cut give the step of the whole batch: dropout, images and unequal lengths included",
    () =>
      Effect.gen(function* () {
        const batch = imageBatch([12, 6, 9, 11], 12, 3)
        const model = llavaTrainable(tinyLlava)
        const step = (micro: ReadonlyArray<typeof batch>) =>
          Effect.gen(function* () {
            const { trained, frozen } = splitTrained(yield* uploadLlava, (name) => !name.startsWith("vision."))
            const result = yield* trainStep(model, yield* initialState(trained), frozen, micro, {
              lr: 1e-3,
              seed: 2,
              step: 5
            })
            return { ...result, saved: yield* saveState(result.state) }
          })
        const whole = yield* step([batch])
        const cut = yield* step([slice(batch, 0, 1), slice(batch, 1, 4)])
        expect(cut.tokens).toBe(whole.tokens)
        expect(Math.abs(cut.loss - whole.loss)).toBeLessThan(1e-6)
        expect(Math.abs(cut.gradNorm / whole.gradNorm - 1)).toBeLessThan(1e-5)
        // m after one step is a tenth of the gradient: compare gradients, which AdamW's first step would hide.
        for (const [name, { values }] of Object.entries(whole.saved.tensors))
          if (name.startsWith("m/")) {
            const norm = Math.hypot(...values)
            if (norm > 1e-6) expect(relativeError(cut.saved.tensors[name]!.values, values), name).toBeLessThan(1e-4)
          }
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("what is frozen stays, and has no moments: the projector alone is trained", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const { trained, frozen } = splitTrained(yield* uploadLlava, (name) => name.startsWith("projector."))
      const before = yield* tensors.read(frozen["language.lm_head.weight"]!)
      const { state } = yield* train(
        llavaTrainable(tinyLlava),
        yield* initialState(trained),
        0,
        3,
        (i) => [imageBatch([12, 9], 12, i)],
        frozen
      )
      expect(yield* tensors.read(frozen["language.lm_head.weight"]!)).toEqual(before)
      expect(Object.keys(state.m).sort()).toEqual(
        ["linear_1.bias", "linear_1.weight", "linear_2.bias", "linear_2.weight"].map((name) => `projector.${name}`)
      )
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a step of text alone gives the projector a gradient of zero: its moments shrink, and move it still", () =>
    Effect.gen(function* () {
      const model = llavaTrainable(tinyLlava)
      const { trained, frozen } = splitTrained(yield* uploadLlava, (name) => !name.startsWith("vision."))
      const options = { lr: 1e-3, seed: 2, dropout: false }
      const text = { ...textBatch([9, 12], 12, 4), images: 0, pixels: new Float32Array(0) }
      const first = yield* trainStep(model, yield* initialState(trained), frozen, [imageBatch([12, 9], 12, 1)], {
        ...options,
        step: 0
      })
      const before = yield* saveState(first.state)
      const second = yield* trainStep(model, first.state, frozen, [text], { ...options, step: 1 })
      const after = yield* saveState(second.state)
      const { beta1, beta2, eps, weightDecay } = recipeAdamW
      for (const name of Object.keys(trained).filter((one) => one.startsWith("projector."))) {
        const [m, v, w] = (["m", "v", "weights"] as const).map((part) => before.tensors[`${part}/${name}`]!.values)
        const rate = 1e-3 / (1 - beta1 ** 2)
        const decay = before.tensors[`weights/${name}`]!.shape.length > 1 ? 1e-3 * weightDecay : 0
        after.tensors[`m/${name}`]!.values.forEach((one, i) => {
          expect(Math.abs(one - beta1 * m![i]!)).toBeLessThanOrEqual(1e-6 * Math.abs(m![i]!))
        })
        after.tensors[`v/${name}`]!.values.forEach((one, i) => {
          expect(Math.abs(one - beta2 * v![i]!)).toBeLessThanOrEqual(1e-6 * v![i]!)
        })
        let moved = 0
        after.tensors[`weights/${name}`]!.values.forEach((one, i) => {
          const root = Math.sqrt((beta2 * v![i]!) / (1 - beta2 ** 2)) + eps
          const wanted = w![i]! * (1 - decay) - (rate * beta1 * m![i]!) / root
          expect(Math.abs(one - wanted)).toBeLessThan(1e-6)
          moved = Math.max(moved, Math.abs(one - w![i]!))
        })
        expect(moved).toBeGreaterThan(1e-4)
      }
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a trained vision tower has gradients too, the same with recomputing", () =>
    Effect.gen(function* () {
      const run = (recompute: boolean) =>
        Effect.gen(function* () {
          const state = yield* initialState(yield* uploadLlava)
          const model = llavaTrainable(tinyLlava, { trainsVision: true, recompute })
          const result = yield* trainStep(model, state, {}, [imageBatch([12, 9], 12, 1)], {
            lr: 1e-3,
            seed: 2,
            step: 0
          })
          return yield* saveState(result.state)
        })
      const [kept, replayed] = [yield* run(false), yield* run(true)]
      expect(bits(replayed)).toEqual(bits(kept))
      const patch = kept.tensors["m/vision.embeddings.patch_embedding.weight"]!.values
      expect(patch.some((x) => x !== 0)).toBe(true)
      const unused = kept.tensors["m/vision.post_layernorm.weight"]!.values
      expect(unused.every((x) => x === 0)).toBe(true)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a loss that is not finite stops the step with its number and rows, and the state is intact", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const state = yield* initialState(yield* uploadPhi)
      const poisoned = yield* tensors.run(() => tf.fill([tinyPhi.hiddenSize], Number.NaN))
      const broken = { ...state, weights: { ...state.weights, "model.final_layernorm.bias": poisoned } }
      const before = yield* tensors.memory
      const batch = { ...textBatch([9, 5], 9, 0), rowIds: ["GCC_1", "GCC_2"] }
      const error = yield* Effect.flip(
        trainStep(phiTrainable(tinyPhi), broken, {}, [batch], { lr: 1e-3, seed: 0, step: 41 })
      )
      expect(error).toMatchObject({ _tag: "NonFiniteLoss", step: 41, rows: ["GCC_1", "GCC_2"], quantity: "loss" })
      const after = yield* tensors.memory
      expect(after.tensors).toBe(before.tensors)
      const fine = yield* trainStep(phiTrainable(tinyPhi), state, {}, [batch], { lr: 1e-3, seed: 0, step: 41 })
      expect(Number.isFinite(fine.loss)).toBe(true)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a batch without any label is an error, not a step of weight decay", () =>
    Effect.gen(function* () {
      const state = yield* initialState(yield* uploadPhi)
      const batch = textBatch([4], 4, 0)
      const silent = { ...batch, labels_BT: batch.labels_BT.map(() => -100) }
      const error = yield* Effect.flip(
        trainStep(phiTrainable(tinyPhi), state, {}, [silent], { lr: 1e-3, seed: 0, step: 0 })
      )
      expect(error._tag).toBe("NothingToLearn")
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("saving and restoring changes no bit, and evaluation has no dropout", () =>
    Effect.gen(function* () {
      const model = phiTrainable(tinyPhi)
      const { state } = yield* train(model, yield* initialState(yield* uploadPhi), 0, 2, batches)
      const saved = yield* saveState(state)
      const again = yield* saveState(yield* restoreState(saved))
      expect(bits(again)).toEqual(bits(saved))
      const one = yield* evaluateLoss(model, state.weights, [...batches(0), ...batches(1)])
      const two = yield* evaluateLoss(model, state.weights, [...batches(0), ...batches(1)])
      expect(one).toEqual(two)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "clipping scales the gradient by torch's coefficient within 1e-6, at the limit too; a shorter one is left",
    () =>
      Effect.gen(function* () {
        const step = (maxGradNorm?: number) =>
          Effect.gen(function* () {
            const state = yield* initialState(yield* uploadPhi)
            const options = { lr: 1e-3, seed: 0, step: 0, ...(maxGradNorm === undefined ? {} : { maxGradNorm }) }
            const result = yield* trainStep(phiTrainable(tinyPhi), state, {}, batches(0), options)
            return { norm: result.gradNorm, saved: yield* saveState(result.state) }
          })
        const free = yield* step()
        // After one step the first moment is the gradient times 1 - beta1: its norm and its scaling, in doubles.
        const moments = Object.entries(free.saved.tensors).filter(([name]) => name.startsWith("m/"))
        const squares = moments.reduce((sum, [, { values }]) => values.reduce((all, x) => all + x * x, sum), 0)
        const norm = Math.sqrt(squares) / (1 - recipeAdamW.beta1)
        expect(Math.abs(free.norm - norm)).toBeLessThan(1e-6 * norm)
        for (const limit of [1e6, free.norm * 1.001]) expect(bits((yield* step(limit)).saved)).toEqual(bits(free.saved))
        for (const limit of [0.5, 1e-3, free.norm]) {
          const clipped = yield* step(limit)
          expect(clipped.norm).toBe(free.norm)
          if (limit === free.norm) expect(bits(clipped.saved)).not.toEqual(bits(free.saved))
          for (const [name, { values }] of moments) {
            const expected = Float64Array.from(values, (x) => x * (limit / (norm + 1e-6)))
            expect(relativeError(clipped.saved.tensors[name]!.values, expected), name).toBeLessThan(1e-6)
          }
        }
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("an update with a gradient missing is refused before anything is consumed", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const state = yield* initialState(yield* uploadPhi)
      const error = yield* Effect.flip(tensors.adamW(state, {}, recipeAdamW, 1e-3, 1))
      expect(error).toMatchObject({ _tag: "ShapeMismatch", operation: "adamW" })
      expect((yield* saveState(state)).update).toBe(0)
    }).pipe(Effect.provide(Engine.wasm))
  )
})
