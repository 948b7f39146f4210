/**
 * Judges a store without the store's code: reads its JSON, hashes its files, compares with an undisturbed store's.
 *
 * Imports nothing of `src/`, so that a fault of the store cannot hide itself here. What a manifest claims is held
 * against the files; the files are held against the reference byte by byte, so a wrong result with a right digest is
 * found too.
 */
import { createHash } from "node:crypto"
import { existsSync, globSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative } from "node:path"

type Json = Readonly<Record<string, any>>

/** What is in a store. */
export interface Facts {
  /** Digests of the files of each entry, by entry: `definition key code`. */
  readonly entries: ReadonlyMap<string, ReadonlyMap<string, string>>
  /** Manifests that do not hold what they claim, in words. */
  readonly wrong: ReadonlyArray<string>
}

const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex")

/** Files below a folder, as paths relative to it; none where there is no folder. */
const filesBelow = (folder: string): ReadonlyArray<string> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((one) => !one.isDirectory())
        .map((one) => relative(folder, join(one.parentPath, one.name)))
        .sort()
    : []

/** What an output claims to consist of: path, bytes and digest. */
const claimed = (
  output: Json
): ReadonlyArray<{ readonly path: string; readonly bytes: number; readonly sha256: string }> => [
  ...(output["shards"] ?? []).map((one: Json) => ({ path: one["file"], bytes: one["bytes"], sha256: one["sha256"] })),
  ...(output["files"] ?? []).map((one: Json) => ({ path: one["path"], bytes: one["bytes"], sha256: one["sha256"] }))
]

const checkFiles = (
  folder: string,
  wanted: ReturnType<typeof claimed>,
  also: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const { bytes, path, sha256: digest } of wanted) {
    const at = join(folder, path)
    if (!existsSync(at)) wrong.push(`${at} is missing`)
    else if (statSync(at).size !== bytes) wrong.push(`${at} has ${statSync(at).size} bytes, not ${bytes}`)
    else if (sha256(at) !== digest) wrong.push(`${at} has another digest`)
  }
  const known = new Set([...wanted.map(({ path }) => path), ...also])
  for (const path of filesBelow(folder)) if (!known.has(path)) wrong.push(`${join(folder, path)} belongs to nothing`)
  return wrong
}

const checkEntry = (folder: string, manifest: Json): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const [key, code] = [folder.split("/").at(-2), folder.split("/").at(-1)]
  if (manifest["key"] !== key || manifest["code"]["digest"] !== code) wrong.push(`${folder} holds another's manifest`)
  for (const [port, output] of Object.entries<Json>(manifest["outputs"])) {
    wrong.push(...checkFiles(join(folder, "ports", port), claimed(output), ["value.json"]))
    const rows = (output["shards"] ?? []).reduce((sum: number, one: Json) => sum + one["rows"], 0)
    if (output["kind"] === "rows" && rows !== output["rows"]) wrong.push(`${folder}: rows of ${port} do not add up`)
  }
  wrong.push(...checkFiles(join(folder, "refused"), claimed({ files: manifest["refusedFiles"] }), []))
  const refused = filesBelow(join(folder, "refused")).reduce(
    (sum, path) => sum + readFileSync(join(folder, "refused", path), "utf8").split("\n").length - 1,
    0
  )
  const said = Object.values<number>(manifest["refused"]).reduce((sum, count) => sum + count, 0)
  if (refused !== said) wrong.push(`${folder}: ${refused} refused rows, its manifest says ${said}`)
  return wrong
}

/** Reads all finished entries of a store. */
export const factsOf = (store: string): Facts => {
  const entries = new Map<string, ReadonlyMap<string, string>>()
  const wrong: Array<string> = []
  for (const path of globSync("entries/*/*/*/manifest.json", { cwd: store }).sort()) {
    const folder = join(store, dirname(path))
    let manifest: Json
    try {
      manifest = JSON.parse(readFileSync(join(store, path), "utf8"))
      wrong.push(...checkEntry(folder, manifest))
    } catch (error) {
      wrong.push(`${path} cannot be read: ${error instanceof Error ? error.message : error}`)
      continue
    }
    const files = ["ports", "refused"].flatMap((part) => filesBelow(join(folder, part)).map((file) => join(part, file)))
    entries.set(
      `${manifest["parts"]["definition"]} ${path.split("/")[2]} ${path.split("/")[3]}`,
      new Map(files.map((file) => [file, sha256(join(folder, file))]))
    )
  }
  return { entries, wrong }
}

const different = (name: string, found: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>) =>
  [...new Set([...found.keys(), ...wanted.keys()])]
    .filter((file) => found.get(file) !== wanted.get(file))
    .map((file) => `${name}: ${file} is ${found.has(file) ? (wanted.has(file) ? "different" : "too many") : "missing"}`)

/**
 * What is wrong with a store. `reference` knows the entries of all presets; those of `wanted` must be there, others may
 * be.
 */
export const wrongIn = (store: string, reference: Facts, wanted: Iterable<string> = []): ReadonlyArray<string> => {
  const { entries, wrong } = factsOf(store)
  const out = [...wrong]
  for (const name of wanted) if (!entries.has(name)) out.push(`${name} is missing`)
  for (const [name, files] of entries) {
    const known = reference.entries.get(name)
    if (known === undefined) out.push(`${name} is no entry of the undisturbed run`)
    else out.push(...different(name, files, known))
  }
  return out
}

/**
 * What a run that was ended left: unfinished work, locks, temporary names. Runs' records are pruned by rules of their
 * own.
 */
export const leftoversIn = (store: string): ReadonlyArray<string> => [
  ...filesBelow(store).filter((path) => !path.startsWith("runs/") && /(^|\/)\.|\.tmp$|\.part$/.test(path)),
  ...["work", "locks"].flatMap((part) =>
    existsSync(join(store, part)) ? readdirSync(join(store, part)).map((name) => join(part, name)) : []
  )
]
