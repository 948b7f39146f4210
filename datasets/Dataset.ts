/**
 * What a description of a dataset says: where it comes from, under which licence, its files and the rows in them.
 *
 * Not a loader and not a download: nodes read the files, `source` (src/dag) takes a location and a digest from here,
 * and the store fetches what is at an address. Each sample that ships stands beside the originals it imitates, with the
 * same row schemas, so that a recipe swaps one for the other.
 */
import { isAbsolute, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import type { GroupRule } from "../src/text/Group.ts"
import made from "./sample/files.json" with { type: "json" }

/** One file of a dataset. `Row` is a raw row, as it stands in the file; `never` for archives. */
export interface DataFile<out Row = unknown> {
  /** Relative to the dataset's folder, with forward slashes. */
  readonly path: string
  readonly about: string
  readonly format: "json-array" | "json-lines" | "json" | "zip"
  /** Schema of a raw row of a `json-array` or of `json-lines`; dirty rows fail it, that is what it is for. */
  readonly row?: Schema.Codec<Row, any>
  /**
   * Which rows are parts of one conversation, so that no split tears them apart: for the reader's (or
   * `tokenizePictured`'s) parameter of this name. Rows about one image are kept together without it.
   */
  readonly group?: GroupRule
  /** Folder inside a zip before every name, for example `train2017/`; empty or absent when entries are bare. */
  readonly folder?: string
  /** Where the original can be fetched; the sample has none. */
  readonly url?: string
  /** Exact size, or undefined where it was never verified. */
  readonly bytes: number | undefined
  /** Hexadecimal, or undefined where it was never verified: a download of that file cannot be checked yet. */
  readonly sha256: string | undefined
  /** The size as the host shows it, where the exact one is unknown. */
  readonly listedSize?: string
}

export interface Dataset<Files extends { readonly [key: string]: DataFile<any> }> {
  readonly name: string
  readonly title: string
  /** The page that describes the original. */
  readonly origin: string
  /** SPDX identifier where there is one. */
  readonly licence: string
  readonly about: string
  /** Rows of the main file, dirty ones included; undefined where unknown. */
  readonly rows: number | undefined
  /** The folder of the files that ship; undefined for data that the user fetches. */
  readonly folder: URL | undefined
  readonly files: Files
}

/** The raw row type of a file. */
export type RowOf<F> = F extends { readonly row: Schema.Codec<infer Row, any> } ? Row : never

/** A dataset that does not ship was asked for its files without a folder. */
export class DatasetNotHere extends Schema.TaggedError<DatasetNotHere>()("DatasetNotHere", {
  dataset: Schema.String,
  path: Schema.String,
  hint: Schema.String
}) {}

/** Declares a dataset; keeps the literal file keys and row types. */
export const dataset = <const Files extends { readonly [key: string]: DataFile<any> }>(
  description: Dataset<Files>
): Dataset<Files> => description

/** A location and its digest, ready for `source(artifact, ...)`. */
export interface Located {
  readonly id: string
  readonly location: string
  readonly about: string
  readonly sha256?: string
  /** Of an address: its size, where that is known. */
  readonly bytes?: number
  /** Of a folder address: the names below it. */
  readonly files?: ReadonlyArray<string>
}

/**
 * Where a file lies: in the dataset's own folder, or in `folder` on the user's disk.
 *
 * Throws `DatasetNotHere` when the dataset does not ship and no folder is given.
 *
 * @example
 * source(ShareGptFile, locate(shareGptSample, "rows"))
 * source(ShareGptFile, locate(shareGpt, "part1", "/data/sharegpt"))
 */
export const locate = <Files extends { readonly [key: string]: DataFile<any> }, K extends keyof Files & string>(
  from: Dataset<Files>,
  key: K,
  folder?: string
): Located => {
  const file: DataFile = from.files[key]!
  const root = folder ?? (from.folder === undefined ? undefined : fileURLToPath(from.folder))
  if (root === undefined) {
    throw new DatasetNotHere({
      dataset: from.name,
      path: file.path,
      hint: `Fetch it from ${file.url ?? from.origin} and give its folder: locate(${from.name}, "${key}", "/path/to/it"); or let the run fetch it: remote(${from.name}, "${key}").`
    })
  }
  return {
    id: `${from.name}-${key}`,
    location: isAbsolute(root) ? join(root, file.path) : join(process.cwd(), root, file.path),
    about: file.about,
    ...(file.sha256 === undefined ? {} : { sha256: file.sha256 })
  }
}

/**
 * Where the original of a file is: an address that the first run which needs it fetches. Several keys give one source,
 * a folder with these files; they must lie in one folder there.
 *
 * Throws `DatasetNotHere` for a file that has no address.
 *
 * @example
 * source(CaptionFile, remote(cc595k, "chat"))
 * source(ShareGptFile, remote(shareGpt, ["part1", "part2"]))
 */
export const remote = <Files extends { readonly [key: string]: DataFile<any> }, K extends keyof Files & string>(
  from: Dataset<Files>,
  key: K | ReadonlyArray<K>
): Located => {
  const keys = typeof key === "string" ? [key] : key
  const found = keys.map((one) => {
    const file: DataFile = from.files[one]!
    if (file.url !== undefined) return { ...file, url: file.url }
    const hint = `It ships, or has no address: locate(${from.name}, "${one}") finds it.`
    throw new DatasetNotHere({ dataset: from.name, path: file.path, hint })
  })
  const [first] = found
  if (typeof key === "string" && first !== undefined)
    return {
      id: `${from.name}-${key}`,
      location: first.url,
      about: first.about,
      ...(first.bytes === undefined ? {} : { bytes: first.bytes }),
      ...(first.sha256 === undefined ? {} : { sha256: first.sha256 })
    }
  const folders = new Set(found.map(({ path, url }) => (url.endsWith(`/${path}`) ? url.slice(0, -path.length) : url)))
  const [folder] = folders
  if (folder === undefined || folders.size > 1 || !folder.endsWith("/"))
    throw new DatasetNotHere({
      dataset: from.name,
      path: found.map(({ path }) => path).join(", "),
      hint: "These files do not lie in one folder there: give each a source of its own."
    })
  return {
    id: from.name,
    location: folder,
    about: found.map(({ about }) => about).join("; "),
    files: found.map(({ path }) => path)
  }
}

/** The folder of the sample that ships. */
export const sampleFolder = new URL("./sample/", import.meta.url)

/** Size and digest of a file of the sample, as the generator recorded them in `sample/files.json`. */
export const sampleFile = (path: keyof typeof made): { readonly bytes: number; readonly sha256: string } => made[path]
