/** A transient port gives its readers what a stored one would: all of it, to each, however they read it. */
import { join } from "node:path"
import { Effect, Layer, Schema, Stream } from "effect"
import { expect, test } from "vitest"
import { pipeline, rows, sharded, transient, whole } from "../../src/dag/index.ts"
import { WiringError } from "../../src/dag/Node.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { reportExit, runOnce } from "./fixtures/RunOnce.ts"
import { digestsOf, freshFolder } from "./Harness.ts"

const Row = Schema.Struct({ n: Schema.Number })
const Numbers = rows("numbers", Row)
const empty = Schema.Struct({})

const make = whole(
  {
    id: "make",
    version: "1",
    params: Schema.Struct({ shardRows: Schema.Int }),
    inputs: {},
    outputs: { rows: Numbers }
  },
  () =>
    Effect.succeed({
      rows: Stream.fromIterable(Array.from({ length: 50 }, (_, i) => [{ n: 2 * i }, { n: 2 * i + 1 }]))
    })
)

const graph = (mark: (artifact: typeof Numbers) => typeof Numbers) => {
  // Two ports of the same work, in one stream of batches.
  const cut = sharded(
    {
      id: "cut",
      version: "1",
      params: empty,
      inputs: { rows: Numbers },
      outputs: { even: mark(Numbers), odd: mark(Numbers) }
    },
    ({ shard }) =>
      Stream.map(shard.rows, (batch) => ({
        even: batch.filter(({ n }) => n % 2 === 0),
        odd: batch.filter(({ n }) => n % 2 === 1)
      }))
  )
  // Reads one of the two ports, for two outputs: the stream is run twice.
  const both = sharded(
    { id: "both", version: "1", params: empty, inputs: { rows: Numbers }, outputs: { plus: Numbers, minus: Numbers } },
    ({ shard }) => ({
      plus: Stream.map(shard.rows, (batch) => batch.map(({ n }) => ({ n: n + 1 }))),
      minus: Stream.map(shard.rows, (batch) => batch.map(({ n }) => ({ n: -n })))
    })
  )
  // Reads both ports side by side; itself transient, so that streams nest.
  const zip = sharded(
    {
      id: "zip",
      version: "1",
      params: empty,
      inputs: { a: Numbers, b: Numbers },
      outputs: { rows: mark(Numbers) }
    },
    ({ shard }) => ({ rows: Stream.concat(shard.a, shard.b) })
  )
  const keep = sharded(
    { id: "keep", version: "1", params: empty, inputs: { rows: Numbers }, outputs: { rows: Numbers } },
    ({ shard }) => ({ rows: shard.rows })
  )
  return recipe<{}, never>({
    name: "streams",
    presets: { sample: {} },
    build: () => {
      const halves = cut({ rows: make({}, { shardRows: 16 }).out.rows }, {})
      const twice = both({ rows: halves.out.odd }, {})
      const zipped = zip({ a: halves.out.even, b: halves.out.odd }, {})
      const kept = keep({ rows: zipped.out.rows }, {})
      return {
        pipeline: pipeline("streams", { plus: twice.out.plus, minus: twice.out.minus, kept: kept.out.rows })
      }
    },
    services: () => Layer.empty,
    engines: ["plain"],
    numerics: (engine) => engine
  })
}

const run = async (mark: (artifact: typeof Numbers) => typeof Numbers) => {
  const { exit } = await Effect.runPromise(
    runOnce(graph(mark), import.meta.url, { store: join(freshFolder(), "store") })
  )
  return reportExit(exit)
}

test("digests are those of stored ports, also where a port is read twice, in part or through another", async () => {
  const stored = await run((artifact) => artifact)
  const streamed = await run(transient)
  expect(stored).toMatchObject({ status: "completed", nodesRun: 5 })
  expect(streamed).toMatchObject({ status: "completed", nodesRun: 5 })
  expect(digestsOf(streamed)).toEqual(digestsOf(stored))
})

test("a transient output of a node that is not sharded cannot be wired to a reader", () => {
  const made = whole(
    { id: "made", version: "1", params: empty, inputs: {}, outputs: { rows: transient(Numbers) } },
    () => Effect.succeed({ rows: Stream.empty })
  )
  const reader = sharded(
    { id: "reader", version: "1", params: empty, inputs: { rows: Numbers }, outputs: { rows: Numbers } },
    ({ shard }) => ({ rows: shard.rows })
  )
  expect(() => reader({ rows: made({}, {}).out.rows }, {})).toThrow(WiringError)
})
