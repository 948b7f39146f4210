/** The vendored TensorFlow.js with the parts that only the wasm engine may see. Not for model code: see `../Ops.ts`. */
import * as tf from "../vendor/tfjs.js"

export type { BackendWasm } from "../vendor/tfjs.js"
export { tf }
