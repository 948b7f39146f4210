/**
 * Reads and writes safetensors: one file, or shards with an index, by range and with bounded memory.
 *
 * Not a model loader: names are as they stand in the file (`Names.ts` of each model translates them). Folders of either
 * format are opened by `Checkpoint.ts`.
 *
 * Layout: 8 bytes little-endian header length, JSON header padded with spaces to 8 bytes, then the data. The writer is
 * deterministic: equal tensors and metadata give equal bytes, whatever order they come in.
 */
import { open, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { HEAD_BYTES, wrongFile } from "../dag/WrongFile.ts"
import { type Dtype, dtypeBytes, intoFloat32, isDtype, toInt32 } from "./Dtype.ts"
import { readShardIndex } from "./ShardIndex.ts"

/** A file that is not what safetensors says, or cannot be read or written. */
export class SafetensorsError extends Schema.TaggedError<SafetensorsError>()("SafetensorsError", {
  path: Schema.String,
  tensor: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Where a tensor lies; offsets in bytes from the start of the file. */
export interface TensorEntry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly begin: number
  readonly end: number
}

export interface Header {
  readonly entries: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
}

/** A checkpoint open for reading: one file or many. */
export interface Safetensors {
  readonly path: string
  readonly entries: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
  /** The stored bytes, or with `rows` those of the range [first, end) of the first dimension. */
  readonly bytes: (name: string, rows?: readonly [number, number]) => Effect.Effect<Uint8Array, SafetensorsError>
  /** Any float format as float32. */
  readonly floats: (name: string, rows?: readonly [number, number]) => Effect.Effect<Float32Array, SafetensorsError>
  /** Any integer format as int32; a value that does not fit fails. */
  readonly integers: (name: string) => Effect.Effect<Int32Array, SafetensorsError>
}

/** Longest header that is read, as the reference implementation. */
const maxHeaderBytes = 100_000_000
const truncated = "The file is damaged or still being written: download or export it again."
const integersHint = "Weights must be F32, F16 or BF16: take the checkpoint before it was quantised."

const fail = (path: string, message: string, hint: string, tensor?: string, cause?: unknown): SafetensorsError =>
  new SafetensorsError({
    path,
    message,
    hint,
    ...(tensor === undefined ? {} : { tensor }),
    ...(cause === undefined ? {} : { cause })
  })

const isRecord = (u: unknown): u is Record<string, unknown> => typeof u === "object" && u !== null && !Array.isArray(u)

/** A value of the header for a message: it may be anything, nested as deep as it likes. */
const show = (u: unknown): string =>
  typeof u === "object" &&
  u !== null &&
  !(Array.isArray(u) && u.length <= 16 && u.every((one) => typeof one !== "object"))
    ? "of a nested value"
    : String(JSON.stringify(u)).slice(0, 200)

const isCount = (u: unknown): u is number => typeof u === "number" && Number.isSafeInteger(u) && u >= 0

/**
 * Parses and checks the JSON header. `dataStart` is where the data begins, `fileBytes` the size of the file.
 *
 * Fails unless every tensor has a known dtype and a size that matches its shape, and the ranges tile the data exactly.
 */
export const parseHeader = (
  path: string,
  json: string,
  dataStart: number,
  fileBytes: number
): Effect.Effect<Header, SafetensorsError> =>
  Effect.gen(function* () {
    const parsed: unknown = yield* Effect.try({
      try: () => JSON.parse(json),
      catch: (cause) => fail(path, "the header is not JSON", truncated, undefined, cause)
    })
    if (!isRecord(parsed)) return yield* fail(path, "the header is not an object", truncated)
    const entries: Array<TensorEntry> = []
    const metadata: Record<string, string> = {}
    for (const [name, value] of Object.entries(parsed)) {
      // Optional metadata may be null: the reference implementation reads both as none.
      if (name === "__metadata__" && value === null) continue
      if (!isRecord(value)) return yield* fail(path, "an entry is not an object", truncated, name)
      if (name === "__metadata__") {
        for (const [key, text] of Object.entries(value)) {
          if (typeof text !== "string")
            return yield* fail(path, `metadata ${key} is no string`, "Metadata values must be strings.")
          metadata[key] = text
        }
        continue
      }
      const { dtype, shape, data_offsets: offsets } = value
      if (typeof dtype !== "string" || !isDtype(dtype))
        return yield* fail(path, `unknown dtype ${show(dtype)}`, "Convert the checkpoint to F32, F16 or BF16.", name)
      if (!Array.isArray(shape) || !shape.every(isCount))
        return yield* fail(path, `bad shape ${show(shape)}`, truncated, name)
      if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
        return yield* fail(path, `bad offsets ${show(offsets)}`, truncated, name)
      const [begin, end] = offsets as [number, number]
      const expected = shape.reduce((product: number, n: number) => product * n, dtypeBytes[dtype])
      if (end - begin !== expected)
        return yield* fail(
          path,
          `${dtype} [${shape.join(", ")}] takes ${expected} bytes, the header gives it ${end - begin}`,
          truncated,
          name
        )
      entries.push({ name, dtype, shape: shape as Array<number>, begin: dataStart + begin, end: dataStart + end })
    }
    let at = dataStart
    for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
      if (entry.begin !== at)
        return yield* fail(
          path,
          `data ${entry.begin < at ? "overlaps" : "leaves a gap"} at byte ${Math.min(at, entry.begin)}`,
          truncated,
          entry.name
        )
      at = entry.end
    }
    if (at !== fileBytes)
      return yield* fail(path, `the header describes ${at} bytes, the file has ${fileBytes}`, truncated)
    return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata }
  })

interface Part {
  readonly path: string
  readonly read: (offset: number, length: number) => Effect.Effect<Uint8Array, SafetensorsError>
}

const openPart = (path: string): Effect.Effect<Part & { readonly size: number }, SafetensorsError, Scope.Scope> =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => open(path, "r"),
        catch: (cause) => fail(path, "cannot be opened", "Check the path and that you may read it.", undefined, cause)
      }),
      (handle) => Effect.promise(() => handle.close())
    )
    const { size } = yield* Effect.tryPromise({
      try: () => handle.stat(),
      catch: (cause) => fail(path, "cannot be read", "Check the disk.", undefined, cause)
    })
    return {
      path,
      size,
      read: (offset, length) =>
        Effect.tryPromise({
          try: async () => {
            const buffer = new Uint8Array(length)
            // One read call moves at most 2 GiB.
            for (let done = 0; done < length; ) {
              const { bytesRead } = await handle.read(buffer, done, Math.min(length - done, 1 << 30), offset + done)
              if (bytesRead === 0) throw new Error(`the file ends at byte ${offset + done}`)
              done += bytesRead
            }
            return buffer
          },
          catch: (cause) => fail(path, `cannot read ${length} bytes at ${offset}`, truncated, undefined, cause)
        })
    }
  })

const openFile = (
  path: string
): Effect.Effect<{ readonly part: Part; readonly header: Header }, SafetensorsError, Scope.Scope> =>
  Effect.gen(function* () {
    const part = yield* openPart(path)
    const head = yield* part.read(0, Math.min(part.size, HEAD_BYTES))
    const length = part.size < 8 ? 0 : Number(new DataView(head.buffer).getBigUint64(0, true))
    const fits = length >= 2 && length <= maxHeaderBytes && 8 + length <= part.size
    const wrong = fits ? undefined : wrongFile(head, part.size, "safetensors")
    if (wrong !== undefined) return yield* fail(path, wrong.message, wrong.hint)
    if (part.size < 8) return yield* fail(path, `has ${part.size} bytes, too few for a header`, truncated)
    if (!fits)
      return yield* fail(
        path,
        `claims a header of ${length} bytes in a file of ${part.size}`,
        head[8] === 0x7b ? truncated : "This is no safetensors file, or it is truncated."
      )
    const json = new TextDecoder().decode(yield* part.read(8, length))
    return { part, header: yield* parseHeader(path, json, 8 + length, part.size) }
  })

const assemble = (
  path: string,
  parts: ReadonlyArray<{ readonly part: Part; readonly header: Header }>
): Safetensors => {
  const located = new Map(
    parts.flatMap(({ part, header }) => [...header.entries].map(([name, entry]) => [name, { part, entry }] as const))
  )
  const find = (name: string) => {
    const found = located.get(name)
    return found === undefined
      ? Effect.fail(fail(path, "has no such tensor", "Check that the checkpoint belongs to this kind of model.", name))
      : Effect.succeed(found)
  }
  const bytes: Safetensors["bytes"] = (name, rows) =>
    Effect.gen(function* () {
      const { part, entry } = yield* find(name)
      if (rows === undefined) return yield* part.read(entry.begin, entry.end - entry.begin)
      const count = entry.shape[0] ?? 0
      const [first, end] = rows
      if (!(isCount(first) && isCount(end) && first <= end && end <= count))
        return yield* fail(path, `rows ${first}..${end} of ${count}`, "Ask for rows inside the first dimension.", name)
      const row = count === 0 ? 0 : (entry.end - entry.begin) / count
      return yield* part.read(entry.begin + first * row, (end - first) * row)
    })
  return {
    path,
    entries: new Map([...located].map(([name, { entry }]) => [name, entry])),
    metadata: Object.assign({}, ...parts.map(({ header }) => header.metadata)),
    bytes,
    floats: (name, rows) =>
      Effect.gen(function* () {
        const { entry } = yield* find(name)
        const values = intoFloat32(yield* bytes(name, rows), entry.dtype)
        return values ?? (yield* fail(path, `is ${entry.dtype}, not a float`, integersHint, name))
      }),
    integers: (name) =>
      Effect.gen(function* () {
        const { entry } = yield* find(name)
        const values = toInt32(yield* bytes(name), entry.dtype)
        return values ?? (yield* fail(path, `is ${entry.dtype} or does not fit int32`, "Read its bytes instead.", name))
      })
  }
}

/**
 * Opens one safetensors file; only the header is read. The file is closed with the scope.
 *
 * @example const file = yield* openSafetensors("model.safetensors"); const w = yield* file.floats("lm_head.weight")
 */
export const openSafetensors = (path: string): Effect.Effect<Safetensors, SafetensorsError, Scope.Scope> =>
  Effect.map(openFile(path), (file) => assemble(path, [file]))

/** Opens a folder's `model.safetensors.index.json` with its shards, or its `model.safetensors`. */
export const openSafetensorsFolder = (folder: string): Effect.Effect<Safetensors, SafetensorsError, Scope.Scope> =>
  Effect.gen(function* () {
    const indexPath = join(folder, "model.safetensors.index.json")
    const index = yield* readShardIndex(indexPath, (message, hint, tensor, cause) =>
      fail(indexPath, message, hint, tensor, cause)
    )
    if (index === undefined) return yield* openSafetensors(join(folder, "model.safetensors"))
    const parts = yield* Effect.forEach(index.files, (name) => openFile(join(folder, name)))
    const byName = new Map(index.files.map((name, i) => [name, parts[i]!]))
    for (const [tensor, shard] of index.tensors)
      if (!byName.get(shard)!.header.entries.has(tensor))
        return yield* fail(indexPath, `promises a tensor that ${shard} does not hold`, truncated, tensor)
    return assemble(folder, parts)
  })

/** A tensor to write; `bytes` is asked for once, when its turn comes. */
export interface TensorSource<E = never, R = never> {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly bytes: Effect.Effect<Uint8Array, E, R>
}

/** What reading sources of a kind can fail with, and needs; sources of different kinds may be mixed in one file. */
export type SourceError<T extends TensorSource<any, any>> = Effect.Error<T["bytes"]>
export type SourceServices<T extends TensorSource<any, any>> = Effect.Services<T["bytes"]>

const byteCount = (t: Pick<TensorSource, "dtype" | "shape">): number =>
  t.shape.reduce((product, n) => product * n, dtypeBytes[t.dtype])

/** Widest elements first (keeps everything aligned), then by name: the order of the reference implementation. */
const inOrder = <T extends Pick<TensorSource, "name" | "dtype">>(tensors: ReadonlyArray<T>): Array<T> =>
  tensors.toSorted(
    (a, b) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  )

/** The first bytes of a file: length and padded header for tensors in this order. */
export const encodeHeader = (
  tensors: ReadonlyArray<Pick<TensorSource, "name" | "dtype" | "shape">>,
  metadata: Readonly<Record<string, string>> = {}
): Uint8Array => {
  const header: Record<string, unknown> = {}
  const keys = Object.keys(metadata).sort()
  if (keys.length > 0) header["__metadata__"] = Object.fromEntries(keys.map((key) => [key, metadata[key]]))
  let at = 0
  for (const t of tensors) {
    const end = at + byteCount(t)
    header[t.name] = { dtype: t.dtype, shape: t.shape, data_offsets: [at, end] }
    at = end
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const length = Math.ceil(json.length / 8) * 8
  const out = new Uint8Array(8 + length).fill(0x20)
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true)
  out.set(json, 8)
  return out
}

/**
 * Writes one file: into a temporary file beside it, fsync, rename. One tensor is in memory at a time.
 *
 * Long: one file from its header to its rename; every way out removes the temporary file.
 *
 * @example yield* writeSafetensors("out.safetensors", [{ name: "w", dtype: "F32", shape: [2], bytes: Effect.succeed(b) }])
 */
export const writeSafetensors = <T extends TensorSource<any, any>>(
  path: string,
  tensors: ReadonlyArray<T>,
  metadata: Readonly<Record<string, string>> = {}
): Effect.Effect<void, SourceError<T> | SafetensorsError, SourceServices<T>> =>
  Effect.gen(function* () {
    const ordered = inOrder(tensors)
    const repeated = ordered.find((t, i) => t.name === ordered[i + 1]?.name)
    if (repeated !== undefined)
      return yield* fail(path, "the same tensor twice", "Give every tensor one name.", repeated.name)
    const temporary = join(dirname(path), `.${basename(path)}.partial`)
    const trouble = (cause: unknown) =>
      fail(path, "cannot be written", "Check the folder, its permissions and the free space.", undefined, cause)
    const handle = yield* Effect.tryPromise({ try: () => open(temporary, "w"), catch: trouble })
    const write = (bytes: Uint8Array) =>
      Effect.tryPromise({
        try: async () => {
          for (let done = 0; done < bytes.length; )
            done += (await handle.write(bytes, done, Math.min(bytes.length - done, 1 << 30))).bytesWritten
        },
        catch: trouble
      })
    const body = Effect.gen(function* () {
      yield* write(encodeHeader(ordered, metadata))
      for (const t of ordered) {
        const bytes = yield* t.bytes
        if (bytes.byteLength !== byteCount(t))
          return yield* fail(
            path,
            `${bytes.byteLength} bytes for ${t.dtype} [${t.shape.join(", ")}]`,
            "Check its shape.",
            t.name
          )
        yield* write(bytes)
      }
      yield* Effect.tryPromise({ try: () => handle.sync(), catch: trouble })
    })
    yield* body.pipe(
      Effect.ensuring(Effect.promise(() => handle.close())),
      Effect.andThen(Effect.tryPromise({ try: () => rename(temporary, path), catch: trouble })),
      Effect.onError(() => Effect.promise(() => rm(temporary, { force: true })))
    )
  })

/**
 * Writes `model.safetensors`, or shards of at most `maxShardBytes` with `model.safetensors.index.json`.
 *
 * Tensors are dealt to shards in name order, so the layout depends on names and sizes alone. Returns the file names.
 */
export const writeCheckpoint = <T extends TensorSource<any, any>>(
  folder: string,
  tensors: ReadonlyArray<T>,
  options: { readonly maxShardBytes?: number; readonly metadata?: Readonly<Record<string, string>> } = {}
): Effect.Effect<ReadonlyArray<string>, SourceError<T> | SafetensorsError, SourceServices<T>> =>
  Effect.gen(function* () {
    const limit = options.maxShardBytes ?? 5_000_000_000
    const metadata = options.metadata ?? { format: "pt" }
    const shards: Array<Array<T>> = []
    let room = 0
    for (const t of tensors.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))) {
      const size = byteCount(t)
      if (shards.length === 0 || size > room) {
        shards.push([])
        room = limit
      }
      shards[shards.length - 1]!.push(t)
      room -= size
    }
    if (shards.length <= 1) {
      yield* writeSafetensors(join(folder, "model.safetensors"), tensors, metadata)
      return ["model.safetensors"]
    }
    const pad = (n: number) => String(n).padStart(5, "0")
    const names = shards.map((_, i) => `model-${pad(i + 1)}-of-${pad(shards.length)}.safetensors`)
    yield* Effect.forEach(shards, (shard, i) => writeSafetensors(join(folder, names[i]!), shard, metadata))
    const index = {
      metadata: { total_size: tensors.reduce((sum, t) => sum + byteCount(t), 0) },
      weight_map: Object.fromEntries(
        shards
          .flatMap((shard, i) => shard.map((t) => [t.name, names[i]!] as const))
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
      )
    }
    const path = join(folder, "model.safetensors.index.json")
    yield* Effect.tryPromise({
      try: async () => {
        const handle = await open(`${path}.partial`, "w")
        await handle.writeFile(`${JSON.stringify(index, null, 2)}\n`)
        await handle.sync()
        await handle.close()
        await rename(`${path}.partial`, path)
      },
      catch: (cause) => fail(path, "cannot be written", "Check the folder.", undefined, cause)
    })
    return [...names, "model.safetensors.index.json"]
  })

/** A whole small file in memory, for goldens and tests. Entries are written in the same order as `writeSafetensors`. */
export const encodeSafetensors = (
  tensors: ReadonlyArray<Omit<TensorSource, "bytes"> & { readonly data: Uint8Array }>,
  metadata: Readonly<Record<string, string>> = {}
): Uint8Array => {
  const ordered = inOrder(tensors)
  return Buffer.concat([encodeHeader(ordered, metadata), ...ordered.map((t) => t.data)])
}
