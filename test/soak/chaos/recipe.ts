/**
 * The recipe that is killed: readings of weather stations, through a node of every kind, with rows that are refused.
 *
 * No engine and no real work, so that a run is short and most of it is the store's. `CHAOS_SOURCE` is the file of
 * readings (`writeReadings`); no key depends on where it lies. The parameter `hold` makes one row take for ever: beside
 * other work (`wait`), or holding its thread (`compute`).
 */
import { createHash } from "node:crypto"
import { writeFileSync, writeSync } from "node:fs"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Schema, Stream } from "effect"
import { run } from "../../../src/cli/Main.ts"
import { fold, pipeline, rows, sharded, source, tree, value, whole } from "../../../src/dag/index.ts"
import { recipe } from "../../../src/run/Recipe.ts"

const Reading = Schema.Struct({ n: Schema.Int, station: Schema.String, tenths: Schema.Int })
const ReadingsFile = tree("readings-file")
const Readings = rows("readings", Reading)
const Kept = rows("kept", Reading)
const Stations = tree("stations")
const Trend = tree("trend")
const Summary = value("summary", Schema.Struct({ rows: Schema.Int, digest: Schema.String }))

class OutOfRange extends Schema.TaggedError<OutOfRange>()("OutOfRange", {
  tenths: Schema.Int,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Writes `count` readings, one a line: station, then tenths of a degree. */
export const writeReadings = (path: string, count: number): void => {
  const line = (n: number) => `station-${(n * 7) % 5}\t${((n * 7919) % 800) - 300}\n`
  writeFileSync(path, Array.from({ length: count }, (_, n) => line(n)).join(""))
}

const readReadings = whole(
  {
    id: "readReadings",
    version: "1",
    params: Schema.Struct({ shardRows: Schema.Int }),
    inputs: { file: ReadingsFile },
    outputs: { rows: Readings }
  },
  ({ inputs, params }) =>
    Effect.map(
      Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(inputs.file.path)),
      (text) => {
        const all = text
          .trimEnd()
          .split("\n")
          .map((line, n) => ({ n, station: line.split("\t")[0]!, tenths: Number(line.split("\t")[1]) }))
        return {
          rows: Stream.fromIterable(
            Array.from({ length: Math.ceil(all.length / params.shardRows) }, (_, i) =>
              all.slice(i * params.shardRows, (i + 1) * params.shardRows)
            )
          )
        }
      }
    )
)

const Hold = Schema.Literals(["nothing", "wait", "compute"])

/** For ever: a thread that computes hears nothing. */
const compute = (): never => {
  for (let i = 0; ; i = (i + 1) % 1000) Math.sqrt(i)
}

/** Refuses readings above `most` in a worker thread; the shard with row 100 may be held. */
const dropHot = sharded(
  {
    id: "dropHot",
    version: "1",
    params: Schema.Struct({ most: Schema.Int, hold: Hold }),
    inputs: { rows: Readings },
    outputs: { rows: Kept },
    refuses: [OutOfRange],
    runs: "worker"
  },
  ({ mapEffectOrRefuse, params, shard }) => ({
    rows: mapEffectOrRefuse(shard.rows, (row) => {
      if (row.n === 100 && params.hold !== "nothing") {
        writeSync(2, "row 100 is held\n")
        return params.hold === "wait" ? Effect.never : Effect.sync(compute)
      }
      return row.tenths > params.most
        ? Effect.fail(new OutOfRange({ tenths: row.tenths, message: "too hot", hint: "Raise `most`." }))
        : Effect.succeed(row)
    })
  })
)

/** Refuses readings below `least`, beside the runner. */
const dropCold = sharded(
  {
    id: "dropCold",
    version: "1",
    params: Schema.Struct({ least: Schema.Int }),
    inputs: { rows: Readings },
    outputs: { rows: Kept },
    refuses: [OutOfRange]
  },
  ({ mapEffectOrRefuse, params, shard }) => ({
    rows: mapEffectOrRefuse(shard.rows, (row) =>
      row.tenths < params.least
        ? Effect.fail(new OutOfRange({ tenths: row.tenths, message: "too cold", hint: "Lower `least`." }))
        : Effect.succeed(row)
    )
  })
)

const joinReadings = whole(
  {
    id: "joinReadings",
    version: "1",
    params: Schema.Struct({ shardRows: Schema.Int }),
    inputs: { warm: Kept, cool: Kept },
    outputs: { rows: Readings }
  },
  ({ inputs }) => Effect.succeed({ rows: Stream.concat(inputs.warm.batches, inputs.cool.batches) })
)

/** A folder a station, with a file for each ten tenths. */
const writeStations = whole(
  {
    id: "writeStations",
    version: "1",
    params: Schema.Struct({ files: Schema.Int }),
    inputs: { rows: Readings },
    outputs: { files: Stations }
  },
  ({ inputs, params }) =>
    Effect.succeed({
      files: (folder: string) =>
        Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const lines = new Map<string, string>()
          yield* Stream.runForEach(inputs.rows.batches, (batch) =>
            Effect.sync(() => {
              for (const { n, station, tenths } of batch) {
                const name = `${station}/${n % params.files}.txt`
                lines.set(name, `${lines.get(name) ?? ""}${n} ${tenths}\n`)
              }
            })
          )
          for (const [name, text] of [...lines].sort(([a], [b]) => (a < b ? -1 : 1))) {
            yield* fs.makeDirectory(`${folder}/${name.split("/")[0]}`, { recursive: true })
            yield* fs.writeFileString(`${folder}/${name}`, text)
          }
        })
    })
)

interface State {
  readonly step: number
  readonly total: number
  readonly bytes: Uint8Array
}

/** A chain of digests, each of the last one and a row: equal only if every step was made once, in order. */
const followTrend = fold(
  {
    id: "followTrend",
    version: "1",
    params: Schema.Struct({ steps: Schema.Int, kib: Schema.Int, stepMs: Schema.Int }),
    inputs: { rows: Readings },
    outputs: { trend: Trend }
  },
  {
    init: ({ params }) =>
      Effect.succeed<State>({ step: 0, total: params.steps, bytes: new Uint8Array(params.kib * 1024) }),
    step: ({ inputs, params }, state) =>
      Effect.gen(function* () {
        if (params.stepMs > 0) yield* Effect.sleep(params.stepMs)
        const [row] = yield* inputs.rows.get([(state.step * 7919) % inputs.rows.length])
        const digest = createHash("sha256").update(JSON.stringify(row)).update(state.bytes).digest()
        const bytes = state.bytes.slice()
        bytes.set(digest, (state.step * 32) % bytes.length)
        return { ...state, step: state.step + 1, bytes }
      }),
    progress: ({ step, total }) => ({ step, total, metrics: { loss: 1 / (1 + step) } }),
    finish: (_, state) =>
      Effect.succeed({
        trend: (folder: string) =>
          Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFile(`${folder}/trend.bin`, state.bytes))
      }),
    state: {
      encode: ({ bytes, step, total }) =>
        Effect.sync(
          () =>
            new Map([
              ["at.json", new TextEncoder().encode(JSON.stringify({ step, total }))],
              ["bytes.bin", bytes.slice()]
            ])
        ),
      decode: (_, files) =>
        Effect.sync(() => ({
          ...(JSON.parse(new TextDecoder().decode(files.get("at.json"))) as { step: number; total: number }),
          bytes: files.get("bytes.bin")!.slice()
        }))
    }
  }
)

const summarise = whole(
  {
    id: "summarise",
    version: "1",
    params: Schema.Struct({}),
    inputs: { rows: Readings, trend: Trend, stations: Stations },
    outputs: { summary: Summary }
  },
  ({ inputs }) =>
    Effect.succeed({
      summary: Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const hash = createHash("sha256")
        let count = 0
        yield* Stream.runForEach(inputs.rows.batches, (batch) =>
          Effect.sync(() => {
            for (const row of batch) hash.update(JSON.stringify(row))
            count += batch.length
          })
        )
        hash.update(yield* fs.readFile(`${inputs.trend.path}/trend.bin`))
        const names = yield* fs.readDirectory(inputs.stations.path, { recursive: true })
        hash.update(names.sort().join())
        return { rows: count, digest: hash.digest("hex") }
      })
    })
)

const small = { shardRows: 25, most: 450, hold: "nothing" as typeof Hold.Type, steps: 40, stepMs: 0 }

const chaos = recipe({
  name: "chaos",
  presets: { small, other: { ...small, most: 400, steps: 25 } },
  build: (settings) => {
    const location = process.env["CHAOS_SOURCE"] ?? "readings.tsv"
    const file = source(ReadingsFile, { id: "readings", location }).out.files
    const read = readReadings({ file }, { shardRows: settings.shardRows })
    const warm = dropHot({ rows: read.out.rows }, { most: settings.most, hold: settings.hold })
    const cool = dropCold({ rows: read.out.rows }, { least: -250 })
    const { rows } = joinReadings(
      { warm: warm.out.rows, cool: cool.out.rows },
      { shardRows: 2 * settings.shardRows }
    ).out
    const stations = writeStations({ rows }, { files: 3 })
    const trend = followTrend({ rows }, { steps: settings.steps, kib: 16, stepMs: settings.stepMs })
    const raw = followTrend.named("rawTrend")(
      { rows: read.out.rows },
      { steps: settings.steps + 1, kib: 16, stepMs: settings.stepMs }
    )
    const summary = summarise({ rows, trend: trend.out.trend, stations: stations.out.files }, {})
    return {
      pipeline: pipeline("chaos", {
        stations: stations.out.files,
        trend: trend.out.trend,
        raw: raw.out.trend,
        summary: summary.out.summary
      })
    }
  },
  services: () => NodeFileSystem.layer,
  engines: ["none"],
  numerics: (engine) => engine
})

export default chaos

run(import.meta, chaos)
