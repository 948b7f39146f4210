/**
 * The engine over the user's TensorFlow for Node, with a package that stands in for it: every region and gradient
 * equals the reference, goldens hold, nothing leaks, and what cannot be used says what to do before it is loaded.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { recipeAdamW, zeroMoments } from "../../../src/tensor/AdamW.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { numerics } from "../../../src/tensor/Fingerprint.ts"
import { tf, type Weights } from "../../../src/tensor/Ops.ts"
import { type Compute, Tensors } from "../../../src/tensor/Tensors.ts"
import { startTensorflow } from "../../../src/tensor/tensorflow/Backend.ts"
import { findPackage, usablePackage } from "../../../src/tensor/tensorflow/Package.ts"
import { type Case, cases } from "../regionCases.ts"
import { cpu, relativeError, values } from "../support.ts"
import { pretendTensorflow } from "./pretend.ts"

const root = join(import.meta.dirname, "../../..")
const folder = mkdtempSync(join(tmpdir(), "millrace-tensorflow-"))
const before = process.env["MILLRACE_TENSORFLOW"]
beforeAll(async () => {
  process.env["MILLRACE_TENSORFLOW"] = await pretendTensorflow(folder, "99.1.0")
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  if (before === undefined) delete process.env["MILLRACE_TENSORFLOW"]
  else process.env["MILLRACE_TENSORFLOW"] = before
})

const loads = (): unknown => (globalThis as { pretendedTensorflow?: unknown }).pretendedTensorflow

describe("what cannot be used", () => {
  const outside = <A>(run: () => A): A => {
    const named = process.env["MILLRACE_TENSORFLOW"]
    delete process.env["MILLRACE_TENSORFLOW"]
    try {
      return run()
    } finally {
      process.env["MILLRACE_TENSORFLOW"] = named
    }
  }
  const thrown = (run: () => unknown): unknown => {
    try {
      return run()
    } catch (error) {
      return error
    }
  }

  it("is absent: what to install is said", () => {
    const empty = join(folder, "empty")
    mkdirSync(empty)
    // The folder above has one, which would be found from here as Node finds it.
    expect(outside(() => findPackage(empty))?.version).toBe("99.1.0")
    expect(outside(() => thrown(() => usablePackage(tmpdir())))).toMatchObject({
      _tag: "EngineUnavailable",
      engine: "tensorflow",
      message: expect.stringContaining("is installed in"),
      hint: expect.stringContaining("npm install @tensorflow/tfjs-node-gpu")
    })
  })

  it("is for an older Node: said before anything is loaded; the GPU's package goes first", async () => {
    const old = join(folder, "old")
    const at = join(old, "node_modules/@tensorflow/tfjs-node-gpu")
    mkdirSync(at, { recursive: true })
    writeFileSync(join(at, "package.json"), JSON.stringify({ name: "@tensorflow/tfjs-node-gpu", version: "4.22.0" }))
    writeFileSync(join(at, "index.js"), "throw new Error('loaded')")
    expect(Number(process.versions.node.split(".")[0])).toBeGreaterThan(22)
    expect(outside(() => thrown(() => usablePackage(old)))).toMatchObject({
      _tag: "EngineUnavailable",
      message: expect.stringContaining(`does not load in Node ${process.versions.node}`),
      hint: expect.stringContaining("Node 22")
    })
  })

  it.each([
    ["throws", "throw new Error('no binding')", "cannot be loaded: no binding", "--workers 0"],
    ["registers nothing", "module.exports = {}", "registers no TF.js backend", "tfjs-node"]
  ])("%s when it is loaded", async (_, code, message, hint) => {
    const broken = mkdtempSync(join(folder, "broken-"))
    writeFileSync(join(broken, "package.json"), JSON.stringify({ name: "broken", version: "1.0.0", main: "index.cjs" }))
    writeFileSync(join(broken, "index.cjs"), code)
    const named = process.env["MILLRACE_TENSORFLOW"]
    process.env["MILLRACE_TENSORFLOW"] = broken
    await expect(startTensorflow()).rejects.toMatchObject({
      _tag: "EngineUnavailable",
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint)
    })
    process.env["MILLRACE_TENSORFLOW"] = named
  })

  it("is never loaded by asking for its fingerprint", () => {
    expect(numerics("tensorflow")).toContain("@tensorflow/tfjs-node@99.1.0")
    expect(loads()).toBeUndefined()
  })
})

/** The region weighed by fixed numbers, and its gradient by every input. */
const gradient = (c: Case) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const variables: Record<string, tf.Tensor> = {}
    for (const [i, shape] of c.shapes.entries())
      variables[`x${i}`] = yield* tensors.upload(values(tf.util.sizeFromShape([...shape]), i + 7), shape)
    const weighed = (compute: Compute, xs: Weights) => {
      const y = c.f(compute, Object.values(xs))
      return tf.sum(tf.mul(y, tf.tensor(values(y.size, 99), y.shape)))
    }
    const held = () => ({ tensors: tf.memory().numTensors, data: tf.backend().numDataIds() })
    const before = yield* Effect.sync(held)
    const { grads, value } = yield* tensors.valueAndGrad(weighed, variables)
    const arrays = yield* Effect.forEach(Object.values(grads), tensors.read)
    yield* tensors.free(grads)
    const after = yield* Effect.sync(held)
    yield* tensors.free(variables)
    return { value, arrays, before, after }
  })

describe("a TF.js backend with a core of its own", () => {
  it.effect("is loaded once, and computes", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      expect(tensors.fingerprint).toEqual({ engine: "tensorflow", precision: "f32" })
      const sum = yield* tensors.run(() => tf.sum(tf.ones([10])))
      expect((yield* tensors.read(sum))[0]).toBe(10)
      expect(tf.getBackend()).toBe("tensorflow")
      expect(loads()).toBe(1)
    }).pipe(Effect.provide(Engine.tensorflow))
  )

  for (const c of cases)
    it.effect(`${c.name}: value and gradients equal the cpu backend's, and nothing is left`, () =>
      Effect.gen(function* () {
        const reference = yield* gradient(c).pipe(Effect.provide(cpu))
        yield* Effect.promise(() => tf.setBackend("tensorflow"))
        const ours = yield* gradient(c).pipe(Effect.provide(Engine.tensorflow))
        expect(relativeError([ours.value], [reference.value])).toBeLessThan(1e-6)
        for (const [i, array] of ours.arrays.entries())
          expect(relativeError(array, reference.arrays[i]!), `gradient ${i}`).toBeLessThan(1e-6)
        // The rotary table is kept on purpose, once.
        if (c.name !== "rotary") expect(ours.after).toEqual(ours.before)
      })
    )

  it.effect("AdamW's steps are the reference's, and arrays that were given or read may be used again", () => {
    const steps = Effect.gen(function* () {
      const tensors = yield* Tensors
      const given = values(12, 1)
      const weights = { w: yield* tensors.upload(given, [3, 4]) }
      given.fill(7)
      const x = yield* tensors.upload(values(20, 3), [5, 4])
      ;(yield* tensors.read(x)).fill(7)
      let state = { weights: weights as Weights, ...(yield* tensors.run(() => zeroMoments(weights))) }
      for (let update = 1; update <= 3; update++) {
        const { grads } = yield* tensors.valueAndGrad(
          (c, now) => tf.sum(tf.square(c.linear(x, now["w"]!))),
          state.weights
        )
        state = yield* tensors.adamW(state, grads, recipeAdamW, 1e-2, update)
      }
      return yield* Effect.forEach(Object.values(state.weights), tensors.read)
    })
    return Effect.gen(function* () {
      const ours = yield* steps.pipe(Effect.provide(Engine.tensorflow))
      const reference = yield* steps.pipe(Effect.provide(Engine.wasm))
      for (const [i, array] of ours.entries()) expect(relativeError(array, reference[i]!)).toBeLessThan(1e-5)
    })
  })

  it("the goldens of transformers hold on it: values, gradients, greedy tokens", () => {
    const said = execFileSync(
      join(root, "node_modules/.bin/tsx"),
      [join(root, "src/cli/golden.ts"), join(root, "test/golden/set-2"), "--engine", "tensorflow"],
      { encoding: "utf8" }
    )
    expect(said).toContain("116 quantities within tolerance, 0 past it")
  }, 600_000)
})
