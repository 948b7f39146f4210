/**
 * TF.js's own specs of the operations that models use, on the torch engine; `npm run conformance -- --engine torch`
 * runs all.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Engine from "../../../src/tensor/Engine.ts"
import { tf } from "../../../src/tensor/Ops.ts"
import { type Compute, Tensors } from "../../../src/tensor/Tensors.ts"
import { absent } from "../../../src/tensor/torch/Absent.ts"
import { runSuite } from "../conformanceSuite.ts"
import { missing } from "./built.ts"
import { reasonOnTorch } from "./knownFailures.ts"

/** What `src/model`, `src/training` and the plain regions are written with. */
const used = [
  ...["add", "addN", "arithmetic", "argmax", "broadcastTo", "cast", "concat", "cumsum", "div", "equal", "erf", "exp"],
  ...["expandDims", "fill", "gather", "greaterEqual", "lessEqual", "log", "logSoftmax", "logicalAnd", "logicalOr"],
  ...["matmul", "maximum", "mean", "mul", "neg", "notEqual", "oneHot", "pad", "pow", "range", "reshape", "rsqrt"],
  ...["sigmoid", "slice", "softmax", "split", "sqrt", "square", "stack", "sub", "sum", "tanh", "tile", "transpose"],
  ...["unstack", "unsortedSegmentSum", "where", "zerosLike"]
]

describe.skipIf(missing !== "")(`the torch engine and TF.js${missing}`, () => {
  it("agree in every spec of the operations that models use, but for text and complex numbers", async () => {
    const { torch } = await runSuite(["torch"], new RegExp(`^(${used.join("|")})\\d?[dD]? `, "i"))
    const failed = Object.entries(torch).filter(([, { status }]) => status === "failed")
    const reasons = failed.map(([name, { message }]) => reasonOnTorch(name, message ?? "") ?? `${name}: ${message}`)
    expect([...new Set(reasons)].toSorted()).toEqual([
      "complex numbers and Fourier transforms: no layer has them",
      "tensors of string are not taken"
    ])
    expect(Object.values(torch).filter(({ status }) => status === "passed").length).toBeGreaterThan(700)
  })

  describe("kernels", () => {
    beforeAll(() => Effect.runPromise(Effect.scoped(Layer.build(Engine.torch))).then(() => undefined))

    it("of every name that TF.js knows are there, the absent ones among them", () => {
      const names = createRequire(import.meta.url).resolve("@tensorflow/tfjs-core/dist/kernel_names.d.ts")
      const known = [...readFileSync(names, "utf8").matchAll(/const \w+ = "(\w+)"/g)].map((match) => match[1]!)
      expect(known.length).toBeGreaterThan(150)
      expect(known.filter((name) => tf.getKernel(name, "torch") == null)).toEqual([])
      expect(absent.flatMap(({ kernels }) => kernels).filter((name) => !known.includes(name))).toEqual([])
    })

    it.effect("that are absent say why, with a hint", () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const error = yield* Effect.flip(tensors.run(() => tf.complex([1], [2])))
        expect(error).toMatchObject({ _tag: "EngineFailure", engine: "torch" })
        expect(error.message).toContain("Complex is left out")
        expect(error.hint).toContain("other operations")
      }).pipe(Effect.provide(Engine.torch))
    )

    const turning = { heads: 1, rotaryDim: 4, theta: 10000, maxPositions: 4 }
    for (const [name, look] of [
      ["rows", (c) => c.rows(tf.zeros([4, 2]), tf.tensor1d([0, 4], "int32"))],
      ["rotary", (c) => c.rotary(tf.zeros([1, 1, 4]), tf.tensor2d([[4]], [1, 1], "int32"), turning)],
      ["crossEntropy", (c) => c.crossEntropy(tf.zeros([2, 4]), tf.tensor1d([-100, 4], "int32"), 1)],
      [
        "crossEntropy",
        (c) => c.linearCrossEntropy(tf.zeros([1, 2]), tf.zeros([4, 2]), undefined, tf.tensor1d([4], "int32"), 1)
      ],
      ["GatherV2", () => tf.gather(tf.zeros([4, 2]), tf.cast(tf.tensor1d([0, 4]), "int32"))],
      ["GatherV2", () => tf.gather(tf.zeros([4, 2]), tf.tensor1d([0, 4], "int32"))],
      ["GatherV2", () => tf.gather(tf.zeros([2, 4, 2]), tf.tensor2d([[0], [-1]], [2, 1], "int32"), 1, 1)],
      [
        "GatherNd",
        () =>
          tf.gatherND(
            tf.zeros([4, 2]),
            tf.tensor2d(
              [
                [0, 0],
                [4, 1]
              ],
              [2, 2],
              "int32"
            )
          )
      ]
    ] as ReadonlyArray<readonly [string, (c: Compute) => tf.Tensor]>)
      it.effect(`${name} with an index out of range says which`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip((yield* Tensors).run(look))
          expect(error._tag).toBe("ShapeMismatch")
          expect(error.message).toMatch(/(4|-1) .*\[0, 3\]/)
          expect(error.hint).toContain("vocabulary")
        }).pipe(Effect.provide(Engine.torch))
      )
  })
})
