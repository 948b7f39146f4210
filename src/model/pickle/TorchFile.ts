/**
 * Opens `pytorch_model.bin`, or its shards with an index, as a checkpoint: what `torch.save` writes of a state dict.
 *
 * Not `torch.load`: nothing in the file is run (see `Unpickle.ts`), and a tensor's bytes are read when they are asked
 * for. The layout before torch 1.6, which is no zip, is refused with what to do.
 *
 * An archive NAME/ holds `data.pkl`, a dictionary of names and views, and `data/KEY`, the storages that they view.
 */
import { open } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { openZip, type Zip, type ZipError } from "../../bytes/Zip.ts"
import { HEAD_BYTES, wrongFile } from "../../dag/WrongFile.ts"
import { type Dtype, dtypeBytes, intoFloat32, toInt32 } from "../Dtype.ts"
import { readShardIndex } from "../ShardIndex.ts"
import { type ReadAt, readView, type View } from "./Strided.ts"
import { TensorRef, tensorWorld } from "./TensorGlobals.ts"
import { type Reason, TorchFileError, torchError } from "./TorchFileError.ts"
import { kindOf, MAX_PICKLE_BYTES, unpickle } from "./Unpickle.ts"

/** What a tensor is; where it lies is the file's. */
export interface TorchEntry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
}

/** A checkpoint of torch open for reading; the same questions as of safetensors. */
export interface TorchCheckpoint {
  readonly path: string
  readonly entries: ReadonlyMap<string, TorchEntry>
  readonly metadata: Readonly<Record<string, string>>
  /** The elements in the order of the shape, or with `rows` those of [first, end) of the first dimension. */
  readonly bytes: (name: string, rows?: readonly [number, number]) => Effect.Effect<Uint8Array, TorchFileError>
  readonly floats: (name: string, rows?: readonly [number, number]) => Effect.Effect<Float32Array, TorchFileError>
  readonly integers: (name: string) => Effect.Effect<Int32Array, TorchFileError>
}

/** A tensor in a file: the view, and where its storage begins. */
interface Placed extends TorchEntry {
  readonly path: string
  readonly readAt: ReadAt
  readonly view: View
  readonly start: number
}

const attempt = <A>(path: string, what: string, run: () => Promise<A>): Effect.Effect<A, TorchFileError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => (cause instanceof TorchFileError ? cause : torchError(path, "unreadable", what, { cause }))
  })

const openBytes = (path: string) =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      attempt(path, "cannot be opened", () => open(path, "r")),
      (handle) => Effect.promise(() => handle.close())
    )
    const { size } = yield* attempt(path, "cannot be read", () => handle.stat())
    const readAt: ReadAt = async (offset, length) => {
      if (offset + length > size)
        throw torchError(path, "cut", `${length} bytes at ${offset} are behind its end, ${size}`)
      const bytes = new Uint8Array(length)
      // One read call moves at most 2 GiB.
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 1 << 30), offset + done)
        if (bytesRead === 0) throw torchError(path, "cut", `ends at byte ${offset + done}`)
        done += bytesRead
      }
      return bytes
    }
    return { readAt, size }
  })

/** The directory of a hundred thousand tensors has some 10 MB. */
const MAX_DIRECTORY_BYTES = 64 << 20

/** The magic number before every pickle of the old layout: LONG1 of ten bytes. */
const oldMagic = Uint8Array.of(0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19)

/** Says what a file is that does not begin as a zip. */
const checkStart = (path: string, head: Uint8Array, size: number): void => {
  const wrong = wrongFile(head, size, "torch")
  if (wrong !== undefined) throw torchError(path, "not-torch", wrong.message, { hint: wrong.hint })
  if (size < 64) throw torchError(path, "cut", `has ${size} bytes, too few for an archive`)
  if (head[0] === 0x50 && head[1] === 0x4b) return
  const old = head[0] === 0x80 && oldMagic.every((byte, i) => head[2 + i] === byte)
  throw old
    ? torchError(path, "legacy", "is in the layout of torch before 1.6, which is not read")
    : torchError(path, "not-torch", "does not begin as a zip")
}

/** What a fault of the archive is to whoever wants tensors. */
const zipReasons: Readonly<Partial<Record<ZipError["reason"], Reason>>> = {
  "not-a-zip": "cut",
  truncated: "cut",
  encrypted: "not-torch",
  "unsupported-method": "not-torch",
  "too-large": "too-large",
  unreadable: "unreadable"
}
const fromZip = (path: string) => (error: ZipError) => {
  const entry = error.entry === "" ? "" : `${error.entry}: `
  return torchError(path, zipReasons[error.reason] ?? "damaged", `${entry}${error.message}`, { cause: error })
}

/** The bytes of a small record; undefined when there is none. */
const recordOf = Effect.fnUntraced(function* (path: string, zip: Zip, readAt: ReadAt, name: string, most: number) {
  if (!zip.has(name)) return undefined
  const { offset, size } = yield* zip.locate(name).pipe(Effect.mapError(fromZip(path)))
  if (size > most) return yield* torchError(path, "too-large", `${name} has ${size} bytes, more than ${most}`)
  return yield* attempt(path, `${name} cannot be read`, () => readAt(offset, size))
})

/** The dictionary that the file holds, and the folder of its archive. */
const dictionaryOf = Effect.fnUntraced(function* (path: string, zip: Zip, readAt: ReadAt) {
  const pickles = [...zip.names()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
  const [pickleName] = pickles
  if (pickleName === undefined || pickles.length > 1)
    return yield* torchError(path, "not-torch", `holds ${pickles.length} of NAME/data.pkl, not one`)
  const home = pickleName.slice(0, -"data.pkl".length)
  const order = yield* recordOf(path, zip, readAt, `${home}byteorder`, 64)
  if (order !== undefined && new TextDecoder().decode(order).trim() !== "little")
    return yield* torchError(path, "not-torch", "was written on a big-endian machine")
  const pickle = yield* recordOf(path, zip, readAt, pickleName, MAX_PICKLE_BYTES)
  const root = yield* attempt(path, "cannot be read", async () => unpickle(pickle!, tensorWorld(path)))
  if (!(root instanceof Map))
    return yield* torchError(path, "not-torch", `holds ${kindOf(root)}, not a dictionary of tensors`)
  return { root, home }
})

/** The tensors of one file, all checked against the records they view. */
const openFile = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<ReadonlyArray<Placed>, TorchFileError, Scope.Scope> {
  const { readAt, size } = yield* openBytes(path)
  const head = yield* attempt(path, "cannot be read", () => readAt(0, Math.min(size, HEAD_BYTES)))
  yield* attempt(path, "cannot be read", async () => checkStart(path, head, size))
  const zip = yield* openZip(path, { maxDirectoryBytes: MAX_DIRECTORY_BYTES }).pipe(Effect.mapError(fromZip(path)))
  const { home, root } = yield* dictionaryOf(path, zip, readAt)
  const placed: Array<Placed> = []
  const starts = new Map<string, number>()
  for (const [name, tensor] of root) {
    if (typeof name !== "string" || !(tensor instanceof TensorRef))
      return yield* torchError(path, "not-torch", `holds ${kindOf(tensor)} under ${kindOf(name)}, not a tensor`)
    const { storage } = tensor
    let start = starts.get(storage.key)
    if (start === undefined) {
      const record = `${home}data/${storage.key}`
      const bytes = storage.count * dtypeBytes[storage.dtype]
      if (!zip.has(record)) return yield* torchError(path, "cut", `lacks ${record}`, { tensor: name })
      const found = yield* zip.locate(record).pipe(Effect.mapError(fromZip(path)))
      if (found.size !== bytes)
        return yield* torchError(path, "damaged", `${record} has ${found.size} bytes, the pickle says ${bytes}`, {
          tensor: name
        })
      start = found.offset
      starts.set(storage.key, start)
    }
    const view = { offset: tensor.offset, shape: tensor.shape, strides: tensor.strides }
    placed.push({ name, dtype: storage.dtype, shape: tensor.shape, path, readAt, view, start })
  }
  return placed
})

const assemble = (path: string, tensors: ReadonlyArray<Placed>): TorchCheckpoint => {
  const located = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const fail = (reason: Reason, message: string, tensor: string) =>
    Effect.fail(torchError(path, reason, message, { tensor }))
  const find = (name: string) => {
    const found = located.get(name)
    return found === undefined ? fail("not-found", "has no such tensor", name) : Effect.succeed(found)
  }
  const bytes: TorchCheckpoint["bytes"] = (name, rows) =>
    Effect.gen(function* () {
      const { dtype, path: file, readAt, start, view } = yield* find(name)
      const [first, end] = rows ?? [0, view.shape[0] ?? 1]
      const count = view.shape[0] ?? (rows === undefined ? 1 : 0)
      if (!(Number.isSafeInteger(first) && Number.isSafeInteger(end) && 0 <= first && first <= end && end <= count))
        return yield* fail("not-found", `has no rows ${first}..${end}, only ${count}`, name)
      const part =
        rows === undefined
          ? view
          : {
              offset: view.offset + first * view.strides[0]!,
              shape: [end - first, ...view.shape.slice(1)],
              strides: view.strides
            }
      return yield* attempt(file, `${name} cannot be read`, () => readView(readAt, start, part, dtypeBytes[dtype]))
    })
  return {
    path,
    entries: new Map([...located].map(([name, { dtype, shape }]) => [name, { name, dtype, shape }])),
    metadata: {},
    bytes,
    floats: (name, rows) =>
      Effect.gen(function* () {
        const { dtype } = yield* find(name)
        const values = intoFloat32(yield* bytes(name, rows), dtype)
        return values ?? (yield* fail("not-found", `is ${dtype}, not a float`, name))
      }),
    integers: (name) =>
      Effect.gen(function* () {
        const { dtype } = yield* find(name)
        const values = toInt32(yield* bytes(name), dtype)
        return values ?? (yield* fail("not-found", `is ${dtype} or does not fit int32`, name))
      })
  }
}

/**
 * Opens one file of `torch.save`; its directory and pickle are read, no tensor. Closed with the scope.
 *
 * @example const file = yield* openTorchFile("pytorch_model.bin"); const w = yield* file.floats("lm_head.weight")
 */
export const openTorchFile = (path: string): Effect.Effect<TorchCheckpoint, TorchFileError, Scope.Scope> =>
  Effect.map(openFile(path), (tensors) => assemble(path, tensors))

/** Opens a folder's `pytorch_model.bin.index.json` with its shards, or its `pytorch_model.bin`. */
export const openTorchFolder = (folder: string): Effect.Effect<TorchCheckpoint, TorchFileError, Scope.Scope> =>
  Effect.gen(function* () {
    const indexPath = join(folder, "pytorch_model.bin.index.json")
    const index = yield* readShardIndex(indexPath, (message, _, tensor, cause) =>
      torchError(indexPath, "damaged", message, {
        ...(tensor === undefined ? {} : { tensor }),
        ...(cause === undefined ? {} : { cause })
      })
    )
    if (index === undefined) return yield* openTorchFile(join(folder, "pytorch_model.bin"))
    const byFile = new Map<string, ReadonlyArray<Placed>>()
    for (const file of index.files) byFile.set(file, yield* openFile(join(folder, file)))
    const names = new Map([...byFile].map(([file, tensors]) => [file, new Set(tensors.map(({ name }) => name))]))
    for (const [tensor, file] of index.tensors)
      if (!names.get(file)!.has(tensor))
        return yield* torchError(indexPath, "damaged", `promises a tensor that ${file} does not hold`, { tensor })
    return assemble(folder, [...byFile.values()].flat())
  })
