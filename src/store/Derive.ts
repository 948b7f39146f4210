/**
 * What a manifest says, derived again from what it lists.
 *
 * Not about bytes of files (`Verify.ts`) and not about the manifest's own checksum (`Checksum.ts`). Pure: each function
 * gives the first thing that does not hold, in words, or undefined. `misplaced` and `strayPath` are asked on every
 * read; `underived` on every read of a manifest without a checksum, and by `--verify` of all.
 */
import { canonical, digestOf } from "../dag/Canonical.ts"
import { keyOf } from "../dag/Key.ts"
import { rowsDigest, treeDigest, valueDigest } from "./Digests.ts"
import { placeOf, shardFile } from "./Layout.ts"
import type { Manifest, OutputEntry, ShardRecord } from "./Manifest.ts"

/** Whether a manifest is that of another entry: copied here, or swapped with it. */
export const misplaced = (folder: string, { code, key }: Manifest): string | undefined => {
  const place = placeOf(folder)
  if (place === undefined || (place.key === key && place.code === code.digest)) return undefined
  return `it is the manifest of another entry, ${key.slice(0, 12)}/${code.digest.slice(0, 12)}`
}

/** Whether a path stays inside the folder that it is relative to: plain names with `/` between them. */
export const isPlain = (path: string): boolean =>
  !path.includes("\0") && path.split("/").every((name) => name !== "" && name !== "." && name !== "..")

/** The extension of shard `index`'s file, or undefined if that is not its name. */
const extensionOf = (file: string, index: number): string | undefined => {
  const extension = file.slice(file.indexOf(".") + 1)
  return extension !== "" && isPlain(file) && !file.includes("/") && file === shardFile(index, extension)
    ? extension
    : undefined
}

const strayShard = (port: string, output: Extract<OutputEntry, { readonly kind: "rows" }>): string | undefined => {
  const first = output.shards[0]
  const extension = first === undefined || output.transient ? "" : extensionOf(first.file, 0)
  const stray = output.shards.findIndex(({ file }, index) =>
    output.transient ? file !== "" : extension === undefined || file !== shardFile(index, extension)
  )
  return stray < 0 ? undefined : `shard ${stray} of ${port} is called ${JSON.stringify(output.shards[stray]!.file)}`
}

/** A path that no commit writes: outside its folder, or not the one of its shard. Nothing is opened by such a path. */
export const strayPath = (manifest: Manifest): string | undefined => {
  for (const [port, output] of Object.entries(manifest.outputs)) {
    const stray = output.kind === "rows" ? strayShard(port, output) : undefined
    if (stray !== undefined) return stray
    if (output.kind === "tree")
      for (const { path } of output.files)
        if (!isPlain(path)) return `${port} has a file called ${JSON.stringify(path)}, which lies outside`
  }
  for (const { path } of manifest.refusedFiles)
    if (!/^\d{5,}\.jsonl$/.test(path)) return `a file of refused rows is called ${JSON.stringify(path)}`
  return undefined
}

const count = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
const add = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0)

const wrongOutput = (port: string, output: OutputEntry): string | undefined => {
  if (output.kind === "value") {
    if (output.bytes !== Buffer.byteLength(canonical(output.value)))
      return `the bytes of ${port} are not those of its value`
    return output.digest === valueDigest(output.tag, output.value)
      ? undefined
      : `the digest of ${port} is not that of its value`
  }
  const files = output.kind === "rows" ? output.shards : output.files
  if (!files.every(({ bytes }) => count(bytes))) return `${port} has a file of no size`
  if (output.bytes !== add(files.map(({ bytes }) => bytes))) return `the bytes of ${port} are not the sum of its files`
  if (output.kind === "tree") {
    const paths = output.files.map(({ path }) => path)
    if (new Set(paths).size !== paths.length) return `${port} lists a file twice`
    return output.digest === treeDigest(output.files) ? undefined : `the digest of ${port} is not that of its files`
  }
  if (!output.shards.every(({ rows }) => count(rows))) return `${port} has a shard of no number of rows`
  if (output.rows !== add(output.shards.map(({ rows }) => rows)))
    return `the rows of ${port} are not the sum of its shards`
  return output.digest === rowsDigest(output.tag, output.format, output.shards)
    ? undefined
    : `the digest of ${port} is not that of its shards`
}

/** The first thing in a manifest that does not follow from the rest of it. */
export const underived = (manifest: Manifest): string | undefined => {
  const { key, outputs, parents, parts, refused, refusedFiles, rowsIn } = manifest
  if (keyOf(parts) !== key) return "its key is not that of its parts"
  for (const port of Object.keys(parents))
    if (parts.inputs[port] === undefined) return `it has a parent by ${port}, which is no input`
  for (const [port, format] of Object.entries(parts.formats)) {
    const output = outputs[port]
    if (output?.kind !== "rows" || `${output.tag}:${output.format}` !== format) return `${port} is not of ${format}`
  }
  for (const [port, output] of Object.entries(outputs)) {
    const wrong = wrongOutput(port, output)
    if (wrong !== undefined) return wrong
  }
  if (!count(rowsIn) || !Object.values(refused).every(count)) return "a count of rows is no number of rows"
  if (new Set(refusedFiles.map(({ path }) => path)).size !== refusedFiles.length)
    return "it lists a file of refused rows twice"
  if (add(Object.values(refused)) > 0 !== refusedFiles.length > 0)
    return "it counts refused rows and lists no file of them, or the other way round"
  return undefined
}

/** Compares a manifest with the records of its shards, one at a time, in any order. */
export const recordsOf = (manifest: Manifest) => {
  const rowsPorts = Object.entries(manifest.outputs).flatMap(([port, output]) =>
    output.kind === "rows" ? [[port, output] as const] : []
  )
  const refusedFiles = new Map(manifest.refusedFiles.map((file) => [file.path, file]))
  const refused: Record<string, number> = {}
  let rowsIn = 0
  let files = 0
  let peak = 0
  return {
    /** How many records there should be. */
    shards: rowsPorts[0]?.[1].shards.length ?? 0,
    /** Takes one record; gives what differs. */
    take: (record: ShardRecord): string | undefined => {
      if (record.key !== undefined && record.key !== manifest.key) return "is of another entry"
      for (const [port, { shards }] of rowsPorts) {
        const [says, is] = [record.ports[port], shards[record.index]]
        if (says === undefined || is === undefined || digestOf(says) !== digestOf(is))
          return `says something else of ${port} than the manifest`
      }
      const file = record.refusedFile
      if (file !== undefined) {
        const listed = refusedFiles.get(file.path)
        if (listed === undefined || digestOf(listed) !== digestOf(file))
          return "says something else of its refused rows than the manifest"
        files++
      }
      rowsIn += record.rowsIn
      peak = Math.max(peak, record.peakMemory)
      for (const [reason, rows] of Object.entries(record.refused)) refused[reason] = (refused[reason] ?? 0) + rows
      return undefined
    },
    /** After all records: what the manifest's sums differ in. */
    end: (): string | undefined => {
      if (rowsIn !== manifest.rowsIn) return `it counts ${manifest.rowsIn} rows read, its shards ${rowsIn}`
      if (digestOf(refused) !== digestOf(manifest.refused)) return "its refused rows are not the sum of its shards"
      if (files !== refusedFiles.size) return "it lists other files of refused rows than its shards"
      if (peak > manifest.peakMemory) return "a shard took more memory than it says of all"
      return undefined
    }
  }
}
