/**
 * TF.js's own test suite (about 4,200 specs, from the installed package) on one engine, in a process of its own.
 *
 * Not a test: `conformance.ts` runs all of it by hand, and a test of the torch engine runs the specs of what models
 * use. The suite is bundled because its package does not load in Node as it is; the engine under test is bundled with
 * it, so that both share one core.
 */
import { execFile } from "node:child_process"
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { build } from "esbuild"

/** `stock` is the wasm backend as it is shipped. */
export type Kind = "stock" | "wasm" | "torch"

export interface Spec {
  readonly status: "passed" | "failed" | "pending" | "excluded"
  /** What went wrong first. */
  readonly message?: string
}

/** By the full name of a spec. */
export type Specs = Readonly<Record<string, Spec>>

const root = fileURLToPath(new URL("../..", import.meta.url))
const tf = "@tensorflow/tfjs-core"
const wasm = "@tensorflow/tfjs-backend-wasm"

/** What the vendored bundle holds, from the packages, so that the tests share its core. */
const vendored = `
import "${tf}/dist/register_all_gradients.js"
import "${tf}/dist/public/chained_ops/register_all_chained_ops.js"
import "${wasm}/dist/register_all_kernels.js"
export * from "${tf}"
export { BackendWasm } from "${wasm}/dist/backend_wasm.js"
export { default as wasmFactory } from "${wasm}/wasm-out/tfjs-backend-wasm.js"`

/** How each engine is registered; `backend.dispose` does nothing because the suite resets the core after each group. */
const started: Readonly<Record<"wasm" | "torch", string>> = {
  wasm: `
import { loadWasm } from "./src/tensor/wasm/Backend.ts"
import { registerKernels } from "./src/tensor/wasm/Kernels.ts"
const engine = await loadWasm()
engine.backend.dispose = () => {}
tf.registerBackend("wasm", () => engine.backend, 10)
await tf.setBackend("wasm")
if (kind === "wasm") registerKernels(engine)
const name = "wasm"`,
  torch: `
import { openAddon } from "./src/tensor/torch/Addon.ts"
import { TorchBackend } from "./src/tensor/torch/Backend.ts"
import { registerKernels } from "./src/tensor/torch/Kernels.ts"
const backend = new TorchBackend(openAddon())
tf.registerBackend("torch", () => backend, 10)
registerKernels(backend, "torch")
await tf.setBackend("torch")
const name = "torch"`
}

const entry = (engine: "wasm" | "torch"): string => `
import * as tf from "${tf}"
import { registerTestEnv } from "${tf}/dist/jasmine_util.js"
import { writeFileSync } from "node:fs"
import required from "jasmine-core/lib/jasmine-core/jasmine.js"
const [, , kind, report, only] = process.argv
${started[engine]}
registerTestEnv({ name, backendName: name, isDataSync: true })
Error.stackTraceLimit = 10
const core = required.core(required)
const env = core.getEnv({ suppressLoadErrors: true })
Object.assign(globalThis, required.interface(core, env), { jasmine: core })
await import("${tf}/dist/tests.js")
const specs = {}
const isLocal = (name) => !/\\b(http|fetch|localstorage|indexeddb|browser|io )/i.test(name)
const wanted = new RegExp(only)
env.configure({ random: false, specFilter: (spec) => isLocal(spec.getFullName()) && wanted.test(spec.getFullName()) })
env.addReporter({
  specDone: (r) => {
    if (r.status !== "excluded") specs[r.fullName] = { status: r.status, message: r.failedExpectations[0]?.message }
  },
  jasmineDone: () => { writeFileSync(report, JSON.stringify(specs)); process.exit(0) }
})
env.execute()`

const bundle = async (engine: "wasm" | "torch", out: string): Promise<void> => {
  const here = join(root, "package.json")
  const module = join(root, `src/tensor/${engine}/Backend.ts`)
  await build({
    stdin: { contents: entry(engine), resolveDir: root, loader: "js" },
    outfile: out,
    bundle: true,
    format: "esm",
    platform: "node",
    mainFields: ["module", "main"],
    ignoreAnnotations: true,
    external: ["node-fetch", "util", "string_decoder"],
    define: { "import.meta.url": "moduleUrl", "import.meta.dirname": "moduleFolder" },
    logLevel: "error",
    banner: {
      js: [
        `import { createRequire as __createRequire } from "node:module"`,
        `const require = __createRequire(${JSON.stringify(here)})`,
        `const __dirname = "", __filename = ""`,
        `const moduleUrl = ${JSON.stringify(`file://${module}`)}, moduleFolder = ${JSON.stringify(join(module, ".."))}`
      ].join("\n")
    },
    plugins: [
      {
        name: "vendored",
        setup: (b) => {
          b.onResolve({ filter: /vendor\/tfjs\.js$/ }, () => ({ path: "vendored", namespace: "vendored" }))
          b.onLoad({ filter: /.*/, namespace: "vendored" }, () => ({ contents: vendored, resolveDir: root }))
        }
      }
    ]
  })
}

/**
 * Runs the specs whose names match `only`, on each of `kinds`, one after the other.
 *
 * Specs that need a browser or a network are left out. Those for one kind of machine are pending.
 *
 * @example const { torch } = await runSuite(["torch"], /^(matmul|gather) /)
 */
export const runSuite = async <const K extends Kind>(
  kinds: ReadonlyArray<K>,
  only = /.*/
): Promise<Readonly<Record<K, Specs>>> => {
  const work = await mkdtemp(join(tmpdir(), "tfjs-suite-"))
  try {
    await copyFile(join(root, "src/tensor/wasm/kernels.wasm"), join(work, "kernels.wasm"))
    const results: Partial<Record<K, Specs>> = {}
    for (const kind of kinds) {
      const engine = kind === "torch" ? "torch" : "wasm"
      const suite = join(work, `${engine}.mjs`)
      const report = join(work, `${kind}.json`)
      await bundle(engine, suite)
      await promisify(execFile)(process.execPath, [suite, kind, report, only.source], { maxBuffer: 1 << 28 })
      results[kind] = JSON.parse(await readFile(report, "utf8"))
    }
    return results as Record<K, Specs>
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
