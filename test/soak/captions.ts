/**
 * The caption filter at CC-3M's size: time and peak memory of its two passes alone, or of the node in a stored run.
 *
 *     npm run soak -- captions [rows] [filter|stored|twice]
 *
 * `twice` balances what a balance left, with another seed: the share that a second balance takes (docs/presets.md).
 *
 * Not a test: it times. Captions are made up row by row from a vocabulary with a long tail (a word's chance falls with
 * its rank), so that distinct noun phrases keep coming as they do in real ones; one row in 30 repeats an earlier
 * caption.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Schema, Stream } from "effect"
import { pipeline, whole } from "../../src/dag/index.ts"
import { Captions } from "../../src/nodes/Artifacts.ts"
import { filterCaptions } from "../../src/nodes/FilterCaptions.ts"
import { Events } from "../../src/run/Events.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { type RunOptions, Stop } from "../../src/run/Run.ts"
import { runRecipe } from "../../src/run/Scheduler.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { countCaptions } from "../../src/text/Balance.ts"
import { countDecision, emptyCounts } from "../../src/text/Captions.ts"
import { nounPhrases } from "../../src/text/NounPhrases.ts"
import { captionOptions } from "../text/fixtures/captions.ts"

const nouns =
  "person actor artist man woman city player football team river mountain beach house street car tree dog cat bird flower wall sky sea boat bridge church garden kitchen table bottle illustration background pattern dress hair festival event award film album stage crowd game match stadium island village forest lake snow sunset building tower castle temple market train bus horse elephant lion child girl boy family bride wedding cake food salad soup coffee glass wine book letter map flag hat shirt shoe bag ring watch phone computer desk chair lamp window door roof fence field farm road path stone rock cloud storm rain light shadow colour paper poster logo icon vector".split(
    " "
  )
const adjectives =
  "old young red blue green white black beautiful small large modern traditional colourful abstract vintage happy wooden golden empty busy bright dark fresh dry wet tall narrow wide famous local wild heavy soft sunny snowy quiet elegant simple seamless premium floral".split(
    " "
  )
const verbs = "walks stands plays sits runs looks waits arrives attends performs sails flies".split(" ")
const syllables = "ba ko ri ta lun mer sa vo del ni gar po tis ra hel mon ze fi cu lor".split(" ")

/** A stream of 32-bit numbers of one row: xorshift, seeded by the row. */
const dice = (row: number) => {
  let state = Math.imul(row + 1, 0x9e3779b1) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4294967296
  }
}
/** Rank below `size`, the chance of each about 1 over its rank. */
const rank = (u: number, size: number): number => Math.floor(size ** u) - 1
const word = (known: ReadonlyArray<string>, at: number): string => {
  if (at < known.length) return known[at]!
  let made = ""
  for (let left = at; left > 0; left = Math.floor(left / syllables.length)) made += syllables[left % syllables.length]
  return made
}
const phrase = (roll: () => number): string => {
  const noun = word(nouns, rank(roll(), 60_000))
  return roll() < 0.5 ? noun : `${word(adjectives, rank(roll(), 4_000))} ${noun}`
}
const caption = (row: number): string => {
  const roll = dice(row % 30 === 29 ? row >> 1 : row)
  for (let i = 0; i < 4; i++) roll()
  const text = `a ${phrase(roll)} ${verbs[Math.floor(roll() * verbs.length)]} near the ${phrase(roll)}`
  if (roll() < 0.6) return `${text} in ${phrase(roll)} .`
  return roll() < 0.5 ? text : `${text} with a ${phrase(roll)} and the ${phrase(roll)} on a ${phrase(roll)}`
}
const rowOf = (row: number) => {
  const id = `GCC_train_${String(row).padStart(9, "0")}`
  const text = caption(row)
  const conversations = [
    { from: "human" as const, value: "<image>\nGive a brief description of the image." },
    { from: "gpt" as const, value: text }
  ]
  return { id, image: `${id}.jpg`, caption: text, conversations }
}

const rows = Number(process.argv[2] ?? "3300000")
const mode = process.argv[3] ?? "filter"
const started = performance.now()
const said = (what: string): void => {
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const { maxRSS, systemCPUTime, userCPUTime } = process.resourceUsage()
  const processor = ((systemCPUTime + userCPUTime) / 1e6).toFixed(1)
  console.log(`${what}: ${seconds} s, ${processor} s of processor, peak ${Math.round(maxRSS / 1024)} MiB`)
}
console.log(`${rows} rows, ${mode}, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)

if (mode === "twice") {
  // As CC-595K came about: the first balance alone, without our other rules. Two to four phrases a caption, of 3,000
  // nouns with one of 100 adjectives before every fifth: far more alike than the captions above, as CC-3M's are.
  const phrasesOf = (row: number): ReadonlyArray<string> => {
    const roll = dice(row)
    for (let i = 0; i < 4; i++) roll()
    return Array.from({ length: 2 + Math.floor(roll() * 2.5) }, () => {
      const noun = rank(roll(), 3000)
      return roll() < 0.2 ? `${rank(roll(), 100)} ${noun}` : `${noun}`
    })
  }
  const only = {
    ...captionOptions,
    minWords: 0,
    maxWords: null,
    minDistinctShare: 0,
    maxRun: null,
    dropDuplicates: false
  }
  let left = Array.from({ length: rows }, (_, row) => row)
  for (const seed of [0, 1]) {
    const counter = countCaptions({ ...only, seed }, left.length)
    for (const row of left) counter.add({ id: String(row), caption: "", phrases: phrasesOf(row) })
    const plan = counter.finish()
    const before = left.length
    left = left.filter((_, at) => plan.decide(at, "").keep)
    said(
      `balance ${seed + 1} takes ${(100 * (1 - left.length / before)).toFixed(1)} % of ${before} and leaves ${left.length}`
    )
  }
} else if (mode === "filter") {
  const counter = countCaptions(captionOptions, rows)
  for (let at = 0; at < rows; at++) {
    const { caption, id } = rowOf(at)
    counter.add({
      id,
      caption,
      get phrases() {
        return nounPhrases(caption)
      }
    })
  }
  said("pass 1")
  const plan = counter.finish()
  said("decided")
  const counts = emptyCounts()
  for (let at = 0; at < rows; at++) countDecision(counts, plan.decide(at, caption(at)))
  said("pass 2")
  console.log(plan.phrases, plan.frequentPhrases, plan.cappedPhrases, JSON.stringify(counts))
} else {
  const makeCaptions = whole(
    {
      id: "makeCaptions",
      version: "1",
      params: Schema.Struct({ rows: Schema.Int, shardRows: Schema.Int }),
      inputs: {},
      outputs: { rows: Captions }
    },
    ({ params }) =>
      Effect.succeed({
        rows: Stream.range(0, Math.ceil(params.rows / 1024) - 1, 1).pipe(
          Stream.map((batch) =>
            Array.from({ length: Math.min(1024, params.rows - batch * 1024) }, (_, i) => rowOf(batch * 1024 + i))
          )
        )
      })
  )
  const made = recipe<{}, never>({
    name: "captions",
    presets: { only: {} },
    build: () => {
      const { out } = makeCaptions({}, { rows, shardRows: 65_536 })
      const kept = filterCaptions({ rows: out.rows }, { ...captionOptions, shardRows: 4096 }).out
      return { pipeline: pipeline("captions", { rows: kept.rows, report: kept.report }) }
    },
    services: () => NodeFileSystem.layer as Layer.Layer<never>,
    engines: ["none"],
    numerics: (engine) => engine
  })
  const options: RunOptions = {
    only: [],
    from: [],
    until: [],
    force: [],
    allowStaleCode: false,
    workers: 0,
    checkpointEveryMs: 1e9
  }
  const events = Events.of({
    publish: (event) =>
      Effect.sync(() => {
        if (event.event === "node-end") said(`${event.node} ended`)
      }),
    stream: Stream.empty
  })
  const store = mkdtempSync(join(tmpdir(), "millrace-captions-"))
  try {
    await Effect.runPromise(
      runRecipe(made, import.meta.url, { preset: "only", settings: [], engine: "none" }, options).pipe(
        Effect.provide(Layer.mergeAll(Stop.layer, Layer.succeed(Events, events))),
        Effect.provide(Layer.provideMerge(localStore({ root: store }), NodeFileSystem.layer))
      ) as Effect.Effect<unknown, any>
    )
    said("stored")
  } finally {
    rmSync(store, { recursive: true, force: true })
  }
}
