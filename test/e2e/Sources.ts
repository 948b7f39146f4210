/**
 * Small source files cut from the sample that ships: 60 conversations, 60 captions with 50 of their images, 40 rows of
 * instructions, 12 held-out scenes.
 *
 * Pure cutting: rows and images are the sample's own bytes, so equal samples give equal files. Ten captions lack their
 * image on purpose, so that every run has a quarantine.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { type ZipEntry, zipBytes } from "../../src/bytes/ZipWriter.ts"

const sample = fileURLToPath(new URL("../../datasets/sample/", import.meta.url))

/** The parts of a row that cutting looks at. */
interface Row {
  readonly image?: string
}

const rowsOf = (path: string): ReadonlyArray<Row> =>
  JSON.parse(readFileSync(join(sample, path), "utf8")) as ReadonlyArray<Row>

const picturesOf = (rows: ReadonlyArray<Row>): ReadonlyArray<string> =>
  [...new Set(rows.map((row) => row.image))].filter((image) => image !== undefined)

/** Entries of a zip of the sample, by name. */
export const entriesOf = (path: string, names: ReadonlyArray<string>): Promise<ReadonlyArray<ZipEntry>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const zip = yield* openZip(join(sample, path))
        return yield* Effect.forEach(
          names.filter((name) => zip.has(name)),
          (name) => Effect.map(zip.read(name), (data): ZipEntry => ({ name, data }))
        )
      })
    )
  )

/** Files that a run of the small recipe reads, by name, as text or bytes. */
export type Files = Readonly<Record<string, string | Uint8Array>>

const cut = async (): Promise<Files> => {
  const captions = rowsOf("cc595k/chat.json").slice(0, 60)
  const instructions = rowsOf("llava-instruct/llava_instruct.json").slice(0, 40)
  const heldOut = rowsOf("llava-instruct/heldout.json").slice(0, 12)
  const zipped = async (path: string, folder: string, rows: ReadonlyArray<Row>) =>
    zipBytes(
      await entriesOf(
        path,
        picturesOf(rows).map((name) => folder + name)
      )
    )
  return {
    "sharegpt.json": JSON.stringify(rowsOf("sharegpt/sharegpt.json").slice(0, 60)),
    "chat.json": JSON.stringify(captions),
    "images.zip": await zipped("cc595k/images.zip", "", captions.slice(0, 50)),
    "instruct.json": JSON.stringify(instructions),
    "train2017.zip": await zipped("llava-instruct/train2017.zip", "train2017/", instructions),
    "heldout.json": JSON.stringify(heldOut),
    "heldout.zip": await zipped("llava-instruct/heldout.zip", "val2017/", heldOut)
  }
}

let made: Promise<Files> | undefined

/** The cut files, made once a process. */
export const smallFiles = (): Promise<Files> => (made ??= cut())

/** Writes the small sources into `folder`, with `changed` files in place of some; `undefined` leaves a file out. */
export const writeSources = async (
  folder: string,
  changed: Readonly<Record<string, string | Uint8Array | undefined>> = {}
): Promise<string> => {
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(sample, "tokenizer.json"), join(folder, "tokenizer.json"))
  for (const [name, data] of Object.entries({ ...(await smallFiles()), ...changed }))
    if (data !== undefined) writeFileSync(join(folder, name), data)
  return folder
}
