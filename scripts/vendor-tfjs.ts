/**
 * Bundles TensorFlow.js into `src/tensor/vendor/`: core with every gradient, the wasm backend's kernels, and (apart,
 * for tests) the cpu backend. Run by hand when the pinned versions change: `npx tsx scripts/vendor-tfjs.ts`.
 *
 * Also compiles the wasm engine's own kernels (AssemblyScript) to `src/tensor/wasm/kernels.wasm`.
 *
 * Why a bundle: the main entry of tfjs-core registers no gradients and its deep ES module imports do not load in Node.
 * Not a fork: no line is changed. The .wasm binary is not copied, it is read from the installed package.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { main as assemblyScript } from "assemblyscript/asc"
import { type BuildOptions, build, type Plugin } from "esbuild"
import { kernelFlags } from "../src/tensor/wasm/Build.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const out = `${root}src/tensor/vendor`

const licence =
  "/*! TensorFlow.js 4.22.0 (tfjs-core, tfjs-backend-wasm, tfjs-backend-cpu). Copyright Google LLC. Apache License 2.0. Bundled by scripts/vendor-tfjs.ts; do not edit. */"
// The wasm loader is CommonJS written by emscripten: it wants `require` and `__dirname`.
const commonJs =
  'import { createRequire as __createRequire } from "node:module"\nimport { dirname as __dirnameOf } from "node:path"\nimport { fileURLToPath as __toPath } from "node:url"\nconst require = __createRequire(import.meta.url)\nconst __dirname = __dirnameOf(__toPath(import.meta.url))'

const engine = `
import "@tensorflow/tfjs-core/dist/register_all_gradients.js"
import "@tensorflow/tfjs-backend-wasm/dist/register_all_kernels.js"
export * from "@tensorflow/tfjs-core"
export { BackendWasm } from "@tensorflow/tfjs-backend-wasm/dist/backend_wasm.js"
export { default as wasmFactory } from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm.js"
`
const cpu = `
import "@tensorflow/tfjs-backend-cpu/dist/register_all_kernels.js"
export { MathBackendCPU } from "@tensorflow/tfjs-backend-cpu/dist/backend_cpu.js"
`

/** The cpu bundle must share the one core: two cores would have two registries. */
const sharedCore: Plugin = {
  name: "shared-core",
  setup: (build) => {
    build.onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, () => ({ path: "./tfjs.js", external: true }))
    build.onResolve({ filter: /^seedrandom$/ }, () => null)
  }
}

const common: BuildOptions = {
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node22",
  mainFields: ["module", "main"],
  minify: true,
  keepNames: false,
  legalComments: "none",
  // tfjs looks these up only when a browser or node-fetch is asked for.
  external: ["node-fetch", "util", "string_decoder"],
  banner: { js: `${licence}\n${commonJs}` }
}

for (const [name, contents, plugins] of [
  ["tfjs", engine, []],
  ["tfjs-cpu", cpu, [sharedCore]]
] as const)
  await build({
    ...common,
    stdin: { contents, resolveDir: root, loader: "js" },
    outfile: `${out}/${name}.js`,
    plugins: [...plugins]
  })

const compiled = await assemblyScript([...kernelFlags(root, "src/tensor/wasm/kernels.wasm")], {
  stdout: process.stdout,
  stderr: process.stderr
})
if (compiled.error !== null) throw compiled.error

writeFileSync(
  `${out}/tfjs.d.ts`,
  `/** Types of the bundle made by scripts/vendor-tfjs.ts: those of the packages it holds. */
export * from "@tensorflow/tfjs-core"
export { BackendWasm } from "@tensorflow/tfjs-backend-wasm/dist/backend_wasm.js"
/** Emscripten's factory of the wasm module. */
export const wasmFactory: (options: Record<string, unknown>) => Promise<unknown>
`
)
writeFileSync(
  `${out}/tfjs-cpu.d.ts`,
  `/** Types of the cpu bundle made by scripts/vendor-tfjs.ts (tests only). */
import type { KernelBackend } from "@tensorflow/tfjs-core"
export const MathBackendCPU: new () => KernelBackend
`
)
