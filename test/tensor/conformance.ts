/**
 * Runs TF.js's own test suite (about 4,200 specs, bundled from the installed package) on the stock wasm backend and on
 * ours, and fails when ours fails a spec that stock passes.
 *
 *     npm run conformance
 *
 * Not part of `npm test`: it takes half a minute, and changes only with the kernels or the package.
 */
import { execFile } from "node:child_process"
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { build } from "esbuild"

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
const entry = `
import * as tf from "${tf}"
import { registerTestEnv } from "${tf}/dist/jasmine_util.js"
import { writeFileSync } from "node:fs"
import { loadWasm } from "./src/tensor/wasm/Backend.ts"
import { registerKernels } from "./src/tensor/wasm/Kernels.ts"
import required from "jasmine-core/lib/jasmine-core/jasmine.js"
const [, , kind, report] = process.argv
const engine = await loadWasm()
engine.backend.dispose = () => {} // the suite resets the engine after each group
tf.registerBackend("wasm", () => engine.backend, 10)
await tf.setBackend("wasm")
if (kind === "ours") registerKernels(engine)
registerTestEnv({ name: "wasm", backendName: "wasm", isDataSync: true })
const core = required.core(required)
const env = core.getEnv({ suppressLoadErrors: true })
Object.assign(globalThis, required.interface(core, env), { jasmine: core })
await import("${tf}/dist/tests.js")
const specs = {}
const isLocal = (name) => !/\\b(http|fetch|localstorage|indexeddb|browser|io )/i.test(name)
env.configure({ random: false, specFilter: (spec) => isLocal(spec.getFullName()) })
env.addReporter({
  specDone: (r) => { specs[r.fullName] = { status: r.status, message: r.failedExpectations[0]?.message } },
  jasmineDone: () => { writeFileSync(report, JSON.stringify(specs)); process.exit(0) }
})
env.execute()`

interface Spec {
  readonly status: string
  readonly message?: string
}

const work = await mkdtemp(join(tmpdir(), "tfjs-suite-"))
try {
  const out = join(work, "suite.mjs")
  const here = JSON.stringify(join(root, "package.json"))
  await build({
    stdin: { contents: entry, resolveDir: root, loader: "js" },
    outfile: out,
    bundle: true,
    format: "esm",
    platform: "node",
    mainFields: ["module", "main"],
    ignoreAnnotations: true,
    external: ["node-fetch", "util", "string_decoder"],
    define: { "import.meta.url": "moduleUrl" },
    logLevel: "error",
    banner: {
      js: `import { createRequire as __createRequire } from "node:module"\nconst require = __createRequire(${here})\nconst __dirname = "", __filename = ""\nconst moduleUrl = ${JSON.stringify(`file://${join(root, "src/tensor/wasm/Backend.ts")}`)}`
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
  await copyFile(join(root, "src/tensor/wasm/kernels.wasm"), join(work, "kernels.wasm"))
  const run = async (kind: "stock" | "ours"): Promise<Readonly<Record<string, Spec>>> => {
    const report = join(work, `${kind}.json`)
    await promisify(execFile)(process.execPath, [out, kind, report], { maxBuffer: 1 << 28 })
    return JSON.parse(await readFile(report, "utf8"))
  }
  const [stock, ours] = [await run("stock"), await run("ours")]
  const passed = (specs: Readonly<Record<string, Spec>>) =>
    Object.values(specs).filter((spec) => spec.status === "passed").length
  const names = Object.keys(ours)
  const lost = names.filter((name) => ours[name]!.status === "failed" && stock[name]?.status === "passed")
  const won = names.filter((name) => ours[name]!.status === "passed" && stock[name]?.status === "failed")
  console.log(`${names.length} specs: stock passes ${passed(stock)}, ours ${passed(ours)}; ours alone ${won.length}`)
  for (const name of lost) console.log(`LOST ${name}: ${ours[name]!.message}`)
  process.exitCode = lost.length === 0 ? 0 : 1
} finally {
  await rm(work, { recursive: true, force: true })
}
