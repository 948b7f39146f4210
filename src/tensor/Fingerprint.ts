/**
 * What an engine's results depend on beside its inputs, as a short text that reaches the keys of nodes that compute.
 *
 * Not a benchmark and not one device: two machines with the same engine have the same fingerprint. The compiled
 * kernels, the stock backend and TF.js itself are in it by content, libtorch by version and kind of device; the
 * TypeScript that calls them by
 * `ENGINE_VERSION` and `TORCH_VERSION`, which whoever changes results there raises.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { resolve } from "./Auto.ts"
import { packageVersion } from "./tensorflow/Package.ts"
import { builtOver, deterministic, deviceType } from "./torch/Addon.ts"
import { stockWasm } from "./wasm/Stock.ts"

/** Raised when the engine's own code changes results on purpose. */
const ENGINE_VERSION = 1
const TORCH_VERSION = 2

/** Files that decide the bits of the wasm engine. */
export const wasmFiles = (): ReadonlyArray<string | URL> => [
  new URL("./wasm/kernels.wasm", import.meta.url),
  new URL("./vendor/tfjs.js", import.meta.url),
  stockWasm()
]

let wasm: string | undefined

/**
 * The fingerprint of an engine by name; about 5 ms the first time.
 *
 * @example
 * numerics("wasm") // "wasm f32 1 0f3a..."
 */
export const numerics = (name: string): string => {
  const { engine } = resolve(name)
  if (engine === "torch" || engine === "torch-bf16")
    return `torch ${engine === "torch" ? "f32" : "bf16"} ${TORCH_VERSION} ${builtOver()} ${deviceType()}${deviceType() === "cuda" && deterministic() ? " deterministic" : ""}`
  if (engine === "tensorflow") return `tensorflow f32 ${ENGINE_VERSION} ${packageVersion()}`
  if (engine !== "wasm") return `${engine} f32 ${ENGINE_VERSION}`
  if (wasm === undefined) {
    const hash = createHash("sha256")
    for (const file of wasmFiles()) hash.update(readFileSync(file))
    wasm = `wasm f32 ${ENGINE_VERSION} ${hash.digest("hex").slice(0, 16)}`
  }
  return wasm
}
