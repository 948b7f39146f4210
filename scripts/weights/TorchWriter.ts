/**
 * Writes tensors as `torch.save` writes a state dict: a zip of a pickle and one record a tensor, or shards with an index.
 *
 * Not a pickler: the pickle is the one sentence that a state dict needs, without a memo. torch opens the files, with
 * `weights_only=True` as well. For tests and measurements at true size; exports are safetensors.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { writeZip, type ZipEntry } from "../../src/data/ZipWriter.ts"
import { type Dtype, dtypeBytes } from "../../src/model/Dtype.ts"
import type { TensorSource } from "../../src/model/Safetensors.ts"

const storages: Partial<Record<Dtype, string>> = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  F64: "DoubleStorage",
  I64: "LongStorage"
}

type Shaped = Pick<TensorSource, "name" | "dtype" | "shape">

const countOf = ({ shape }: Shaped): number => shape.reduce((product, n) => product * n, 1)

const text = (value: string): Buffer => {
  const raw = Buffer.from(value)
  const head = Buffer.from([0x58, 0, 0, 0, 0])
  head.writeUInt32LE(raw.length, 1)
  return Buffer.concat([head, raw])
}
const integer = (value: number): Buffer => {
  const out = Buffer.from([0x4a, 0, 0, 0, 0])
  out.writeInt32LE(value, 1)
  return out
}
const ascii = (value: string): Buffer => Buffer.from(value, "latin1")
const tuple = (items: ReadonlyArray<Buffer>): Buffer => Buffer.concat([ascii("("), ...items, ascii("t")])

/** The pickle of a dictionary of contiguous tensors; tensor `i` is all of storage `i`. */
export const statePickle = (tensors: ReadonlyArray<Shaped>): Buffer =>
  Buffer.concat([
    Buffer.from([0x80, 2]),
    ascii("}("),
    ...tensors.flatMap((tensor, i) => {
      const { dtype, name, shape } = tensor
      const storage = storages[dtype]
      if (storage === undefined) throw new Error(`torch files are not written with ${dtype}`)
      const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, 1))
      const id = [
        text("storage"),
        ascii(`ctorch\n${storage}\n`),
        text(String(i)),
        text("cpu"),
        integer(countOf(tensor))
      ]
      return [
        text(name),
        ascii("ctorch._utils\n_rebuild_tensor_v2\n"),
        tuple([
          Buffer.concat([tuple(id), ascii("Q")]),
          integer(0),
          tuple(shape.map(integer)),
          tuple(strides.map(integer)),
          Buffer.from([0x89]),
          ascii("ccollections\nOrderedDict\n)R")
        ]),
        ascii("R")
      ]
    }),
    ascii("u.")
  ])

/** One file of `torch.save`; a tensor's bytes are asked for when its turn comes. */
export const writeTorchFile = <E, R>(path: string, tensors: ReadonlyArray<TensorSource<E, R>>) => {
  const fixed: ReadonlyArray<ZipEntry> = [
    { name: "archive/data.pkl", data: statePickle(tensors) },
    { name: "archive/byteorder", data: ascii("little") }
  ]
  const data = Stream.fromIterable(tensors.map((tensor, i) => ({ tensor, i }))).pipe(
    Stream.mapEffect(({ i, tensor }) =>
      Effect.map(tensor.bytes, (bytes): ZipEntry => ({ name: `archive/data/${i}`, data: bytes }))
    )
  )
  const last: ZipEntry = { name: "archive/version", data: ascii("3\n") }
  return writeZip(path, Stream.fromIterable(fixed).pipe(Stream.concat(data), Stream.concat(Stream.make(last))))
}

/** `pytorch_model.bin`, or shards of at most `maxShardBytes` with `pytorch_model.bin.index.json`. The file names. */
export const writeTorchFolder = <E, R>(
  folder: string,
  tensors: ReadonlyArray<TensorSource<E, R>>,
  maxShardBytes: number
) =>
  Effect.gen(function* () {
    const bytesOf = (tensor: Shaped): number => countOf(tensor) * dtypeBytes[tensor.dtype]
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
