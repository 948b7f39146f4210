/** Types of the bundle made by scripts/vendor-tfjs.ts: those of the packages it holds. */
export * from "@tensorflow/tfjs-core"
export { BackendWasm } from "@tensorflow/tfjs-backend-wasm/dist/backend_wasm.js"
/** Emscripten's factory of the wasm module. */
export const wasmFactory: (options: Record<string, unknown>) => Promise<unknown>
