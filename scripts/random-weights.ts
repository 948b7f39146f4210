/**
 * Makes model folders of true size with random weights, to try what reads them without a download.
 *
 *     npm run weights -- phi-2|clip DIR [--format safetensors|bin] [--dtype F16|F32|BF16] [--shard BYTES] [--layers N] [--seed N]
 *
 * phi-2 is 5.6 GB in F16, clip (ViT-L/14-336, both towers) 1.7 GB in F32. Files larger than `--shard` (5,000,000,000)
 * are cut, with an index. Equal words give equal bytes.
 */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { configText } from "../src/model/ConfigText.ts"
import { clipL336, phi2 } from "../src/model/Published.ts"
import { writeCheckpoint } from "../src/model/Safetensors.ts"
import { writeTorchFolder } from "../src/nodes/TorchFiles.ts"
import { clipFiles, type FileDtype, type Made, phiFiles } from "./weights/Models.ts"

export type Format = "safetensors" | "bin"

/** Writes config.json and the weights; the names of the files. */
export const writeModel = (folder: string, { config, tensors }: Made, format: Format, maxShardBytes: number) =>
  Effect.gen(function* () {
    yield* Effect.promise(() => mkdir(folder, { recursive: true }))
    yield* Effect.promise(() => writeFile(join(folder, "config.json"), configText(config)))
    const files: ReadonlyArray<string> =
      format === "bin"
        ? yield* writeTorchFolder(folder, tensors, maxShardBytes)
        : yield* writeCheckpoint(folder, tensors, { maxShardBytes })
    return ["config.json", ...files]
  })

const usage =
  "usage: npm run weights -- phi-2|clip DIR [--format safetensors|bin] [--dtype F16|F32|BF16] [--shard BYTES] [--layers N] [--seed N]"

const main = async (): Promise<number> => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      format: { type: "string", default: "safetensors" },
      dtype: { type: "string" },
      shard: { type: "string", default: "5000000000" },
      layers: { type: "string" },
      seed: { type: "string", default: "0" }
    }
  })
  const [model, folder] = positionals
  const dtype = values.dtype ?? (model === "clip" ? "F32" : "F16")
  const numbers = [values.shard, values.layers ?? "1", values.seed].map(Number)
  const known =
    (model === "phi-2" || model === "clip") &&
    (values.format === "safetensors" || values.format === "bin") &&
    ["F32", "F16", "BF16"].includes(dtype)
  if (!known || folder === undefined || !numbers.every(Number.isSafeInteger)) {
    console.error(usage)
    return 2
  }
  const depth = values.layers === undefined ? {} : { layers: Number(values.layers) }
  const seed = Number(values.seed)
  const made =
    model === "phi-2"
      ? phiFiles({ ...phi2, ...depth }, dtype as FileDtype, seed)
      : clipFiles({ ...clipL336, ...depth }, dtype as FileDtype, seed)
  const files = await Effect.runPromise(writeModel(folder, made, values.format as Format, Number(values.shard)))
  console.log(files.join("\n"))
  return 0
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  process.exitCode = await main()
