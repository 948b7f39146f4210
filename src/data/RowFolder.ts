/**
 * The files of a folder that hold one split of a data set, in the order in which they are read.
 *
 * Not a reader. A folder may be parts of a data set (its card says which split each is of, or `DatasetSplits.ts`), what
 * `save_to_disk` of Hugging Face `datasets` leaves (one split, or several under `dataset_dict.json`), or a repository
 * in the hub's cache (its snapshot). Nothing is guessed: more than one split and no choice, rows that would be passed
 * over, files of two kinds are errors that name what was found.
 */
import { readdir, readFile, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { Effect, Schema } from "effect"
import { splitsOfCard } from "./DatasetCard.ts"
import { isData, type Splits, splitsOf } from "./DatasetSplits.ts"

/** A folder that does not say what its rows are, or holds rows that would be passed over. */
export class NoRowFiles extends Schema.TaggedError<NoRowFiles>()("NoRowFiles", {
  path: Schema.String,
  reason: Schema.Literals([
    "no-files",
    "mixed",
    "unread",
    "several-splits",
    "no-such-split",
    "several-folders",
    "damaged"
  ]),
  message: Schema.String,
  hint: Schema.String
}) {}

// Hidden files are no parts: macOS puts `._a.json` beside a.json, which is no JSON.
const JSON_PART = /^[^.].*\.(json|jsonl|ndjson)(\.gz|\.zst)?$/i
const PARQUET_PART = /^[^._].*\.parquet$/i
const ARROW_PART = /^[^._].*\.arrow$/i
/** What `datasets` keeps of its own computations beside a data set. */
const CACHE = /^cache-.*\.arrow$/
/** With `kindOf` undefined: rows that no reader here opens, such as `a.jsonl.xz`. */
const LIKE_A_PART =
  /^(?:[^.].*\.(json|jsonl|ndjson)|[^._].*\.(parquet|arrow))(\.(gz|gzip|zst|zstd|bz2|xz|lzma|lz4|br|zip|7z))?$/i

export type RowFileKind = "JSON" | "Parquet" | "Arrow"

/**
 * What a file holds by its name; undefined where the name does not say.
 *
 * @example
 * kindOf("rows.jsonl.gz") // "JSON"
 */
export const kindOf = (name: string): RowFileKind | undefined =>
  JSON_PART.test(name) ? "JSON" : PARQUET_PART.test(name) ? "Parquet" : ARROW_PART.test(name) ? "Arrow" : undefined

/** Folders below each other at most. */
const DEEPEST = 8

/**
 * Names of files that are, or seem to be, parts, relative to `root`; or of those whose last part is `wanted`.
 *
 * @example
 * await walk("llava") // ["data/train-00000-of-00001.parquet"]
 */
export const walk = async (
  root: string,
  wanted: (name: string) => boolean = (name) => LIKE_A_PART.test(name) && !CACHE.test(name),
  below = "",
  depth = 0
): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const name = below === "" ? entry.name : `${below}/${entry.name}`
    if (entry.name.startsWith(".")) continue
    // The hub's cache has links for files.
    const isFolder = entry.isSymbolicLink()
      ? await stat(join(root, name)).then(
          (info) => info.isDirectory(),
          () => false
        )
      : entry.isDirectory()
    if (!isFolder) {
      if (wanted(entry.name) && isData(name)) found.push(name)
    } else if (depth < DEEPEST && !entry.name.startsWith("__"))
      found.push(...(await walk(root, wanted, name, depth + 1)))
  }
  return found
}

const fail = (path: string, reason: NoRowFiles["reason"], message: string, hint: string) =>
  new NoRowFiles({ path, reason, message: `${path}: ${message}`, hint })

const list = (names: ReadonlyArray<string>): string =>
  names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ")

/** The split chosen by name, or the only one. */
const chosen = (path: string, names: ReadonlyArray<string>, split: string | undefined) => {
  if (split !== undefined && !names.includes(split))
    return fail(
      path,
      "no-such-split",
      `it has no split ${split}; it has ${list(names)}`,
      "Set `split` to one of these."
    )
  if (split === undefined && names.length > 1)
    return fail(
      path,
      "several-splits",
      `it has the splits ${list(names)}, and nothing says which is meant`,
      `Set the reader's \`split\`, to "${names.find((name) => name.startsWith("train")) ?? names[0]}" for instance, or give one file.`
    )
  return split ?? names[0]!
}

const readJsonFile = (folder: string, name: string) =>
  Effect.tryPromise({
    try: async (): Promise<Readonly<Record<string, unknown>>> => JSON.parse(await readFile(join(folder, name), "utf8")),
    catch: (cause) => fail(folder, "damaged", `${name} is no JSON: ${String(cause)}`, "Save the data set again.")
  })

const texts = (value: unknown): ReadonlyArray<string> | undefined =>
  Array.isArray(value) && value.every((one) => typeof one === "string") ? value : undefined

/** The files of one split that `save_to_disk` wrote, in the order that its state gives. */
const savedFiles = Effect.fnUntraced(function* (folder: string, split: string | undefined) {
  const state = yield* readJsonFile(folder, "state.json")
  const own = typeof state["_split"] === "string" ? state["_split"] : undefined
  if (split !== undefined && split !== own)
    return yield* fail(folder, "no-such-split", `it is saved as the split ${own ?? "of no name"}`, "Leave `split` out.")
  const files = Array.isArray(state["_data_files"])
    ? texts(state["_data_files"].map((file: { readonly filename?: unknown } | null) => file?.filename))
    : undefined
  if (files === undefined || files.some((name) => name !== basename(name) || !ARROW_PART.test(name)))
    return yield* fail(
      folder,
      "damaged",
      "state.json does not list Arrow files in `_data_files`",
      "Save the data set again."
    )
  const indices = state["_indices_data_files"] ?? state["_indices_files"]
  if (Array.isArray(indices) && indices.length > 0)
    return yield* fail(
      folder,
      "unread",
      "it is a selection of its rows (`_indices_data_files`), which is not read",
      "Call `flatten_indices()` before `save_to_disk`."
    )
  return files.map((name) => join(folder, name))
})

/** The snapshot of a repository in the hub's cache, or the folder itself. */
const snapshotOf = Effect.fnUntraced(function* (path: string, names: ReadonlyArray<string>) {
  if (!names.includes("snapshots") || !names.includes("blobs")) return path
  const found = yield* Effect.promise(() => readdir(join(path, "snapshots")).catch((): Array<string> => []))
  const main = yield* Effect.promise(() => readFile(join(path, "refs", "main"), "utf8").catch(() => ""))
  const one = found.includes(main.trim()) ? main.trim() : found.length === 1 ? found[0]! : undefined
  if (one !== undefined) return join(path, "snapshots", one)
  return yield* fail(
    path,
    "several-folders",
    `it is a repository of the hub's cache with ${found.length} snapshots and no refs/main among them`,
    "Give one of the folders in snapshots."
  )
})

const oneFile = (path: string) =>
  fail(path, "no-such-split", "it is one file, and files have no splits", "Leave `split` out, or give the folder.")

const leftOver = (path: string, split: string, part: string, left: ReadonlyArray<string>) =>
  fail(
    path,
    "unread",
    `beside the split ${split} (${part}) it holds ${list(left)}, of no split`,
    `Set \`split\` to "${split}" to read that alone, or move the other away.`
  )

/** Tables that `datasets` reads and nothing here does: they may be the split that is meant. */
const OTHER_TABLE = /\.(csv|tsv|txt|xml|xlsx?|orc|feather|pkl|pickle|npy|avro)(\.(gz|zst|bz2|xz|zip))?$/i

/**
 * Why a choice that nobody made would be a wrong one: capitals hide splits from the rules (`Test.jsonl`), or the split
 * for training is there in a format that is not read, and another would be taken for it.
 */
const doubtOf = Effect.fnUntraced(function* (path: string, files: ReadonlyArray<string>, { named, splits }: Splits) {
  const hidden = splitsOf(files.map((file) => file.toLowerCase()))
  if (!named && hidden.named && hidden.splits.length + hidden.left.length > 1)
    return yield* fail(
      path,
      "several-splits",
      `but for capitals its files would be of the splits ${list(hidden.splits.map(({ name }) => name))} (${list(files)})`,
      'Call them in lower case, give one file, or set `split` to "train" to read all of them.'
    )
  const name = splits[0]!.name
  if (name.startsWith("train")) return
  const tables = splitsOf(yield* Effect.promise(() => walk(path, (each) => OTHER_TABLE.test(each))))
  const train = tables.named ? tables.splits.find((one) => one.name.startsWith("train")) : undefined
  if (train === undefined) return
  return yield* fail(
    path,
    "unread",
    `its split ${train.name} is ${list(train.files)}, which is not read, and the split ${name} is beside it`,
    `Write it as JSON Lines or Parquet, or set \`split\` to "${name}" to read that.`
  )
})

/** The splits that the folder's card states, if it states any. */
const statedSplits = Effect.fnUntraced(function* (path: string, files: ReadonlyArray<string>) {
  const card = yield* Effect.promise(() => readFile(join(path, "README.md"), "utf8").catch(() => ""))
  return yield* Effect.try({
    try: () => splitsOfCard(card, files.filter(isData)),
    catch: (cause) =>
      fail(
        path,
        "several-splits",
        `README.md says which files are which split, and is not read: ${cause instanceof Error ? cause.message : String(cause)}`,
        "Give the files of one split: one file, or a folder that holds them alone."
      )
  })
})

/** The files of one split of parts. */
const partsIn = Effect.fnUntraced(function* (path: string, split: string | undefined) {
  const files = yield* Effect.tryPromise({
    try: () => walk(path),
    catch: (cause) => fail(path, "no-files", String(cause), "Check the folder and its permissions.")
  })
  const stated = yield* statedSplits(path, files)
  const { left, named, splits } = stated === undefined ? splitsOf(files) : { left: [], named: true, splits: stated }
  if (splits.length === 0)
    return yield* fail(
      path,
      "no-files",
      "it holds no JSON, Parquet or Arrow file",
      "Give such a file, or a folder that holds some."
    )
  const name = chosen(
    path,
    splits.map((one) => one.name),
    split
  )
  if (typeof name !== "string") return yield* name
  if (split === undefined && stated === undefined) yield* doubtOf(path, files, { left, named, splits })
  const { bases, files: parts } = splits.find((one) => one.name === name)!
  if (parts.length === 0)
    return yield* fail(
      path,
      "no-files",
      `its split ${name} has no JSON, Parquet or Arrow file`,
      "Write it as one of these."
    )
  if (split === undefined && left.length > 0) return yield* leftOver(path, name, parts[0]!, left)
  const nested = parts.find((part) => part.includes("/"))
  if (bases.length > 1)
    return yield* named
      ? fail(
          path,
          "several-folders",
          `${name} lies in ${list(bases.map((base) => base || "the folder itself"))}`,
          GIVE_ONE
        )
      : fail(path, "unread", `it holds ${nested} beside ${parts.find((part) => part !== nested)}`, GIVE_ONE)
  const odd = parts.find((part) => kindOf(basename(part)) === undefined)
  if (odd !== undefined)
    return yield* fail(
      path,
      "unread",
      `it holds ${odd}, and it would not be read`,
      "Parts end in .json, .jsonl, .ndjson (.gz or .zst behind it), .parquet or .arrow: unpack it, or move it away."
    )
  const kinds = Map.groupBy(parts, (part) => kindOf(basename(part)))
  if (kinds.size > 1)
    return yield* fail(
      path,
      "mixed",
      `it holds ${[...kinds].map(([kind, some]) => `${kind} files (${some[0]}, ...)`).join(" and ")}`,
      "Give one of them, or a folder that holds one kind: both may be the same rows twice."
    )
  return parts.map((part) => join(path, part))
})

const GIVE_ONE = "They may be several data sets: give one of the folders."

/**
 * The files of a data set's split, in order; `path` itself where it is no folder.
 *
 * Fails with `NoRowFiles` where nothing says which rows are meant, or some would be passed over.
 *
 * @example
 * ```ts
 * const files = yield* rowFilesOf("OpenHermes-2.5", "train")
 * ```
 */
export const rowFilesOf: (path: string, split?: string) => Effect.Effect<ReadonlyArray<string>, NoRowFiles> =
  Effect.fnUntraced(function* (given: string, split?: string) {
    const top = yield* Effect.promise(() => readdir(given).catch(() => undefined))
    if (top === undefined) {
      if (split === undefined) return [given]
      return yield* oneFile(given)
    }
    const path = yield* snapshotOf(given, top)
    const names = path === given ? top : yield* Effect.promise(() => readdir(path).catch((): Array<string> => []))
    if (names.includes("dataset_dict.json")) {
      const { splits } = yield* readJsonFile(path, "dataset_dict.json")
      const known = texts(splits)
      if (known === undefined || known.length === 0 || known.some((name) => name !== basename(name)))
        return yield* fail(path, "damaged", "dataset_dict.json lists no splits", "Save the data set again.")
      const name = chosen(path, known, split)
      return typeof name === "string" ? yield* savedFiles(join(path, name), undefined) : yield* name
    }
    if (names.includes("state.json") && names.includes("dataset_info.json")) return yield* savedFiles(path, split)
    return yield* partsIn(path, split)
  })

/**
 * The tar files of a folder that hold a webdataset's split, by name; undefined where `path` is no folder. Tar files of
 * one folder are several splits by the rule of all rows: `train-00000.tar` beside `val-00000.tar`.
 *
 * @example
 * ```ts
 * const files = yield* tarFilesOf("cc12m", isTarName, "train")
 * ```
 */
export const tarFilesOf = Effect.fnUntraced(function* (
  path: string,
  isTar: (name: string) => boolean,
  split?: string
): Effect.fn.Return<ReadonlyArray<string> | undefined, NoRowFiles> {
  const names = yield* Effect.promise(() => readdir(path).catch(() => undefined))
  if (names === undefined && split !== undefined) return yield* oneFile(path)
  const { left, splits } = splitsOf((names ?? []).filter(isTar))
  // Its reader reports what is no folder of tar files.
  if (splits.length === 0) return undefined
  const name = chosen(
    path,
    splits.map((one) => one.name),
    split
  )
  if (typeof name !== "string") return yield* name
  const { files } = splits.find((one) => one.name === name)!
  if (split === undefined && left.length > 0) return yield* leftOver(path, name, files[0]!, left)
  return files
})
