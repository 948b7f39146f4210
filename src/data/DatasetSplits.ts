/**
 * Which split each file of a folder belongs to, by the names that Hugging Face `datasets` goes by.
 *
 * Not a reader: names in, names out. Source: `datasets` 5, `data_files.py` (`_get_data_files_patterns`). The first rule
 * that fits any file is the folder's, in this order:
 *
 * 1. `data/NAME-00000-of-00001.EXT`: a split NAME of any name.
 * 2. A folder called after a keyword (`train/`, `my_val/`, `test-v2/`).
 * 3. A file called after one (`train.jsonl`, `my-dev.json`, `test_0.parquet`).
 * 4. Everything is `train`.
 *
 * Keywords: train, training; validation, valid, dev, val; test, testing, eval, evaluation; in lower case, between
 * separators. A file may belong to two splits there (`train_test.jsonl`), and so it does here. Hidden files, `__`
 * folders and the few JSON files that describe a data set are none of its data. Pure. Names are relative, with forward
 * slashes.
 */

/**
 * A split and its files in name order. `bases` are the folders that hold it whole: more than one are several data sets.
 */
export interface Split {
  readonly name: string
  readonly files: ReadonlyArray<string>
  readonly bases: ReadonlyArray<string>
}

/**
 * What a folder's names say. `named`: a rule other than the last one fits. `left` are files that belong to no split.
 */
export interface Splits {
  readonly splits: ReadonlyArray<Split>
  readonly named: boolean
  readonly left: ReadonlyArray<string>
}

const KEYWORDS: Readonly<Record<string, ReadonlyArray<string>>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "dev", "val"],
  test: ["test", "testing", "eval", "evaluation"]
}
const SEPARATOR = "[-._ 0-9]"
const SHARDED = /^data\/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*$/
const DESCRIPTIONS = new Set([
  "README.md",
  "config.json",
  "dataset_info.json",
  "dataset_infos.json",
  "dataset_dict.json"
])

const keywordsOf = (split: string): string => `(?:${KEYWORDS[split]!.join("|")})`
const FOLDERS = Object.keys(KEYWORDS).map(
  (split) => [split, new RegExp(`^(?:.*${SEPARATOR})?${keywordsOf(split)}(?:${SEPARATOR}.*)?$`)] as const
)
/** A file's name has a separator behind the keyword, if it is that of its extension. */
const FILES = Object.keys(KEYWORDS).map(
  (split) => [split, new RegExp(`^(?:.*${SEPARATOR})?${keywordsOf(split)}${SEPARATOR}.*$`)] as const
)

const folderOf = (file: string): string => file.slice(0, Math.max(0, file.lastIndexOf("/")))
const nameOf = (file: string): string => file.slice(file.lastIndexOf("/") + 1)

/** The split names and bases of one file under a rule. */
type Rule = (file: string) => ReadonlyArray<readonly [name: string, base: string]>

const sharded: Rule = (file) => {
  const name = SHARDED.exec(file)?.[1]
  return name === undefined ? [] : [[name, "data"]]
}

const byFolder: Rule = (file) => {
  const parts = file.split("/").slice(0, -1)
  return FOLDERS.flatMap(([split, pattern]) => {
    const at = parts.findIndex((part) => pattern.test(part))
    return at < 0 ? [] : [[split, parts.slice(0, at).join("/")] as const]
  })
}

const byName: Rule = (file) =>
  FILES.flatMap(([split, pattern]) => (pattern.test(nameOf(file)) ? [[split, folderOf(file)] as const] : []))

const all: Rule = (file) => [["train", folderOf(file)]]

/**
 * Whether a file can be data at all: not hidden, in no hidden or `__` folder, and no description of a data set.
 *
 * @example
 * isData("data/.cache/a.json") // false
 */
export const isData = (file: string): boolean => {
  const parts = file.split("/")
  if (parts.some((part) => part.startsWith("."))) return false
  return !parts.slice(0, -1).some((part) => part.startsWith("__")) && !DESCRIPTIONS.has(nameOf(file))
}

const order = (name: string): string => {
  const at = Object.keys(KEYWORDS).indexOf(name)
  return at < 0 ? `9${name}` : `${at}`
}

/**
 * The splits of a folder's files, in the order train, validation, test, then others by name.
 *
 * @example
 * ```ts
 * splitsOf(["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]).splits.map(({ name }) => name)
 * // ["train", "test"]
 * ```
 */
export const splitsOf = (files: ReadonlyArray<string>): Splits => {
  const data = files.filter(isData).sort()
  for (const rule of [sharded, byFolder, byName, all]) {
    const found = new Map<string, { readonly files: Array<string>; readonly bases: Set<string> }>()
    const left: Array<string> = []
    for (const file of data) {
      const belongs = rule(file)
      if (belongs.length === 0) left.push(file)
      for (const [name, base] of belongs) {
        let split = found.get(name)
        if (split === undefined) found.set(name, (split = { files: [], bases: new Set() }))
        split.files.push(file)
        split.bases.add(base)
      }
    }
    if (found.size === 0) continue
    const splits = [...found].map(([name, { bases, files }]) => ({ name, files, bases: [...bases] }))
    return { splits: splits.sort((a, b) => (order(a.name) < order(b.name) ? -1 : 1)), named: rule !== all, left }
  }
  return { splits: [], named: false, left: [] }
}
