/**
 * A package that looks like `@tensorflow/tfjs-node`: a TF.js core of its own, a backend `tensorflow` registered with
 * that, kernels that give tensors of that core. What computes is TF.js's cpu backend, since the real one is downloaded
 * at its install.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "esbuild"

const root = join(import.meta.dirname, "../../..")

const entry = `
import * as tf from "@tensorflow/tfjs-core"
import "@tensorflow/tfjs-backend-cpu/dist/register_all_kernels.js"
import { MathBackendCPU } from "@tensorflow/tfjs-backend-cpu/dist/backend_cpu.js"
export * from "@tensorflow/tfjs-core"
globalThis.pretendedTensorflow = (globalThis.pretendedTensorflow ?? 0) + 1
tf.registerBackend("tensorflow", () => new MathBackendCPU(), 3)
const made = ({ dataId, dtype, shape }) => tf.engine().makeTensorFromDataId(dataId, shape, dtype)
for (const config of tf.getKernelsForBackend("cpu"))
  tf.registerKernel({
    ...config,
    backendName: "tensorflow",
    kernelFunc: (given) => {
      const out = config.kernelFunc(given)
      return Array.isArray(out) ? out.map(made) : made(out)
    }
  })
tf.setBackend("tensorflow")
`

/** Writes the package under `folder/node_modules`, as if it had been installed there. */
export const pretendTensorflow = async (folder: string, version: string, name = "@tensorflow/tfjs-node") => {
  const at = join(folder, "node_modules", name)
  mkdirSync(at, { recursive: true })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", private: true }))
  writeFileSync(join(at, "package.json"), JSON.stringify({ name, version, main: "index.cjs" }))
  await build({
    stdin: { contents: entry, resolveDir: root, loader: "js" },
    outfile: join(at, "index.cjs"),
    bundle: true,
    format: "cjs",
    platform: "node",
    mainFields: ["module", "main"],
    ignoreAnnotations: true,
    external: ["node-fetch", "util", "string_decoder"],
    logLevel: "error"
  })
  return at
}
