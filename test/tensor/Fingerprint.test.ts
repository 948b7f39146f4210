/** The fingerprint names the engine, its precision and the digest of its kernels; every call gives the same one. */
import { existsSync } from "node:fs"
import { expect, it } from "@effect/vitest"
import { numerics, wasmFiles } from "../../src/tensor/Fingerprint.ts"

it("names engine, precision and content", () => {
  expect(numerics("wasm")).toMatch(/^wasm f32 \d+ [0-9a-f]{16}$/)
  expect(numerics("wasm")).toBe(numerics("wasm"))
  expect(numerics("torch")).not.toContain("wasm")
  for (const file of wasmFiles()) expect(existsSync(file)).toBe(true)
})
