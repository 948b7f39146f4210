/** Files of the projects that the package is tried in. They run there, where `millrace` is installed, and not here. */

/** A recipe whose rows say which thread made them. */
export const threads = `
import { isMainThread } from "node:worker_threads"
import { Effect, Layer, Schema, Stream } from "effect"
import { run } from "millrace/cli"
import { pipeline, rows, sharded, value, whole } from "millrace/dag"
import { recipe } from "millrace/run"

const Made = rows("made", Schema.Struct({ main: Schema.Boolean }))
const Report = value("report", Schema.Struct({ main: Schema.Int, elsewhere: Schema.Int }))
const made = sharded(
  { id: "made", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Made }, runs: "worker" },
  () => ({ rows: Stream.make([{ main: isMainThread }, { main: isMainThread }]) })
)
const count = whole(
  { id: "count", version: "1", params: Schema.Struct({}), inputs: { rows: Made }, outputs: { report: Report } },
  ({ inputs }) =>
    Effect.succeed({
      report: Stream.runFold(inputs.rows.batches, () => ({ main: 0, elsewhere: 0 }), (sum, batch) => ({
        main: sum.main + batch.filter((row) => row.main).length,
        elsewhere: sum.elsewhere + batch.filter((row) => !row.main).length
      }))
    })
)
const threads = recipe({
  name: "threads",
  presets: { only: {} },
  build: () => ({
    pipeline: pipeline("threads", { report: count({ rows: made({}, {}).out.rows }, {}).out.report })
  }),
  services: () => Layer.empty,
  engines: ["none"],
  numerics: (engine) => engine,
  summary: (values) => ({ metrics: values as never, lines: [] })
})
export default threads
run(import.meta, threads)
`
/** Mistakes that the shipped declarations must refuse. */
export const wrong = `
import { source } from "millrace/dag"
import { shout, TextFile } from "./nodes.ts"
const text = source(TextFile, { id: "text", location: "words.txt" })
// @ts-expect-error: a file is no rows of words
export const one = () => shout({ rows: text.out.files }, { longest: 5 })
// @ts-expect-error: longest is a number
export const two = (rows: never) => shout({ rows }, { longest: "5" })
// @ts-expect-error: internal
import("millrace/src/dag/Key.js")
`
/** Prints the packages that importing its arguments loads. */
export const loads = `
import { registerHooks } from "node:module"
const found = new Set()
registerHooks({
  resolve: (name, context, next) => {
    const resolved = next(name, context)
    const path = resolved.url.split("/node_modules/").at(-1)
    if (resolved.url.includes("/node_modules/")) found.add(path.split("/", path.startsWith("@") ? 2 : 1).join("/"))
    return resolved
  }
})
for (const name of process.argv.slice(2)) await import(name)
console.log(JSON.stringify([...found].sort()))
`

/** Says of each entry given whether it loads, or which package it misses. */
export const say = `
import { PackageMissing } from "millrace/dag"
for (const entry of process.argv.slice(2))
  await import(entry).then(
    () => console.log(entry, "works"),
    (error) => console.log(entry, error instanceof PackageMissing, error.package, error.hint.split(" (")[0])
  )
`

/** Prints the code digest of each file given, by the installed code: it knows its own folders as the framework. */
export const digests = `
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect } from "effect"
import { make } from "./node_modules/millrace/dist/src/store/CodeDigest.js"
import { layoutOf } from "./node_modules/millrace/dist/src/store/Layout.js"
const codes = await Effect.runPromise(
  make(layoutOf("digests"), { readOnly: true }).pipe(Effect.provide(NodeFileSystem.layer))
)
for (const file of process.argv.slice(2)) {
  const code = await Effect.runPromise(codes.digest({ file, assets: [] }))
  console.log(code.weak ? "weak" : code.digest)
}
`

/** A node of a user's own on the graph and on one of the package's texts. */
export const uses = `
import { Schema } from "effect"
import { rows, sharded } from "millrace/dag"
import { Conversation } from "millrace/text/Conversation"
const Talk = rows("talk", Conversation)
export const same = sharded(
  { id: "same", version: "1", params: Schema.Struct({}), inputs: { rows: Talk }, outputs: { rows: Talk } },
  ({ shard }) => ({ rows: shard.rows })
)
`

/**
 * Says of each engine which one it is here, and what a sum is on it; "cache" prints where an addon is looked for last.
 */
export const sums = `
import { Effect } from "effect"
import { layer, resolve } from "millrace/tensor/Engine"
import { tf } from "millrace/tensor/Ops"
import { Tensors } from "millrace/tensor/Tensors"
const sum = Effect.gen(function* () {
  const tensors = yield* Tensors
  const made = yield* tensors.run(() => tf.sum(tf.ones([10])))
  return [tensors.fingerprint.engine, (yield* tensors.read(made))[0]]
})
for (const name of process.argv.slice(2))
  if (name === "cache") {
    const { cacheFolder } = await import("./node_modules/millrace/dist/src/tensor/torch/Place.js")
    console.log(cacheFolder())
  } else {
    const [engine, value] = await Effect.runPromise(sum.pipe(Effect.provide(layer(name))))
    console.log(resolve(name).engine, engine, value)
  }
`
