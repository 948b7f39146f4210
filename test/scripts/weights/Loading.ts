/** How much memory loading a model folder takes, measured in a process that does nothing else. */
import { execFileSync } from "node:child_process"
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import { phi2 } from "../../../src/model/Published.ts"

/** A Phi of 0.24 GB in half precision. */
export const medium = {
  ...phi2,
  vocabSize: 6000,
  hiddenSize: 1024,
  intermediateSize: 4096,
  layers: 8,
  heads: 16,
  partialRotaryFactor: 0.5
}

const Told = Schema.fromJsonString(
  Schema.Struct({ tensors: Schema.Number, floats: Schema.Number, grown: Schema.Number })
)

const child = fileURLToPath(new URL("./Child.ts", import.meta.url))
export const loading = (model: string, what: string, path: string) =>
  Schema.decodeUnknownEffect(Told)(execFileSync(process.execPath, [child, model, what, path], { encoding: "utf8" }))

export const weightBytes = (path: string): number =>
  readdirSync(path)
    .filter((name) => /\.(safetensors|bin)$/.test(name))
    .reduce((sum, name) => sum + statSync(join(path, name)).size, 0)
