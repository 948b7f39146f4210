/**
 * Where everything lies in a store's folder. Pure names; nothing is read or written here.
 *
 * | path under the root                     | what                                                                     |
 * |-----------------------------------------|--------------------------------------------------------------------------|
 * | `format.json` +                         | version of this layout                                                   |
 * | `entries/<kk>/<key>/<code>/`            | one finished node, immutable; `kk` is the key's first two digits         |
 * | `.../manifest.json` +                   | written last: an entry that has one is whole                             |
 * | `.../ports/<port>/NNNNN.<ext>`          | shards of a rows port (none for a transient port)                        |
 * | `.../ports/<port>/<files>`              | files of a tree port                                                     |
 * | `.../ports/<port>/value.json`           | a value port, for people and tools; readers take the manifest's copy     |
 * | `.../refused/NNNNN.jsonl`               | refused rows of shard NNNNN                                              |
 * | `.../shards/NNNNN.json` +               | shard records: one damaged shard, or the manifest, is made again by them |
 * | `.../checkpoints/step-NNNNNNNNN/` +     | what a fold left; `gc` removes those of finished nodes                   |
 * | `.../origins.json` +                    | other codes whose unfinished work was taken over (`--allow-stale-code`)       |
 * | `work/<key>.<code>/`                    | the same inner layout, unfinished, invisible to readers                  |
 * | `.../begun.json` +                      | the definition's file; whether all that the work read was checked        |
 * | `.../forced`                            | begun by `--force`: the next `--force` goes on with it                   |
 * | `locks/<key>.<code>.lock`               | who works on it: process, start time, token (32 digits of each name)     |
 * | `locks/gc.lock`                         | held while a collection removes, and while a run writes its first record |
 * | `aliases/<key>/<code>.json` +           | "this code may use the entry of that code"                               |
 * | `locks/gc.by+...`, `gc.reserve`          | the same on a full disk: a process by its name, and an empty file that can become one |
 * | `damaged/<key>.json` +                  | "files of this key were found damaged", see `Suspects.ts`                |
 * | `instances/<pipeline>/<instance>.json` +| latest key, code and key parts of an instance, for plans and `gc`        |
 * | `pins/<name>.json` +                    | what `gc` keeps although no pipeline reaches it                          |
 * | `runs/<id>/run.json`, `events.jsonl`    | a run's record                                                           |
 * | `runs/<id>/run.lock`                    | held by the run while it lasts                                           |
 * | `runs/<id>/report.html`, `tensorboard/` | the run as a page, and its training figures                              |
 * | `downloads/`                            | fetched sources, see `remote/Downloads.ts`                               |
 * | `uses/<pipeline>/<instance>.json` +     | the download that a source was last, for `gc`                            |
 * | `views/<id>/`                           | links to the files of a source's folder that are the source's            |
 * | `sources/<id>.json` +                   | remembered digests of the files of one large folder                      |
 * | `sources.json` +, `code.json` +         | remembered digests; losing them costs time only                          |
 *
 * `+`: carries a checksum of itself (`Checksum.ts`; of a checkpoint its `checkpoint.json`). A manifest is read only in
 * the folder of its key and code, and lists only paths that stay inside, none of them through a symbolic link.
 *
 * Names that start with a dot or end in `.tmp` are on their way in or out and mean nothing to readers.
 */
import { basename, dirname, join } from "node:path"

/** Version of this layout; a store of another version is refused. */
export const storeVersion = 1

/** Digits of a shard's number in file names; more shards than that widen the name, order is by number. */
const pad = (index: number): string => String(index).padStart(5, "0")

/** File-name form of a name that may hold slashes (`instruct/images`); reversible. */
export const encodeName = (name: string): string =>
  encodeURIComponent(name).replace(/^\./, "%2E").replaceAll("*", "%2A")

/**
 * The name that `encodeName` was given. A file that somebody else put there may have a name that it never gives: that.
 */
export const decodeName = (name: string): string => {
  try {
    return decodeURIComponent(name)
  } catch {
    return name // URIError: a per cent sign without two digits
  }
}

/** Names inside an entry or a work folder. */
export const shardFile = (index: number, extension: string): string => `${pad(index)}.${extension}`
export const portFolder = (folder: string, port: string): string => join(folder, "ports", encodeName(port))
export const valueFile = (portFolder: string): string => join(portFolder, "value.json")
export const refusedFolder = (folder: string): string => join(folder, "refused")
export const refusedFile = (folder: string, index: number): string => join(folder, "refused", `${pad(index)}.jsonl`)
export const recordsFolder = (folder: string): string => join(folder, "shards")
export const recordFile = (folder: string, index: number): string => join(folder, "shards", `${pad(index)}.json`)
export const manifestFile = (folder: string): string => join(folder, "manifest.json")
export const originsFile = (folder: string): string => join(folder, "origins.json")
export const begunFile = (folder: string): string => join(folder, "begun.json")
export const forcedFile = (folder: string): string => join(folder, "forced")
export const checkpointsFolder = (folder: string): string => join(folder, "checkpoints")
export const stepName = (step: number): string => `step-${String(step).padStart(9, "0")}`

const hex = /^[0-9a-f]{64}$/

/** Key and code that the name of an entry's or a work folder is made of; undefined for any other folder. */
export const placeOf = (folder: string): { readonly key: string; readonly code: string } | undefined => {
  const name = basename(folder)
  const [key, code, ...more] = hex.test(name) ? [basename(dirname(folder)), name] : name.split(".")
  if (key === undefined || code === undefined || more.length > 0 || !hex.test(key) || !hex.test(code)) return undefined
  return { key, code }
}

/** The step of a checkpoint folder's name, or undefined for anything else. */
export const stepOf = (name: string): number | undefined => {
  const match = /^step-(\d{9,})$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

/** Names under a store's root. */
export const layoutOf = (root: string) => ({
  root,
  format: join(root, "format.json"),
  entries: join(root, "entries"),
  keyFolder: (key: string) => join(root, "entries", key.slice(0, 2), key),
  entry: (key: string, code: string) => join(root, "entries", key.slice(0, 2), key, code),
  works: join(root, "work"),
  work: (key: string, code: string) => join(root, "work", `${key}.${code}`),
  locks: join(root, "locks"),
  lock: (key: string, code: string) => join(root, "locks", `${key.slice(0, 32)}.${code.slice(0, 32)}.lock`),
  gcLock: join(root, "locks", "gc.lock"),
  gcReserve: join(root, "gc.reserve"),
  aliases: join(root, "aliases"),
  aliasFolder: (key: string) => join(root, "aliases", key),
  alias: (key: string, code: string) => join(root, "aliases", key, `${code}.json`),
  damages: join(root, "damaged"),
  damage: (key: string) => join(root, "damaged", `${key}.json`),
  instances: join(root, "instances"),
  pipeline: (pipeline: string) => join(root, "instances", encodeName(pipeline)),
  instance: (pipeline: string, instance: string) =>
    join(root, "instances", encodeName(pipeline), `${encodeName(instance)}.json`),
  pins: join(root, "pins"),
  pin: (name: string) => join(root, "pins", `${encodeName(name)}.json`),
  runs: join(root, "runs"),
  run: (id: string) => join(root, "runs", encodeName(id)),
  downloads: join(root, "downloads"),
  uses: join(root, "uses"),
  use: (pipeline: string, instance: string) => join(root, "uses", encodeName(pipeline), `${encodeName(instance)}.json`),
  sources: join(root, "sources.json"),
  sourceLists: join(root, "sources"),
  views: join(root, "views"),
  code: join(root, "code.json")
})
export type Layout = ReturnType<typeof layoutOf>
