/**
 * Images to 336 x 336: decoded and cropped, and from a zip to Arrow shards; against Pillow in as many processes as we
 * have threads. Every image that is timed is compared, pixel by pixel.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { writeZip } from "../../src/bytes/ZipWriter.ts"
import { startCrew } from "../Crew.ts"
import { made } from "../Data.ts"
import { photoName, pictureName } from "../generate/Names.ts"
import { type PhotoKind, photos } from "../generate/Photos.ts"
import { perSecond, withPython } from "../Python.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark, Context, Measured } from "../Row.ts"

const WORKERS = 2
const BYTES = 336 * 336 * 3

const module = new URL("../work/Pictures.ts", import.meta.url).href

/** A folder of JPEG files and their paths. */
const pictureFolder = async (context: Context, kind: PhotoKind, count: number): Promise<ReadonlyArray<string>> => {
  const names = Array.from({ length: count }, (_, at) => (kind === "cc" ? pictureName(at) : photoName(at)))
  const folder = await made(context, `${kind}-${count}`, async (part) => {
    mkdirSync(part)
    let at = 0
    for await (const bytes of photos(0, kind, 0, count)) writeFileSync(join(part, names[at++]!), bytes)
  })
  return names.map((name) => join(folder, name))
}

/** Every second item, and the others: what each worker takes. */
const shares = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: WORKERS }, (_, worker) => items.filter((_, i) => i % WORKERS === worker))

/** Pixels that differ between two files of images, and in how many images. */
export const differences = (
  ours: Uint8Array,
  theirs: Uint8Array
): { readonly pixels: number; readonly pictures: number } => {
  if (ours.length !== theirs.length) return { pixels: Number.POSITIVE_INFINITY, pictures: Number.POSITIVE_INFINITY }
  let pixels = 0
  const pictures = new Set<number>()
  for (let i = 0; i < ours.length; i += 3)
    if (ours[i] !== theirs[i] || ours[i + 1] !== theirs[i + 1] || ours[i + 2] !== theirs[i + 2]) {
      pixels++
      pictures.add(Math.floor(i / BYTES))
    }
  return { pixels, pictures: pictures.size }
}

/** Both sides write their pixels, worker by worker; `undefined` when none differ. */
const compareFiles = (
  pairs: ReadonlyArray<readonly [ours: string, theirs: string]>,
  expected: number
): string | undefined => {
  let pixels = 0
  let pictures = 0
  let bytes = 0
  for (const [ours, theirs] of pairs) {
    const mine = readFileSync(ours)
    const found = differences(mine, readFileSync(theirs))
    bytes += mine.length
    pixels += found.pixels
    pictures += found.pictures
    rmSync(ours)
    rmSync(theirs)
  }
  if (bytes !== expected * BYTES) return `${bytes} bytes of pixels in place of ${expected * BYTES}`
  return pixels === 0 ? undefined : `${pixels} pixels differ, in ${pictures} of ${expected} images`
}

const crop = (kind: PhotoKind, goal: number, quick: number, full: number): Benchmark => ({
  name: `crop-${kind}`,
  about: `image crop to 336, ${kind === "cc" ? "CC" : "COCO"}-like, ${WORKERS} workers`,
  unit: "images/s",
  better: "more",
  goal,
  peerName: `Pillow, ${WORKERS} processes`,
  run: (context) =>
    withPython(context.python, "pictures.py", async (peer): Promise<Measured> => {
      const count = context.size === "quick" ? quick : full
      const parts = shares(await pictureFolder(context, kind, count))
      const crew = await startCrew(WORKERS, module)
      try {
        await peer.ask({ do: "start", processes: WORKERS })
        const tasks = parts.map((paths) => ({ paths }))
        const figures = await interleave(
          { rounds: 5, better: "more" },
          async () => count / (await seconds(() => crew.all("cropFiles", tasks))),
          async () => perSecond(await peer.ask({ do: "crop", parts }), count)
        )
        const pairs = parts.map(
          (_, i) => [join(context.data, `ours-${i}.rgb`), join(context.data, `peer-${i}.rgb`)] as const
        )
        await crew.all(
          "cropFiles",
          parts.map((paths, i) => ({ paths, into: pairs[i]![0] }))
        )
        await peer.ask({ do: "crop", parts, into: pairs.map(([, theirs]) => theirs) })
        const size = parts.flat().reduce((sum, path) => sum + readFileSync(path).length, 0)
        const note = `${count} images of ${(size / count / 1000).toFixed(0)} KB, 0 pixels differ; ${peer.versions}`
        return { ...figures, note, wrong: compareFiles(pairs, count) }
      } finally {
        await crew.stop()
      }
    })
})

export const cropCoco = crop("coco", 1, 120, 600)
export const cropCc = crop("cc", 1.3, 400, 3000)

async function* entries(names: ReadonlyArray<string>) {
  let at = 0
  for await (const data of photos(0, "cc", 0, names.length)) yield { name: names[at++]!, data }
}

export const zipToShards: Benchmark = {
  name: "zip-to-arrow",
  about: `zip to Arrow shards, CC-like, ${WORKERS} workers`,
  unit: "images/s",
  better: "more",
  goal: 1.1,
  peerName: `zipfile + Pillow + pyarrow, ${WORKERS} processes`,
  run: (context) =>
    withPython(context.python, "pictures_arrow.py", async (peer): Promise<Measured> => {
      const count = context.size === "quick" ? 400 : 3000
      const names = Array.from({ length: count }, (_, at) => pictureName(at))
      const zip = await made(context, `cc-${count}.zip`, (part) =>
        Effect.runPromise(
          writeZip(
            part,
            Stream.fromAsyncIterable(entries(names), (cause) => cause)
          )
        )
      )
      const parts = shares(names)
      const mine = parts.map((_, i) => join(context.data, `ours-${i}.arrow`))
      const theirs = parts.map((_, i) => join(context.data, `peer-${i}.arrow`))
      const crew = await startCrew(WORKERS, module)
      const clear = (paths: ReadonlyArray<string>): void => {
        for (const path of paths) rmSync(path, { force: true })
      }
      try {
        await peer.ask({ do: "start", processes: WORKERS })
        const tasks = parts.map((part, i) => ({ zip, names: part, into: mine[i]! }))
        const figures = await interleave(
          { rounds: 5, better: "more" },
          async () => {
            clear(mine)
            return count / (await seconds(() => crew.all("shardOfZip", tasks)))
          },
          async () => {
            clear(theirs)
            return perSecond(await peer.ask({ do: "shards", zip_path: zip, parts, into: theirs }), count)
          }
        )
        const digest = (await peer.ask({ do: "digest", paths: mine }))["digest"]
        const other = (await peer.ask({ do: "digest", paths: theirs }))["digest"]
        const note = `${count} images, rows of both shards equal; ${peer.versions}`
        return { ...figures, note, wrong: digest === other ? undefined : "the rows of the shards differ" }
      } finally {
        await crew.stop()
        clear([...mine, ...theirs])
      }
    })
}
