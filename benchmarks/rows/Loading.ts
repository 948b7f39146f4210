/**
 * The share of a step that waits for its batch: with a thread that loads, and with batches loaded by the thread that
 * trains.
 *
 * 16 images of 336 x 336 a step from Arrow shards, a small model. Both runs take the same steps to the same losses.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { Events } from "../../src/run/Events.ts"
import { Stop } from "../../src/run/Run.ts"
import { runRecipe } from "../../src/run/Scheduler.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { type Benchmark, median } from "../Row.ts"
import loading, { type Waits } from "../work/LoadingRecipe.ts"

const module = new URL("../work/LoadingRecipe.ts", import.meta.url).href
const quiet = Layer.succeed(Events, Events.of({ publish: () => Effect.void, stream: Stream.empty }))
type Told = typeof Waits.schema.Type

/** Threads of a run: one, or another one that loads. */
const THREADS = { here: 1, loader: 2 }

const run = async (store: string, engine: string, workers: number, round: number): Promise<Told> => {
  const options = {
    only: [],
    from: [],
    until: [],
    force: [],
    workers,
    checkpointEveryMs: 1e9
  }
  const { values } = await Effect.runPromise(
    runRecipe(loading, module, { preset: "small", settings: [`measured.round=${round}`], engine }, options).pipe(
      Effect.provide(Layer.mergeAll(Stop.layer, quiet)),
      Effect.provide(Layer.provideMerge(localStore({ root: store }), NodeFileSystem.layer))
    )
  )
  return values["waits"] as Told
}

const share = ({ seconds, waited }: Told): number => (100 * waited) / seconds

/** The row of `npm run bench -- loading`. */
export const loadingRows = (engine: string): ReadonlyArray<Benchmark> => [
  {
    name: `loading-${engine}`,
    about: "share of a step that waits for images",
    unit: "%",
    better: "less",
    goal: null,
    peerName: "loaded by the thread that trains",
    run: async (context) => {
      const store = mkdtempSync(join(context.data, "store-"))
      const ours: Array<Told> = []
      const peer: Array<Told> = []
      let rounds = 0
      try {
        for (let round = 0; round < (context.size === "full" ? 9 : 3); round++)
          for (const who of round % 2 === 0 ? (["here", "loader"] as const) : (["loader", "here"] as const))
            (who === "here" ? peer : ours).push(await run(store, engine, THREADS[who], rounds++))
      } finally {
        rmSync(store, { recursive: true, force: true })
      }
      const rate = (all: ReadonlyArray<Told>) => median(all.map(({ seconds, steps }) => steps / seconds)).toFixed(2)
      const losses = new Set([...ours, ...peer].map((one) => JSON.stringify(one.losses)))
      return {
        ours: ours.map(share),
        peer: peer.map(share),
        note: `16 images of 336 px a step: ${rate(ours)} steps/s, without a loader ${rate(peer)}; the same losses`,
        wrong: losses.size === 1 ? undefined : "the losses differ"
      }
    }
  }
]
