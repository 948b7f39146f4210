/**
 * A checkpoint in a Hugging Face folder, whatever its format: safetensors, or else `pytorch_model.bin`.
 *
 * Not a model: names are as they stand in the files. Both formats answer the same questions, one tensor at a time.
 */
import { access } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import type { Dtype } from "./Dtype.ts"
import { openTorchFolder } from "./pickle/TorchFile.ts"
import type { TorchFileError } from "./pickle/TorchFileError.ts"
import { openSafetensorsFolder, SafetensorsError } from "./Safetensors.ts"

export type CheckpointError = SafetensorsError | TorchFileError

/** A checkpoint open for reading: one file or many, of either format. */
export interface Checkpoint {
  readonly path: string
  readonly entries: ReadonlyMap<
    string,
    { readonly name: string; readonly dtype: Dtype; readonly shape: ReadonlyArray<number> }
  >
  readonly metadata: Readonly<Record<string, string>>
  /** The stored bytes, or with `rows` those of the range [first, end) of the first dimension. */
  readonly bytes: (name: string, rows?: readonly [number, number]) => Effect.Effect<Uint8Array, CheckpointError>
  /** Any float format as float32. */
  readonly floats: (name: string, rows?: readonly [number, number]) => Effect.Effect<Float32Array, CheckpointError>
  /** Any integer format as int32; a value that does not fit fails. */
  readonly integers: (name: string) => Effect.Effect<Int32Array, CheckpointError>
}

const safetensors = ["model.safetensors.index.json", "model.safetensors"]
const torch = ["pytorch_model.bin.index.json", "pytorch_model.bin"]

/**
 * Opens the checkpoint of a folder. Of two formats safetensors is taken, as transformers does.
 *
 * @example const checkpoint = yield* openCheckpoint("clip-vit-large-patch14-336"); checkpoint.entries.size
 */
export const openCheckpoint = (folder: string): Effect.Effect<Checkpoint, CheckpointError, Scope.Scope> =>
  Effect.gen(function* () {
    const holds = (names: ReadonlyArray<string>) =>
      Effect.promise(async () => {
        for (const name of names)
          if (
            await access(join(folder, name)).then(
              () => true,
              () => false
            )
          )
            return true
        return false
      })
    if (yield* holds(safetensors)) return yield* openSafetensorsFolder(folder)
    if (yield* holds(torch)) return yield* openTorchFolder(folder)
    return yield* new SafetensorsError({
      path: folder,
      message: `holds none of ${[...safetensors, ...torch].join(", ")}`,
      hint: "Give the folder of a model as transformers' save_pretrained writes it, weights and all."
    })
  })
