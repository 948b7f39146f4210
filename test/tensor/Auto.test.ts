/** `auto` is libtorch if its addon is built, else wasm; its fingerprint is that engine's. No engine is loaded here. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "@effect/vitest"
import { resolve } from "../../src/tensor/Auto.ts"
import { numerics } from "../../src/tensor/Fingerprint.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-auto-"))
const before = process.env["MILLRACE_TORCH_ADDON"]
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  if (before === undefined) delete process.env["MILLRACE_TORCH_ADDON"]
  else process.env["MILLRACE_TORCH_ADDON"] = before
})

it("auto is torch where the addon is built, wasm elsewhere, and says why; other names are themselves", () => {
  const addon = join(folder, "millrace-torch.node")
  process.env["MILLRACE_TORCH_ADDON"] = addon
  expect(resolve("auto")).toEqual({ engine: "wasm", why: expect.stringContaining("npm run build:torch") })
  expect(numerics("auto")).toBe(numerics("wasm"))
  writeFileSync(addon, "")
  writeFileSync(`${addon}.json`, JSON.stringify({ torch: "2.99.0", cuda: false }))
  expect(resolve("auto")).toEqual({ engine: "torch", why: expect.stringContaining("2.99.0") })
  expect(numerics("auto")).toBe(numerics("torch"))
  expect(numerics("auto")).not.toBe(numerics("wasm"))
  expect(resolve("wasm")).toEqual({ engine: "wasm" })
})
