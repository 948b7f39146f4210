/**
 * Wrong wiring is a compile error, and error and service types are inferred exactly. `tsc` is the judge of this file.
 */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Result, Schema, Stream } from "effect"
import {
  broadcast,
  fold,
  Node,
  pipeline,
  rows,
  scope,
  sharded,
  source,
  tree,
  value,
  whole,
  withOverrides
} from "../../src/dag/index.ts"

class Gpu extends Context.Service<Gpu, { readonly matmul: Effect.Effect<void> }>()("test/Gpu") {}
class Disk extends Context.Service<Disk, { readonly lines: Stream.Stream<string> }>()("test/Disk") {}
class BadRow extends Schema.TaggedError<BadRow>()("BadRow", { line: Schema.Int }) {}
class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { reason: Schema.Literals(["empty", "long"]) }) {}

const Text = Schema.Struct({ id: Schema.String, text: Schema.String })
const None = Schema.Struct({})
const ShareGpt = rows("sharegpt", Text)
const Vicuna = rows("vicuna", Text)
const Tokens = rows("tokens", Schema.Struct({ id: Schema.String, ids: Schema.Array(Schema.Int) }))
const Raw = tree("raw-file")
const Weights = tree("weights")
const Report = value("report", Schema.Struct({ seen: Schema.Number }))

const load = whole({ id: "load", version: "1", params: None, inputs: { file: Raw }, outputs: { rows: ShareGpt } }, () =>
  Effect.succeed({
    rows: Stream.unwrap(Effect.map(Disk, (disk) => Stream.map(disk.lines, (text) => [{ id: "a", text }])))
  })
)
const convert = sharded(
  {
    id: "convert",
    version: "1",
    params: None,
    inputs: { rows: ShareGpt },
    outputs: { rows: Vicuna },
    refuses: [Refusal]
  },
  ({ shard, mapEffectOrRefuse }) => ({
    rows: mapEffectOrRefuse(shard.rows, (row) =>
      row.id === ""
        ? Effect.fail(new BadRow({ line: 0 }))
        : row.text === ""
          ? Effect.fail(new Refusal({ reason: "empty" }))
          : Effect.succeed(row)
    )
  })
)
const tokenize = sharded(
  {
    id: "tokenize",
    version: "1",
    params: Schema.Struct({ size: Schema.Int, seed: Schema.optional(Schema.Int) }),
    inputs: { rows: Vicuna, weights: broadcast(Weights) },
    outputs: { rows: Tokens }
  },
  ({ params, shard }) => ({
    rows: Stream.map(shard.rows, (batch) => batch.map((row) => ({ id: row.id, ids: [params.size] })))
  })
)
const train = fold(
  {
    id: "train",
    version: "1",
    params: Schema.Struct({ steps: Schema.Int }),
    inputs: { rows: Tokens },
    outputs: { model: Weights, report: Report }
  },
  {
    init: ({ params }) => Effect.succeed({ at: 0, to: params.steps }),
    step: (_, state) =>
      Effect.as(
        Effect.flatMap(Gpu, (gpu) => gpu.matmul),
        { ...state, at: state.at + 1 }
      ),
    progress: (state) => ({ step: state.at, total: state.to, metrics: {} }),
    finish: (_, state) =>
      Effect.succeed({
        model: (_folder: string) => Effect.void,
        report: Effect.succeed({ seen: state.at })
      }),
    state: {
      encode: () => Effect.succeed(new Map()),
      decode: ({ params }) => Effect.succeed({ at: 0, to: params.steps })
    }
  }
)

const file = source(Raw, { id: "raw", location: "somewhere.json" })
const weights = source(Weights, { id: "weights", location: "w" })
const loaded = load({ file: file.out.files }, {})
const converted = convert({ rows: loaded.out.rows }, {})
const tokens = tokenize({ rows: converted.out.rows, weights: weights.out.files }, { size: 336 })
const model = train({ rows: tokens.out.rows }, { steps: 3 })
const recipe = pipeline("recipe", { model: model.out.model, report: model.out.report })

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const errors: Equal<(typeof recipe)["~"]["e"], BadRow> = true
const services: Equal<(typeof recipe)["~"]["r"], Gpu | Disk> = true

// Each of these lines must stay an error; the thunks are never called.
const mistakes = [
  // @ts-expect-error an artifact of identical shape and another tag
  () => tokenize({ rows: loaded.out.rows, weights: weights.out.files }, { size: 1 }),
  // @ts-expect-error a missing input
  () => tokenize({ rows: converted.out.rows }, { size: 1 }),
  // @ts-expect-error a wrong port name
  () => tokenize({ row: converted.out.rows, weights: weights.out.files }, { size: 1 }),
  // @ts-expect-error a port too many
  () => convert({ rows: loaded.out.rows, more: loaded.out.rows }, {}),
  // @ts-expect-error no such output
  () => tokens.out.images,
  // @ts-expect-error a parameter of the wrong type
  () => tokenize({ rows: converted.out.rows, weights: weights.out.files }, { size: "x" }),
  // @ts-expect-error a missing parameter
  () => tokenize({ rows: converted.out.rows, weights: weights.out.files }, {}),
  // @ts-expect-error a tree where rows are wanted
  () => convert({ rows: weights.out.files }, {}),
  () =>
    sharded({ id: "b", version: "1", params: None, inputs: {}, outputs: { rows: Vicuna } }, () => ({
      // @ts-expect-error a row of the wrong type
      rows: Stream.make([{ id: 3, text: "" }])
    })),
  () =>
    // @ts-expect-error an output left out
    sharded({ id: "b", version: "1", params: None, inputs: {}, outputs: { rows: Vicuna, more: Vicuna } }, () => ({
      rows: Stream.make([{ id: "", text: "" }])
    })),
  () =>
    sharded(
      { id: "b", version: "1", params: None, inputs: { rows: Vicuna }, outputs: { rows: Vicuna }, refuses: [Refusal] },
      ({ shard, flatMap }) => ({
        // @ts-expect-error a refusal that is not declared
        rows: flatMap(shard.rows, () => Result.fail(new BadRow({ line: 1 })))
      })
    )
]

it("infers errors without refusals, and the services of every node", () => {
  expect([errors, services]).toEqual([true, true])
  expect(mistakes.length).toBe(11)
  expect(recipe.nodes.map((node) => node.id)).toEqual(["raw", "load", "convert", "weights", "tokenize", "train"])
})

it("a clash of instance ids is an error that shows both places", () => {
  const again = () =>
    pipeline("two", {
      a: convert({ rows: loaded.out.rows }, {}).out.rows,
      b: convert({ rows: loaded.out.rows }, {}).out.rows
    })
  expect(again).toThrow(/two nodes are called "convert": one at .*Wiring\.test\.ts:\d+, one at .*Wiring\.test\.ts:\d+/)
  const scoped = pipeline("two", {
    a: scope("left", () => convert({ rows: loaded.out.rows }, {})).out.rows,
    b: convert.named("right")({ rows: loaded.out.rows }, {}).out.rows
  })
  expect(scoped.nodes.map((node) => node.id)).toEqual(["raw", "load", "left/convert", "right"])
})

it("an override reaches the instance it names and no other, and a wrong name is an error", () => {
  const build = () =>
    scope("instruct", () => tokenize({ rows: converted.out.rows, weights: weights.out.files }, { size: 336 }))
  expect(withOverrides({ settings: ["instruct/tokenize.size=28"] }, build).params).toEqual({ size: 28 })
  expect(() => withOverrides({ settings: ["tokenize.size=28"] }, build)).toThrow(/no node is called "tokenize"/)
  expect(() => withOverrides({ settings: ["instruct/tokenize.siz=28"] }, build)).toThrow(/has no parameter "siz"/)
  expect(() => withOverrides({ settings: ["instruct/tokenize.size=big"] }, build)).toThrow(/parameter size: expected /)
})

it.effect("a node runs alone: rows in, rows and refused rows out", () =>
  Effect.gen(function* () {
    const { out, refused } = yield* Node.run(
      convert,
      {
        rows: [
          { id: "a", text: "x" },
          { id: "b", text: "" }
        ]
      },
      {}
    )
    expect(out.rows).toEqual([{ id: "a", text: "x" }])
    expect(refused).toEqual([{ row: 1, reason: "Refusal: empty", error: { _tag: "Refusal", reason: "empty" } }])
    const trained = yield* Node.run(
      train,
      { rows: [] },
      { steps: 3 },
      { into: mkdtempSync(join(tmpdir(), "millrace-")) }
    ).pipe(Effect.provideService(Gpu, { matmul: Effect.void }))
    expect(trained.out.report).toEqual({ seen: 3 })
  })
)
