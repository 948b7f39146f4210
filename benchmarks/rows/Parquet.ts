/** Rows of Parquet with a list of structs, as the hub serves ShareGPT, into objects; against pyarrow's `to_pylist`. */
import { createHash } from "node:crypto"
import { Effect, Stream } from "effect"
import { dice } from "../../datasets/generate/Random.ts"
import { readParquet } from "../../src/data/Parquet.ts"
import { made } from "../Data.ts"
import { conversation, writeJsonArray } from "../generate/ShareGpt.ts"
import { perSecond, withPython } from "../Python.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark } from "../Row.ts"

/** Turns cut short: what is compared is the making of many nested objects, not the copying of long texts. */
const TEXT = 120

const row = (at: number): unknown => {
  const throws = dice(0, `parquet/${at}`)
  const turns = conversation(throws).turns
  return {
    id: `row-${at}`,
    conversations: turns.map(({ from, value }) => ({ from, value: value.slice(0, TEXT).toWellFormed() }))
  }
}

/** Reads all rows, batch by batch; gives their number. */
const readAll = (path: string, each: (row: unknown) => void): Promise<number> =>
  readParquet(path).pipe(
    Stream.runFold(
      () => 0,
      (count, { rows }) => {
        rows.forEach(each)
        return count + rows.length
      }
    ),
    Effect.runPromise
  )

export const parquet: Benchmark = {
  name: "parquet-rows",
  about: "Parquet list<struct> rows to objects",
  unit: "rows/s",
  better: "more",
  goal: 1,
  peerName: "pyarrow to_pylist",
  run: (context) =>
    withPython(context.python, "parquet_rows.py", async (peer) => {
      const [distinct, times] = context.size === "quick" ? [5_000, 6] : [20_000, 25]
      const count = distinct * times
      const json = await made(context, `parquet-${distinct}.json`, (path) =>
        writeJsonArray(path, row, ({ rows }) => rows === distinct)
      )
      const path = await made(context, `parquet-${count}.parquet`, (part) =>
        peer.ask({ do: "make", json, path: part, times })
      )
      const figures = await interleave(
        { rounds: 5, better: "more" },
        async () => count / (await seconds(() => readAll(path, () => undefined))),
        async () => perSecond(await peer.ask({ do: "read", path }), count)
      )
      const hash = createHash("sha256")
      const rows = await readAll(path, (one) => hash.update(JSON.stringify(one)))
      const theirs = (await peer.ask({ do: "digest", path }))["digest"]
      const wrong =
        rows !== count
          ? `we read ${rows} of ${count} rows`
          : hash.digest("hex") === theirs
            ? undefined
            : "the values of rows differ"
      return { ...figures, wrong, note: `${count} rows, zstd, values equal; ${peer.versions}` }
    })
}
