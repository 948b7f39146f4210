/**
 * JSON array scan and parse: every row of a ShareGPT file as an object, against `stream-json`; and our peak of memory.
 */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { createReadStream, statSync } from "node:fs"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { Effect, Stream } from "effect"
import { readJson } from "../../src/data/JsonArray.ts"
import { made } from "../Data.ts"
import { writeShareGpt } from "../generate/ShareGpt.ts"
import { npmPeer } from "../Npm.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark, Context } from "../Row.ts"

const MB = 1e6

/** A ShareGPT file of the size's bytes. */
export const shareGptFile = (context: Context, bytes: number): Promise<string> =>
  made(context, `sharegpt-${bytes / MB}MB.json`, (path) => writeShareGpt(path, 0, { bytes }))

const jsonBytes = (context: Context): number => (context.size === "quick" ? 64 : 700) * MB

type Each = (row: unknown) => void

const ours = (path: string, each: Each): Promise<void> =>
  Effect.runPromise(
    Stream.runForEach(readJson(path), (batch) =>
      Effect.sync(() => {
        if (batch.refused.length > 0) throw batch.refused[0]!
        for (const { value } of batch.rows) each(value)
      })
    )
  )

/** What both made of the file, as one digest. */
const digestOf = async (read: (each: Each) => Promise<void>): Promise<string> => {
  const hash = createHash("sha256")
  let rows = 0
  await read((row) => {
    rows++
    hash.update(JSON.stringify(row))
  })
  return `${rows} rows ${hash.digest("hex")}`
}

export const json: Benchmark = {
  name: "json-array",
  about: "JSON array scan + parse",
  unit: "MB/s",
  better: "more",
  goal: 2,
  peerName: "stream-json",
  run: async (context) => {
    const { default: streamArray } = await npmPeer("stream-json", () => import("stream-json/streamers/stream-array.js"))
    const peer = async (path: string, each: Each): Promise<void> => {
      await pipeline(
        createReadStream(path, { highWaterMark: 1 << 20 }),
        streamArray.withParserAsStream(),
        async (items: AsyncIterable<{ readonly value: unknown }>) => {
          for await (const { value } of items) each(value)
        }
      )
    }
    const path = await shareGptFile(context, jsonBytes(context))
    const { size } = statSync(path)
    const none: Each = () => undefined
    const figures = await interleave(
      { rounds: context.size === "quick" ? 5 : 3, better: "more" },
      async () => size / MB / (await seconds(() => ours(path, none))),
      async () => size / MB / (await seconds(() => peer(path, none)))
    )
    const [one, other] = [await digestOf((each) => ours(path, each)), await digestOf((each) => peer(path, each))]
    const wrong = one === other ? undefined : `we read ${one}, stream-json ${other}`
    return { ...figures, wrong, note: `${(size / MB).toFixed(0)} MB, ${one.split(" ")[0]} equal rows` }
  }
}

const LIMIT_MB = 250

export const jsonMemory: Benchmark = {
  name: "json-array-memory",
  about: "the same, peak memory",
  unit: "MB",
  better: "less",
  goal: 1,
  peerName: `a limit of ${LIMIT_MB} MB`,
  run: async (context) => {
    const path = await shareGptFile(context, jsonBytes(context))
    const script = fileURLToPath(new URL("../work/ReadJson.ts", import.meta.url))
    const peaks: Array<number> = []
    let rows = 0
    for (let round = 0; round < 3; round++) {
      const { stdout } = await promisify(execFile)(process.execPath, [script, path])
      const told = JSON.parse(stdout) as { readonly rows: number; readonly peak: number }
      peaks.push(told.peak / MB)
      rows = told.rows
    }
    const note = `peak RSS of a process that reads ${(statSync(path).size / MB).toFixed(0)} MB, ${rows} rows`
    return { ours: peaks, peer: [LIMIT_MB], note, wrong: rows > 0 ? undefined : "no rows were read" }
  }
}
