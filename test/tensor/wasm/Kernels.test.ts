/** The wasm kernels: the committed binary is what the sources build, products equal a slow reference for any shape. */
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { main as assemblyScript } from "assemblyscript/asc"
import { Effect, Schema } from "effect"
import * as Engine from "../../../src/tensor/Engine.ts"
import { tf } from "../../../src/tensor/Ops.ts"
import { fillUniform, stream } from "../../../src/tensor/Random.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { kernelFlags } from "../../../src/tensor/wasm/Build.ts"
import { relativeError, values } from "../support.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const size = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))

describe("Kernels", () => {
  it("the committed binary is what the sources build", async () => {
    const built: { bytes?: Uint8Array } = {}
    const { error } = await assemblyScript([...kernelFlags(root, "out.wasm")], {
      writeFile: (name, contents) => {
        if (name.endsWith(".wasm") && typeof contents !== "string") built.bytes = contents
      }
    })
    expect(error).toBeNull()
    const committed = await readFile(new URL("../../../src/tensor/wasm/kernels.wasm", import.meta.url))
    expect(Buffer.compare(committed, built.bytes!), "run `npx tsx scripts/vendor-tfjs.ts`").toBe(0)
  })

  it.effect.prop(
    "a product of any shape and transposition equals sums in doubles within 1e-6 of the operands' norms",
    { m: size(40), n: size(40), k: size(600), ta: Schema.Boolean, tb: Schema.Boolean },
    ({ m, n, k, ta, tb }) =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const [a, b] = [values(m * k, m + k), values(k * n, n + k + 1)]
        const product = yield* tensors.run(() =>
          tf.matMul(tf.tensor2d(a, ta ? [k, m] : [m, k]), tf.tensor2d(b, tb ? [n, k] : [k, n]), ta, tb)
        )
        const got = yield* tensors.read(product)
        yield* tensors.free(product)
        let worst = 0
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let [sum, norm] = [0, 0]
            for (let p = 0; p < k; p++) {
              const term = a[ta ? p * m + i : i * k + p]! * b[tb ? j * k + p : p * n + j]!
              sum += term
              norm += Math.abs(term)
            }
            worst = Math.max(worst, Math.abs(got[i * n + j]! - sum) / norm)
          }
        expect(worst).toBeLessThan(1e-6)
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("dropout keeps the stated share, scales it, and keeps by the numbers of Random", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const key = stream(9, "dropout", 3, 1)
      const n = 20_001
      const out = yield* tensors.run((c) => c.dropout(tf.ones([1, n]), [key], 0.1))
      const kept = Array.from(yield* tensors.read(out))
      const numbers = fillUniform(key, new Float32Array(n))
      for (let i = 0; i < n; i++) expect(kept[i]! > 0).toBe(numbers[i]! >= 0.1)
      const share = kept.reduce((sum, x) => sum + (x > 0 ? 1 : 0), 0) / n
      expect(Math.abs(share - 0.9)).toBeLessThan(0.01)
      expect(relativeError([kept.find((x) => x > 0)!], [1 / 0.9])).toBeLessThan(1e-6)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("cross-entropy of logits far apart is finite and right", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const logits = Float32Array.of(1000, -1000, 0, -1000, 1000, 0)
      const loss = yield* tensors.run((c) =>
        c.crossEntropy(tf.tensor2d(logits, [2, 3]), tf.tensor1d(Int32Array.of(0, 0), "int32"), 1)
      )
      expect((yield* tensors.read(loss))[0]).toBe(2000)
    }).pipe(Effect.provide(Engine.wasm))
  )
})
