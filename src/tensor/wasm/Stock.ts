/**
 * Where the stock wasm backend's compiled kernels lie: in the installed package, whose loader is in the vendored
 * bundle.
 */
import { createRequire } from "node:module"
import { missing } from "../../dag/Missing.ts"

const require = createRequire(import.meta.url)
const name = "@tensorflow/tfjs-backend-wasm"

/** Absolute path of the stock `.wasm` file. Throws `PackageMissing`. */
export const stockWasm = (): string => {
  try {
    return require.resolve(`${name}/dist/tfjs-backend-wasm-simd.wasm`)
  } catch (error) {
    return missing(name)(error)
  }
}
