/**
 * A disk whose power is cut: replays a log of file operations up to one of them, and gives what a disk may then hold.
 *
 * Not a real file system. What POSIX promises is modelled: a file's bytes are durable after its fsync, a name after the
 * fsync of its folder, and until then a disk may have kept them or not, in any order. `Survival` says which disk it is.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Random } from "../fuzz/Random.ts"

/** One operation of the shim's log; `at` is an offset (write) or a length (truncate). */
export interface Operation {
  readonly name: string
  readonly at: number
  readonly path: string
  readonly other: string
  readonly bytes: Buffer
}

/** Reads the shim's log: a line with lengths, then path, other path and bytes. */
export const readLog = (path: string): ReadonlyArray<Operation> => {
  const log = readFileSync(path)
  const out: Array<Operation> = []
  for (let from = 0; from < log.length; ) {
    const end = log.indexOf(10, from)
    const [name, at, first, second, length] = log.toString("latin1", from, end).split(" ")
    const take = (size: number): Buffer => {
      const piece = log.subarray(from, from + size)
      from += size
      return piece
    }
    from = end + 1
    const place = take(Number(first)).toString()
    const other = take(Number(second)).toString()
    out.push({ name: name!, at: Number(at), path: place, other, bytes: take(Number(length)) })
  }
  return out
}

/**
 * What is left of what was not synced. `synced`: nothing. `names`: all names, of the bytes zeros. `empty`: all names,
 * no bytes. `torn`: each name or not, of the bytes all, none, a part or zeros, by chance.
 */
export const survivals = ["synced", "names", "empty", "torn"] as const
export type Survival = (typeof survivals)[number]

interface File {
  readonly kind: "file"
  bytes: Buffer
  durable: Buffer
}
interface Folder {
  readonly kind: "folder"
  readonly names: Map<string, Node>
  durable: Map<string, Node>
  /** Names changed since the last fsync. */
  pending: Array<{ readonly name: string; readonly node: Node | undefined }>
}
type Node = File | Folder

const newFolder = (): Folder => ({ kind: "folder", names: new Map(), durable: new Map(), pending: [] })
const newFile = (bytes = Buffer.alloc(0)): File => ({ kind: "file", bytes, durable: bytes })

/** A folder of the real disk, all of it durable. */
const load = (path: string): Folder => {
  const folder = newFolder()
  if (!existsSync(path)) return folder
  for (const one of readdirSync(path, { withFileTypes: true })) {
    const at = join(path, one.name)
    folder.names.set(one.name, one.isDirectory() ? load(at) : newFile(readFileSync(at)))
  }
  folder.durable = new Map(folder.names)
  return folder
}

/** Replays the first `count` operations below `root` on what lay there before. */
const replay = (operations: ReadonlyArray<Operation>, root: string, before: string, count: number): Folder => {
  const top = load(before)
  const find = (
    path: string
  ): { readonly parent: Folder; readonly name: string; readonly node: Node | undefined } | undefined => {
    const parts = path
      .slice(root.length)
      .split("/")
      .filter((part) => part !== "")
    const name = parts.pop()
    if (name === undefined) return undefined // the root itself
    let parent = top
    for (const part of parts) {
      const next = parent.names.get(part)
      // Through a file that was opened before its folder was renamed or removed: no name leads to it any more.
      if (next?.kind !== "folder") return undefined
      parent = next
    }
    return { parent, name, node: parent.names.get(name) }
  }
  const put = (parent: Folder, name: string, node: Node | undefined): void => {
    if (node === undefined) parent.names.delete(name)
    else parent.names.set(name, node)
    parent.pending.push({ name, node })
  }
  for (const { at, bytes, name: operation, other, path } of operations.slice(0, count)) {
    const found = find(path)
    if (found === undefined) {
      if (operation === "fsync" && path.length <= root.length + 1) sync(top)
      continue
    }
    const { name, node, parent } = found
    if (operation === "open" || operation === "empty") {
      if (node === undefined) put(parent, name, newFile())
      else if (operation === "empty") (node as File).bytes = Buffer.alloc(0)
    } else if (operation === "mkdir") put(parent, name, newFolder())
    else if (operation === "unlink" || operation === "rmdir") put(parent, name, undefined)
    else if (operation === "fsync") sync(node)
    else if (operation === "rename" || operation === "link") {
      const to = find(other)!
      put(to.parent, to.name, node!)
      if (operation === "rename") put(parent, name, undefined)
    } else if (node?.kind === "file") {
      // A file that was removed while it was open changes nothing that a name leads to.
      const size = operation === "truncate" ? at : Math.max(node.bytes.length, at + bytes.length)
      const next = Buffer.alloc(size)
      node.bytes.copy(next, 0, 0, Math.min(node.bytes.length, size))
      bytes.copy(next, at)
      node.bytes = next
    }
  }
  return top
}

const sync = (node: Node | undefined): void => {
  if (node?.kind === "file") node.durable = node.bytes
  if (node?.kind !== "folder") return
  node.durable = new Map(node.names)
  node.pending = []
}

const bytesOf = (file: File, survival: Survival, random: Random): Buffer => {
  if (file.durable === file.bytes || survival === "synced") return file.durable
  const zeros = Buffer.alloc(file.bytes.length)
  file.durable.copy(zeros, 0, 0, Math.min(file.durable.length, zeros.length))
  if (survival === "names") return zeros
  if (survival === "empty") return Buffer.alloc(0)
  const part = file.bytes.subarray(0, random.int(file.bytes.length + 1))
  return random.pick([file.durable, file.bytes, part, zeros, Buffer.alloc(0)])
}

const write = (folder: Folder, path: string, survival: Survival, random: Random): void => {
  mkdirSync(path, { recursive: true })
  const names = survival === "synced" || survival === "torn" ? new Map(folder.durable) : folder.names
  if (survival === "torn")
    for (const { name, node } of folder.pending) {
      if (random.chance(0.5)) continue
      if (node === undefined) names.delete(name)
      else names.set(name, node)
    }
  for (const [name, node] of names) {
    if (node.kind === "folder") write(node, join(path, name), survival, random)
    else writeFileSync(join(path, name), bytesOf(node, survival, random))
  }
}

/** Writes what a disk holds, after power was cut behind operation `count`, to the folder `to`. */
export const cutPower = (
  log: { readonly operations: ReadonlyArray<Operation>; readonly root: string; readonly before: string },
  count: number,
  survival: Survival,
  random: Random,
  to: string
): void => write(replay(log.operations, log.root, log.before, count), to, survival, random)
