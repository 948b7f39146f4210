/**
 * Writes tensors as `torch.save` writes a state dict: a zip of a pickle and one record a tensor, or shards with an
 * index.
 *
 * For what other code reads in no other format (LLaVA's `mm_projector.bin`) and for files of true size in tests;
 * exported models are safetensors. Equal tensors give equal bytes.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { writeZip, type ZipEntry } from "../bytes/ZipWriter.ts"
import { bytesOf, statePickle } from "../model/pickle/StatePickle.ts"
import type { TensorSource } from "../model/Safetensors.ts"

const ascii = (value: string): Buffer => Buffer.from(value, "latin1")

/** One file of `torch.save`; a tensor's bytes are asked for when its turn comes. */
export const writeTorchFile = <E, R>(path: string, tensors: ReadonlyArray<TensorSource<E, R>>) => {
  const data = Stream.fromIterable(tensors.map((tensor, i) => ({ tensor, i }))).pipe(
    Stream.mapEffect(({ i, tensor }) =>
      Effect.map(tensor.bytes, (bytes): ZipEntry => ({ name: `archive/data/${i}`, data: bytes }))
    )
  )
  const last: ZipEntry = { name: "archive/version", data: ascii("3\n") }
  return Effect.flatMap(statePickle(path, tensors), (pickle) => {
    const fixed: ReadonlyArray<ZipEntry> = [
      { name: "archive/data.pkl", data: pickle },
      { name: "archive/byteorder", data: ascii("little") }
    ]
    return writeZip(path, Stream.fromIterable(fixed).pipe(Stream.concat(data), Stream.concat(Stream.make(last))))
  })
}

/** `pytorch_model.bin`, or shards of at most `maxShardBytes` with `pytorch_model.bin.index.json`. The file names. */
export const writeTorchFolder = <E, R>(
  folder: string,
  tensors: ReadonlyArray<TensorSource<E, R>>,
  maxShardBytes: number
) =>
  Effect.gen(function* () {
    const shards: Array<Array<TensorSource<E, R>>> = []
    let room = 0
    for (const tensor of tensors) {
      if (shards.length === 0 || bytesOf(tensor) > room) {
        shards.push([])
        room = maxShardBytes
      }
      shards.at(-1)!.push(tensor)
      room -= bytesOf(tensor)
    }
    if (shards.length === 1) {
      yield* writeTorchFile(join(folder, "pytorch_model.bin"), tensors)
      return ["pytorch_model.bin"]
    }
    const pad = (n: number) => String(n).padStart(5, "0")
    const names = shards.map((_, i) => `pytorch_model-${pad(i + 1)}-of-${pad(shards.length)}.bin`)
    for (const [i, shard] of shards.entries()) yield* writeTorchFile(join(folder, names[i]!), shard)
    const index = {
      metadata: { total_size: tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0) },
      weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]!])))
    }
    const path = join(folder, "pytorch_model.bin.index.json")
    yield* Effect.promise(() => writeFile(path, `${JSON.stringify(index, null, 2)}\n`))
    return [...names, "pytorch_model.bin.index.json"]
  })
