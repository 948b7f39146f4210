/**
 * A `FileSystem` that records every change below a folder, and the states that a power cut may leave of it.
 *
 * Not a fault injector (`faulty` in `Support.ts`): everything succeeds, and the disk is simulated afterwards.
 * Guaranteed, as on ext4: bytes that were fsynced, and names (created, renamed, removed, linked) whose folder was
 * fsynced since. Of anything else each single change is kept or lost by itself: a rename may be seen in one of its two
 * folders only, a removed folder may be there with half of its files, unsynced bytes may be missing, torn or zero.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"

type Change =
  | { readonly op: "open"; readonly path: string; readonly id: number; readonly flag: string }
  | { readonly op: "write"; readonly id: number; readonly at: number | undefined; readonly data: Buffer }
  | { readonly op: "truncate"; readonly id: number; readonly size: number }
  | { readonly op: "sync"; readonly id: number }
  | { readonly op: "mkdir" | "remove"; readonly path: string }
  | { readonly op: "rename" | "link"; readonly path: string; readonly to: string }
  | { readonly op: "symlink"; readonly path: string; readonly target: string }
  /** Something was told to be durable here. */
  | { readonly op: "told"; readonly what: string }

interface Inode {
  readonly kind: "folder" | "file" | { readonly link: string }
  data: Buffer
  durable: Buffer
  readonly names: Map<string, Inode>
  kept: Map<string, Inode>
  /** Changes of names since the folder's last fsync. */
  pending: Array<readonly [name: string, inode: Inode | undefined]>
}

const EMPTY: Buffer = Buffer.alloc(0)
const inode = (kind: Inode["kind"], data: Buffer = EMPTY): Inode => ({
  kind,
  data,
  durable: data,
  names: new Map(),
  kept: new Map(),
  pending: []
})

/** What is on disk now, all of it durable. */
const scan = (path: string): Inode => {
  const folder = inode("folder")
  for (const one of readdirSync(path, { withFileTypes: true })) {
    const at = join(path, one.name)
    const node = one.isDirectory()
      ? scan(at)
      : one.isSymbolicLink()
        ? inode({ link: readlinkSync(at) })
        : inode("file", readFileSync(at))
    folder.names.set(one.name, node)
  }
  folder.kept = new Map(folder.names)
  return folder
}

const set = (folder: Inode, name: string, to: Inode | undefined): void => {
  if (to === undefined) folder.names.delete(name)
  else folder.names.set(name, to)
  folder.pending.push([name, to])
}

const empty = (folder: Inode): void => {
  for (const [name, child] of [...folder.names]) {
    empty(child)
    set(folder, name, undefined)
  }
}

/** The disk after the first `upto` changes, with what of it is durable. */
const simulate = (start: Inode, changes: ReadonlyArray<Change>, upto: number): Inode => {
  const copies = new Map<Inode, Inode>()
  const copy = (of: Inode): Inode => {
    const made = { ...inode(of.kind, of.data), names: new Map([...of.names].map(([name, one]) => [name, copy(one)])) }
    made.kept = new Map(made.names)
    copies.set(of, made)
    return made
  }
  const root = copy(start)
  const open = new Map<number, Inode>()
  const find = (path: string): { readonly folder: Inode; readonly name: string; readonly node: Inode | undefined } => {
    const parts = path.split("/").filter((part) => part !== "")
    let folder = root
    for (const part of parts.slice(0, -1)) {
      const next = folder.names.get(part)
      if (next === undefined) throw new Error(`${path}: no folder ${part} in the simulated disk`)
      folder = next
    }
    const name = parts.at(-1) ?? ""
    return { folder, name, node: name === "" ? root : folder.names.get(name) }
  }
  for (const change of changes.slice(0, upto)) {
    switch (change.op) {
      case "open": {
        const { folder, name, node } = find(change.path)
        const file = node ?? inode("file")
        if (node === undefined) set(folder, name, file)
        else if (change.flag.startsWith("w")) file.data = EMPTY
        open.set(change.id, file)
        break
      }
      case "write": {
        const file = open.get(change.id)!
        const at = change.at ?? file.data.length
        const end = at + change.data.length
        const next = Buffer.alloc(Math.max(end, file.data.length))
        file.data.copy(next)
        change.data.copy(next, at)
        file.data = next
        break
      }
      case "truncate": {
        const file = open.get(change.id)!
        file.data = file.data.subarray(0, change.size)
        break
      }
      case "sync": {
        const node = open.get(change.id)!
        node.durable = node.data
        node.kept = new Map(node.names)
        node.pending = []
        break
      }
      case "mkdir": {
        const { folder, name, node } = find(change.path)
        if (node === undefined) set(folder, name, inode("folder"))
        break
      }
      case "remove": {
        const { folder, name, node } = find(change.path)
        if (node === undefined) break
        empty(node)
        set(folder, name, undefined)
        break
      }
      case "rename":
      case "link": {
        const { folder, name, node } = find(change.path)
        const to = find(change.to)
        set(to.folder, to.name, node)
        if (change.op === "rename") set(folder, name, undefined)
        break
      }
      case "symlink": {
        const { folder, name } = find(change.path)
        set(folder, name, inode({ link: change.target }))
      }
    }
  }
  return root
}

/** A number below `n`, the same for the same seed. */
export type Dice = (n: number) => number
export const dice = (seed: number): Dice => {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % n
  }
}

/** How much of what was not durable is left: nothing, every name without its unsynced bytes, or anything. */
export const kinds = ["nothing", "names", "anything", "anything"] as const
type Kind = (typeof kinds)[number]

const bytesLeft = ({ data, durable }: Inode, kind: Kind, pick: Dice): Buffer => {
  if (data.equals(durable)) return data
  if (kind === "nothing") return durable
  const isLonger = data.length >= durable.length && data.subarray(0, durable.length).equals(durable)
  const sure = isLonger ? durable.length : 0
  if (kind === "names") return isLonger ? durable : EMPTY
  const zeros = Buffer.concat([data.subarray(0, sure), Buffer.alloc(data.length - sure)])
  return [durable, data.subarray(0, sure), data.subarray(0, sure + pick(data.length - sure + 1)), zeros, data][pick(5)]!
}

const dump = (folder: Inode, path: string, kind: Kind, pick: Dice): void => {
  mkdirSync(path, { recursive: true })
  const names = new Map(kind === "names" ? folder.names : folder.kept)
  if (kind === "anything")
    for (const [name, to] of folder.pending) {
      if (pick(2) === 0) continue
      if (to === undefined) names.delete(name)
      else names.set(name, to)
    }
  for (const [name, one] of names) {
    const at = join(path, name)
    if (one.kind === "folder") dump(one, at, kind, pick)
    else if (one.kind === "file") writeFileSync(at, bytesLeft(one, kind, pick))
    else symlinkSync(one.kind.link, at)
  }
}

/** Records what is done below `root` from now on. */
export const recording = (root: string) => {
  mkdirSync(root, { recursive: true })
  const start = scan(root)
  const changes: Array<Change> = []
  let opened = 0
  const inside = (path: string): boolean => path === root || path.startsWith(`${root}/`)
  const below = (path: string): string => path.slice(root.length)
  const after = <A, E, R>(effect: Effect.Effect<A, E, R>, path: string, change: () => ReadonlyArray<Change>) =>
    inside(path) ? Effect.tap(effect, () => Effect.sync(() => void changes.push(...change()))) : effect
  const wholeFile = (path: string, data: string | Uint8Array, flag: string | undefined): ReadonlyArray<Change> => {
    const id = opened++
    return [
      { op: "open", path: below(path), id, flag: flag ?? "w" },
      { op: "write", id, at: undefined, data: Buffer.from(data as Uint8Array) }
    ]
  }
  const layer = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) => {
      const wrap = (file: FileSystem.File, id: number, flag: string): FileSystem.File => {
        let position = 0
        const wrote = (data: Uint8Array, bytes: number) => {
          const at = flag.startsWith("a") ? undefined : position
          changes.push({ op: "write", id, at, data: Buffer.from(data.subarray(0, bytes)) })
          position += bytes
        }
        const tapped = <A, E>(effect: Effect.Effect<A, E>, use: (a: A) => void) =>
          Effect.tap(effect, (a) => Effect.sync(() => use(a)))
        return Object.create(file, {
          writeAll: { value: (data: Uint8Array) => tapped(file.writeAll(data), () => wrote(data, data.length)) },
          write: { value: (data: Uint8Array) => tapped(file.write(data), (bytes) => wrote(data, Number(bytes))) },
          truncate: {
            value: (size = 0) => tapped(file.truncate(size), () => changes.push({ op: "truncate", id, size }))
          },
          sync: { get: () => tapped(file.sync, () => changes.push({ op: "sync", id })) }
        })
      }
      return FileSystem.FileSystem.of({
        ...real,
        open: (path, options) => {
          if (!inside(path)) return real.open(path, options)
          const id = opened++
          const flag = options?.flag ?? "r"
          return Effect.map(
            after(real.open(path, options), path, () => [{ op: "open", path: below(path), id, flag }]),
            (file) => wrap(file, id, flag)
          )
        },
        makeDirectory: (path, options) =>
          after(real.makeDirectory(path, options), path, () => {
            const made: Array<Change> = []
            for (let at = path; inside(at) && at !== root; at = dirname(at))
              made.unshift({ op: "mkdir", path: below(at) })
            return made
          }),
        remove: (path, options) => after(real.remove(path, options), path, () => [{ op: "remove", path: below(path) }]),
        rename: (from, to) =>
          after(real.rename(from, to), to, () => [{ op: "rename", path: below(from), to: below(to) }]),
        link: (from, to) => after(real.link(from, to), to, () => [{ op: "link", path: below(from), to: below(to) }]),
        symlink: (target, path) =>
          after(real.symlink(target, path), path, () => [{ op: "symlink", path: below(path), target }]),
        writeFile: (path, data, options) =>
          after(real.writeFile(path, data, options), path, () => wholeFile(path, data, options?.flag)),
        writeFileString: (path, data, options) =>
          after(real.writeFileString(path, data, options), path, () => wholeFile(path, data, options?.flag))
      })
    })
  ).pipe(Layer.provide(NodeFileSystem.layer))
  return {
    layer,
    /** Changes so far, fsyncs among them. */
    count: () => changes.length,
    syncs: () => changes.filter(({ op }) => op === "sync").length,
    /** Notes that `what` was told to be durable. */
    told: (what: string) => Effect.sync(() => void changes.push({ op: "told", what })),
    /** Writes what a cut after `upto` changes leaves to `folder`; gives what had been told by then. */
    cut: (upto: number, folder: string, kind: Kind, pick: Dice): ReadonlySet<string> => {
      dump(simulate(start, changes, upto), folder, kind, pick)
      return new Set(changes.slice(0, upto).flatMap((change) => (change.op === "told" ? [change.what] : [])))
    }
  }
}
export type Recording = ReturnType<typeof recording>
