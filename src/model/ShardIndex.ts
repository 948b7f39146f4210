/**
 * `model.safetensors.index.json` and `pytorch_model.bin.index.json`: which shard holds which tensor.
 *
 * Not the shards: that each holds what the index promises is checked where they are opened.
 */
import { readFile } from "node:fs/promises"
import { basename } from "node:path"
import { Effect, Schema } from "effect"
import { parseJsonDocument, WrongFileFault } from "../dag/WrongFile.ts"

const Index = Schema.Struct({ weight_map: Schema.Record(Schema.String, Schema.String) })

export interface ShardIndex {
  /** Tensor and file name, in the order of the index. */
  readonly tensors: ReadonlyArray<readonly [tensor: string, file: string]>
  /** File names in the index's folder, sorted. */
  readonly files: ReadonlyArray<string>
}

/** Makes the error of the format that is read. */
export type IndexFault<E> = (message: string, hint: string, tensor?: string, cause?: unknown) => E

const damaged = "The file is damaged or still being written: download or export it again."

/** Reads an index; undefined where there is none. Fails when it is damaged or names a file outside its folder. */
export const readShardIndex = <E>(path: string, fault: IndexFault<E>): Effect.Effect<ShardIndex | undefined, E> =>
  Effect.gen(function* () {
    const isAbsent = (cause: unknown) => cause instanceof Error && "code" in cause && cause.code === "ENOENT"
    const bytes = yield* Effect.tryPromise({
      try: () =>
        readFile(path).catch((cause: unknown) => {
          if (isAbsent(cause)) return undefined
          throw cause
        }),
      catch: (cause) => fault("cannot be read", "Check that you may read it.", undefined, cause)
    })
    if (bytes === undefined) return undefined
    const bad = (cause: unknown) =>
      cause instanceof WrongFileFault
        ? fault(cause.message, cause.hint, undefined, cause)
        : fault("is not an index of shards", damaged, undefined, cause)
    const json = yield* Effect.try({ try: () => parseJsonDocument(bytes), catch: bad })
    const { weight_map } = yield* Schema.decodeUnknownEffect(Index)(json).pipe(Effect.mapError(bad))
    const tensors = Object.entries(weight_map)
    const files = [...new Set(Object.values(weight_map))].sort()
    for (const name of files)
      if (name !== basename(name) || name === "" || name === "..")
        return yield* Effect.fail(fault(`names a shard outside its folder: ${name}`, "Do not load this checkpoint."))
    return { tensors, files }
  })
