/**
 * A gradient pass that fails leaves nothing: no handle, no gradient, no leaf, no recording; and the next one is as if
 * there had been no failure. Every call into libtorch fails once; and so does model code, at any place.
 */
import { createRequire } from "node:module"
import { beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Engine from "../../../src/tensor/Engine.ts"
import { tf, type Weights } from "../../../src/tensor/Ops.ts"
import { stream } from "../../../src/tensor/Random.ts"
import { type Compute, Tensors } from "../../../src/tensor/Tensors.ts"
import { openAddon } from "../../../src/tensor/torch/Addon.ts"
import type { TorchBackend } from "../../../src/tensor/torch/Backend.ts"
import { addonPath } from "../../../src/tensor/torch/Place.ts"
import { ints } from "../regionCases.ts"
import { values } from "../support.ts"
import { missing } from "./built.ts"

/** Calls that clean up or look, and cannot fail for want of memory. */
const cannotFail = ["free", "record", "require", "takeGradient", "reached", "held", "allocated"]

interface Native {
  call: (operation: number) => void
  upload: (...args: ReadonlyArray<unknown>) => unknown
  read: (...args: ReadonlyArray<unknown>) => unknown
}

const [T, D, V] = [6, 8, 11]
const shapes = {
  table: [V, D],
  norm: [D],
  shift: [D],
  q: [D, D],
  k: [D, D],
  up: [D, D],
  head: [V, D],
  bias: [V],
  unused: [D]
}
const segments = ints(1, 1, 1, 2, 2, 0, 1, 1, 1, 1, 1, 1)
const positions = ints(0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 4, 5)
const ids = ints(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)
const labels = ints(1, -100, 4, 1, 5, -100, 2, 6, 5, 3, 5, 10)

/**
 * A block of attention and one of a feed-forward, each run again on the way back, one inside the other; then a head.
 */
const loss =
  (given: { readonly segments: tf.Tensor; readonly positions: tf.Tensor }, at: (place: number) => void) =>
  (c: Compute, w: Weights): tf.Tensor => {
    at(0)
    const packed = { kind: "causal", segments_BT: given.segments } as const
    const turning = { heads: 2, rotaryDim: 2, theta: 10000, maxPositions: 8 }
    const feed = (x: tf.Tensor): tf.Tensor => {
      at(1)
      return tf.add(x, c.gelu(c.linear(x, w["up"]!), "tanh"))
    }
    const block = (x: tf.Tensor): tf.Tensor => {
      at(2)
      const y = c.layerNorm(x, w["norm"]!, w["shift"]!, 1e-5)
      const q = c.rotary(c.linear(y, w["q"]!), given.positions, turning)
      const mixed = c.attention(q, c.linear(y, w["k"]!), y, { heads: 2, mask: packed })
      at(3)
      return c.recomputed(feed, tf.add(x, c.dropout(mixed, [stream(1, "a"), stream(2, "b")], 0.25)), w)
    }
    const embedded = c.rows(w["table"]!, tf.tensor2d(ids, [2, T], "int32"))
    const hidden = c.recomputed(block, c.recomputed(block, embedded, w), w)
    at(4)
    const flat = tf.reshape(tf.add(hidden, embedded), [2 * T, D])
    return c.linearCrossEntropy(flat, w["head"]!, w["bias"]!, tf.tensor1d(labels, "int32"), 10)
  }

const nowhere = (): void => undefined

describe.skipIf(missing !== "")(`a gradient pass on torch that fails${missing}`, () => {
  let native: Native
  let cleaning: ReadonlySet<number>
  beforeAll(() => {
    native = createRequire(import.meta.url)(addonPath()) as Native
    const addon = openAddon()
    const real = native.call
    const seen = new Set<number>()
    native.call = (operation) => void seen.add(operation)
    for (const name of cannotFail) addon.own(name, [], () => undefined)
    addon.free([])
    native.call = real
    cleaning = seen
    expect(seen.size).toBe(cannotFail.length)
  })

  /** Runs `work` with every call counted, the call number `failing` of them failing. */
  const counting = <A, E, R>(work: Effect.Effect<A, E, R>, failing = -1) =>
    Effect.gen(function* () {
      const real = { ...native }
      let calls = 0
      const next = (): void => {
        if (++calls === failing) throw Object.assign(new Error("injected"), { code: "ERR_TORCH" })
      }
      native.call = (operation) => {
        if (!cleaning.has(operation)) next()
        real.call(operation)
      }
      native.upload = (...args) => {
        next()
        return real.upload(...args)
      }
      native.read = (...args) => {
        next()
        return real.read(...args)
      }
      const exit = yield* Effect.exit(work).pipe(Effect.ensuring(Effect.sync(() => Object.assign(native, real))))
      return { exit, calls }
    })

  const setUp = Effect.gen(function* () {
    const tensors = yield* Tensors
    const weights: Record<string, tf.Tensor> = {}
    for (const [i, [name, shape]] of Object.entries(shapes).entries())
      weights[name] = yield* tensors.upload(values(tf.util.sizeFromShape(shape), i + 1), shape)
    // What blocks read when they are run again has to live as long.
    const given = {
      segments: yield* tensors.upload(segments, [2, T]),
      positions: yield* tensors.upload(positions, [2, T])
    }
    const free = tensors.free(weights, given)
    return { tensors, weights, given, free }
  })

  /** All that a pass could leave behind. */
  const left = (weights: Weights) => {
    const backend = tf.backend() as TorchBackend
    const addon = openAddon()
    const doubled = addon.aten("mul.Scalar")(backend.handle(weights["q"]!), 2).tensor()
    const recorded = addon.own("reached", [doubled.handle], (results) => results.number())
    addon.free([doubled.handle])
    const all = Object.values(weights)
    return {
      handles: addon.own("held", [], (results) => results.number()),
      tensors: tf.memory().numTensors,
      data: backend.numDataIds(),
      recording: backend.recording || recorded === 1,
      leaves: all.filter((w) => backend.reached(w)).length,
      trained: all.filter((w) => backend.trains(w)).length,
      gradients: all.filter(
        (w) => addon.own("takeGradient", [backend.handle(w)], (results) => results.maybe()) !== undefined
      ).length
    }
  }

  const arrays = (grads: Weights) =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const read = yield* Effect.forEach(Object.values(grads), tensors.read)
      yield* tensors.free(grads)
      return read
    })

  for (const [name, engine] of [
    ["torch", Engine.torch],
    ["torch-bf16", Engine.torchBf16]
  ] as const)
    for (const added of name === "torch" ? [false, true] : [false])
      it.effect(
        `in any call of ${name}${added ? ", gradients added to others" : ""}: nothing is left, and the next is the same`,
        () =>
          Effect.gen(function* () {
            const { free, given, tensors, weights } = yield* setUp
            const pass = Effect.gen(function* () {
              const into = added ? (yield* tensors.valueAndGrad(loss(given, nowhere), weights)).grads : undefined
              return { into, run: tensors.valueAndGrad(loss(given, nowhere), weights, into) }
            })
            // Once before: tables are kept.
            const first = yield* (yield* pass).run
            const reference = { value: first.value, grads: yield* arrays(first.grads) }
            const clean = left(weights)
            const counted = yield* pass
            const { calls, exit } = yield* counting(counted.run)
            if (exit._tag === "Success") yield* tensors.free(exit.value.grads)
            expect(exit._tag).toBe("Success")
            expect(left(weights)).toEqual(clean)
            expect(calls).toBeGreaterThan(100)
            // Adding differs in the last calls alone, bf16 in casts between the others.
            const [from, step] = added ? [calls - 12, 1] : [1, name === "torch" ? 1 : 3]
            for (let failing = from; failing <= calls; failing += step) {
              const { into, run } = yield* pass
              const failed = yield* counting(Effect.flip(run), failing)
              expect(failed.exit, `call ${failing}`).toMatchObject({
                _tag: "Success",
                value: { _tag: "EngineFailure" }
              })
              if (into !== undefined) yield* tensors.free(into)
              expect(left(weights), `call ${failing} of ${calls}`).toEqual(clean)
            }
            const again = yield* (yield* pass).run
            expect(again.value).toBe(reference.value)
            expect(yield* arrays(again.grads)).toEqual(reference.grads)
            yield* free
          }).pipe(Effect.provide(engine)),
        180_000
      )

  it.effect.prop(
    "in model code, on the way there or back: nothing is left",
    [Schema.Literals([0, 1, 2, 3, 4]), Schema.Literals([1, 2, 3, 4])],
    ([place, time]) =>
      Effect.gen(function* () {
        const { free, given, tensors, weights } = yield* setUp
        yield* arrays((yield* tensors.valueAndGrad(loss(given, nowhere), weights)).grads)
        const clean = left(weights)
        let times = 0
        const stops = loss(given, (at) => {
          if (at === place && ++times === time) throw new RangeError("stop here")
        })
        const exit = yield* Effect.exit(tensors.valueAndGrad(stops, weights))
        if (exit._tag === "Success") yield* tensors.free(exit.value.grads)
        // Places inside of blocks are passed again on the way back, the others once.
        expect(exit._tag).toBe(times >= time ? "Failure" : "Success")
        expect(left(weights)).toEqual(clean)
        yield* free
      }).pipe(Effect.provide(Engine.torch)),
    { arbitrary: { runs: 25 } }
  )
})
