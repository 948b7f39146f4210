/**
 * What the store's tests share: a small node's artifacts and key, an entry made the way a runner makes it, and a
 * `FileSystem` that fails or crashes at its n-th change. A crash also loses what was written and not fsynced.
 */
import { mkdtempSync, readdirSync, rmSync, truncateSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer, Logger, PlatformError, Schema, Stream } from "effect"
import { afterAll } from "vitest"
import { rows, transient, tree, value } from "../../src/dag/Artifact.ts"
import { sha256 } from "../../src/dag/Canonical.ts"
import { type KeyParts, keyOf } from "../../src/dag/Key.ts"
import type { Refusals, Refused } from "../../src/dag/Refusals.ts"
import * as LocalStore from "../../src/store/LocalStore.ts"
import type { Code } from "../../src/store/Manifest.ts"
import { writeShard } from "../../src/store/ShardFiles.ts"
import { type PendingEntry, Store } from "../../src/store/Store.ts"

const folders: Array<string> = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

export const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-store-"))
  folders.push(folder)
  return folder
}

export const Word = Schema.Struct({ id: Schema.String })
export const Words = rows("words", Word)
export const Stream1 = transient(rows("stream", Word))
export const Files = tree("files")
export const Report = value("report", Schema.Struct({ seen: Schema.Number }))
export const outputs = { rows: Words, flow: Stream1, files: Files, report: Report }

export const partsOf = (name: string, inputs: Record<string, string> = {}): KeyParts => ({
  definition: name,
  version: "1",
  params: {},
  inputs,
  formats: { rows: "words:jsonl/1" },
  artifact: 1
})
export const codeOf = (name: string): Code => ({ digest: sha256(name), weak: false, files: [], packages: {} })

export const wordsOf = (shard: number, count = 3) =>
  Array.from({ length: count }, (_, i) => ({ id: `shard ${shard} row ${i}` }))

/** Writes shard `index` as a worker would. */
/** A collector in which rows wait already. */
export const refusing = (rows: ReadonlyArray<Refused>): Pick<Refusals, "take" | "waiting"> => {
  let waiting = rows
  return {
    waiting: () => waiting.length,
    take: () => {
      const taken = waiting
      waiting = []
      return taken
    }
  }
}

export const shardOf = (folder: string, index: number) =>
  writeShard({
    folder,
    index,
    outputs: {
      rows: { artifact: Words, batches: Stream.make(wordsOf(index)) },
      flow: { artifact: Stream1, batches: Stream.make(wordsOf(index)) }
    },
    refusals: refusing(index === 1 ? [{ row: 3, reason: "Bad", error: { _tag: "Bad" } }] : []),
    rowsIn: () => 4
  })

export const shardCount = 2

/** Makes the shards that are missing, then commits; gives the indices that were made. */
export const finish = (work: PendingEntry, parts: KeyParts, parents: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const made: Array<number> = []
    const records = []
    for (let index = 0; index < shardCount; index++) {
      const have = work.shards.get(index)
      if (have === undefined) made.push(index)
      records.push(have ?? (yield* shardOf(work.folder, index)))
    }
    const fs = yield* FileSystem.FileSystem
    const folder = yield* work.treeFolder("files")
    yield* fs.makeDirectory(join(folder, "sub"))
    yield* fs.writeFileString(join(folder, "a.txt"), "contents of a")
    yield* fs.writeFileString(join(folder, "sub", "b.txt"), "contents of b")
    const found = yield* work.commit({
      parts,
      parents,
      shards: records,
      values: { report: { seen: 9 } },
      outputs,
      peakMemory: 0
    })
    return { found, made }
  })

/** A whole entry of the node `name`, from `begin` to `commit`. */
export const makeEntry = (
  name: string,
  options: {
    readonly code?: Code
    readonly inputs?: Record<string, string>
    readonly parents?: Record<string, string>
    readonly allowStaleCode?: boolean
  } = {}
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const parts = partsOf(name, options.inputs)
      const work = yield* store.begin({
        key: keyOf(parts),
        code: options.code ?? codeOf("code"),
        allowStaleCode: options.allowStaleCode ?? false,
        fresh: false
      })
      return yield* finish(work, parts, options.parents)
    })
  )

/** What would be said to the user; tests keep it to look at, or for silence. */
export const said: Array<string> = []
const quiet = Logger.layer([Logger.make(({ message }) => void said.push([message].flat().join(" ")))])

/** The store at `root` over Node's file system, or over another. */
export const storeAt = (
  root: string,
  fileSystem: Layer.Layer<FileSystem.FileSystem> = NodeFileSystem.layer,
  readOnly = false
) => Layer.provideMerge(LocalStore.layer({ root, readOnly }), Layer.merge(fileSystem, quiet))

/** What a process's death does and an in-process crash does not: its locks are no longer held by a living process. */
export const buryLocks = (root: string): void => rmSync(join(root, "locks"), { recursive: true, force: true })

/** All paths under a folder, sorted, without locks. */
export const pathsUnder = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name).slice(folder.length + 1))
    .filter((path) => !path.startsWith("locks/"))
    .sort()

/** What Node throws; of a used-up quota libuv knows the number only. */
const injected = (code: string, path: string): Error => {
  if (code !== "EDQUOT") return Object.assign(new Error(`${code}: injected, '${path}'`), { code })
  const unknown = `Unknown system error -${constants.errno.EDQUOT}`
  return Object.assign(new Error(`${unknown}: ${unknown}, '${path}'`), {
    code: unknown,
    errno: -constants.errno.EDQUOT
  })
}

const errno = (code: string, path: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: code === "EACCES" || code === "EPERM" ? "PermissionDenied" : "Unknown",
    module: "FileSystem",
    method: "injected",
    pathOrDescriptor: path,
    cause: injected(code, path)
  })

/**
 * How a faulty file system fails: one operation says `code`, or the machine stops there and loses what was not synced.
 */
export interface Fault {
  /** Number of the change that fails, from 0; Infinity only counts. */
  readonly at: number
  readonly how: "crash" | string
  /** Every change from `at` on fails, not that one alone: a disk that stays full. */
  readonly lasts?: boolean
  /** Only changes for which this is true are counted. */
  readonly when?: (operation: string, path: string) => boolean
}

/** Node's file system with a fault; `count()` tells how many changes were asked for. */
export const faulty = (fault: Fault) => {
  let count = 0
  let crashed = false
  const dirty = new Set<string>()
  const crash = () => {
    crashed = true
    for (const path of dirty) {
      try {
        truncateSync(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
      }
    }
  }
  const guard = <A, R>(
    operation: string,
    path: string,
    effect: Effect.Effect<A, PlatformError.PlatformError, R>,
    torn: Effect.Effect<unknown, PlatformError.PlatformError> = Effect.void
  ): Effect.Effect<A, PlatformError.PlatformError, R> =>
    Effect.suspend((): Effect.Effect<A, PlatformError.PlatformError, R> => {
      if (crashed) return Effect.fail(errno("EIO", path))
      if (fault.when?.(operation, path) === false) return effect
      const nth = count++
      // What the kernel has begun it ends, also for a process that is killed meanwhile.
      if (fault.lasts === true ? nth < fault.at : nth !== fault.at) return Effect.uninterruptible(effect)
      if (fault.how !== "crash") return Effect.fail(errno(fault.how, path))
      return Effect.andThen(Effect.andThen(torn, Effect.sync(crash)), Effect.fail(errno("EIO", path)))
    })
  const moved = (from: string, to: string) => {
    for (const path of [...dirty])
      if (path === from || path.startsWith(`${from}/`)) {
        dirty.delete(path)
        dirty.add(to + path.slice(from.length))
      }
  }
  const layer = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) =>
      FileSystem.FileSystem.of({
        ...real,
        makeDirectory: (path, options) => guard("mkdir", path, real.makeDirectory(path, options)),
        remove: (path, options) => guard("remove", path, real.remove(path, options)),
        link: (from, to) => guard("link", to, real.link(from, to)),
        rename: (from, to) =>
          guard(
            "rename",
            to,
            Effect.tap(real.rename(from, to), () => Effect.sync(() => moved(from, to)))
          ),
        writeFileString: (path, data, options) =>
          guard(
            "write",
            path,
            Effect.tap(real.writeFileString(path, data, options), () => Effect.sync(() => dirty.add(path)))
          ),
        open: (path, options) => {
          const writes = options?.flag !== undefined && options.flag !== "r"
          const wrap = (file: FileSystem.File): FileSystem.File => {
            const write = (buffer: Uint8Array) =>
              Effect.tap(file.writeAll(buffer), () => Effect.sync(() => dirty.add(path)))
            return Object.create(file, {
              writeAll: {
                value: (buffer: Uint8Array) =>
                  guard("write", path, write(buffer), write(buffer.subarray(0, buffer.length >> 1)))
              },
              sync: {
                get: () =>
                  guard(
                    "sync",
                    path,
                    Effect.tap(file.sync, () => Effect.sync(() => dirty.delete(path)))
                  )
              }
            })
          }
          const opened = Effect.map(real.open(path, options), wrap)
          return writes ? guard("open", path, opened) : opened
        }
      })
    )
  ).pipe(Layer.provide(NodeFileSystem.layer))
  return { layer, count: () => count }
}
