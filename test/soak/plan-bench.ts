/**
 * How long planning takes on a graph of 10,000 nodes with the real store: empty, and with every node cached.
 *
 *     npx tsx test/soak/plan-bench.ts [nodes]
 *
 * Not a test: it times, and on a busy machine only the processor's time means something. Nodes are a ladder (each takes
 * its two predecessors) over 20 definitions, so that every key is different. Entries are written directly, each a value
 * of a few bytes: what a run of so many nodes takes is the fsyncs.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Schema, Stream } from "effect"
import { type AnyNode, canonical, keyOf, keyParts, pipeline, type Ref, value, whole } from "../../src/dag/index.ts"
import { Events } from "../../src/run/Events.ts"
import { codeOf } from "../../src/run/PlanContext.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { type RunOptions, Stop } from "../../src/run/Run.ts"
import { planRecipe, runRecipe } from "../../src/run/Scheduler.ts"
import { valueDigest } from "../../src/store/Digests.ts"
import { layoutOf, manifestFile } from "../../src/store/Layout.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import type { Manifest } from "../../src/store/Manifest.ts"
import { Store } from "../../src/store/Store.ts"

const nodes = Number(process.argv[2] ?? "10000")
const Sum = value("sum", Schema.Number)
const first = whole(
  { id: "first", version: "1", params: Schema.Struct({ n: Schema.Int }), inputs: {}, outputs: { sum: Sum } },
  ({ params }) => Effect.succeed({ sum: Effect.succeed(params.n) })
)
const definitions = Array.from({ length: 20 }, (_, i) =>
  whole(
    {
      id: `add${i}`,
      version: "1",
      params: Schema.Struct({ n: Schema.Int }),
      inputs: { a: Sum, b: Sum },
      outputs: { sum: Sum }
    },
    ({ inputs, params }) => Effect.succeed({ sum: Effect.succeed((inputs.a + inputs.b + params.n) % 1_000_003) })
  )
)
const ladder = recipe<{}, never>({
  name: "ladder",
  presets: { only: {} },
  build: () => {
    const outs: Array<Ref<typeof Sum, never, never>> = [first({}, { n: 1 }).out.sum]
    for (let n = 1; n < nodes; n++)
      outs.push(definitions[n % 20]!.named(`n${n}`)({ a: outs[n - 1]!, b: outs[Math.max(0, n - 2)]! }, { n }).out.sum)
    return { pipeline: pipeline("ladder", { sum: outs[nodes - 1]! }) }
  },
  services: () => Layer.empty,
  engines: ["plain"],
  numerics: (engine) => engine
})
const choice = { preset: "only", settings: [], engine: "plain" }
const options: RunOptions = {
  only: [],
  from: [],
  until: [],
  force: [],
  allowStaleCode: false,
  workers: 0,
  checkpointEveryMs: 1e9
}
const quiet = Layer.succeed(Events, Events.of({ publish: () => Effect.void, stream: Stream.empty }))
const store = mkdtempSync(join(tmpdir(), "millrace-plan-bench-"))
/** Writes the entry of every node as a run would, without the run: no locks, no fsync. */
const fill = Effect.gen(function* () {
  const opened = yield* Store
  const layout = layoutOf(opened.root)
  const digests = new Map<AnyNode, string>()
  const values = new Map<AnyNode, number>()
  for (const node of ladder.build({}).pipeline.nodes) {
    const ports = Object.entries(node.inputs)
    const inputs = Object.fromEntries(ports.map(([port, ref]) => [port, digests.get(ref.node)!]))
    const value =
      ports.reduce((sum, [, ref]) => sum + values.get(ref.node)!, (node.params as { n: number }).n) % 1_000_003
    const parts = keyParts(node, inputs, "plain")
    const key = keyOf(parts)
    const code = yield* codeOf(opened, node, [])
    const digest = valueDigest("sum", value)
    digests.set(node, digest)
    values.set(node, value)
    const manifest: Manifest = {
      format: 1,
      key,
      code,
      parts,
      parents: {},
      outputs: { sum: { kind: "value", tag: "sum", digest, bytes: String(value).length, value } },
      rowsIn: 0,
      refused: {},
      refusedFiles: [],
      begunBy: [],
      peakMemory: 0
    }
    mkdirSync(layout.entry(key, code.digest), { recursive: true })
    writeFileSync(manifestFile(layout.entry(key, code.digest)), canonical(manifest))
    mkdirSync(layout.pipeline("ladder"), { recursive: true })
    writeFileSync(layout.instance("ladder", node.id), canonical({ key, code: code.digest, parts }) + "\n")
  }
})
const timed = async <A>(what: string, effect: Effect.Effect<A, any, any>): Promise<A> => {
  const started = performance.now()
  const cpu = process.cpuUsage()
  const result = await Effect.runPromise(
    effect.pipe(
      Effect.provide(Layer.mergeAll(Stop.layer, quiet)),
      Effect.provide(Layer.provideMerge(localStore({ root: join(store, "store") }), NodeFileSystem.layer))
    ) as Effect.Effect<A, any>
  )
  const { system, user } = process.cpuUsage(cpu)
  const seconds = (performance.now() - started) / 1000
  console.log(`${what}: ${seconds.toFixed(2)} s (${((system + user) / 1e6).toFixed(2)} s of processor)`)
  return result
}

console.log(`${nodes} nodes, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
try {
  const started = performance.now()
  const built: ReadonlyArray<AnyNode> = ladder.build({}).pipeline.nodes
  console.log(`building the value of ${built.length} nodes: ${((performance.now() - started) / 1000).toFixed(2)} s`)
  await timed("plan, empty store", planRecipe(ladder, choice, options))
  await timed("plan, empty store, again", planRecipe(ladder, choice, options))
  await timed("writing the entries", fill)
  const plan = await timed("plan, all cached", planRecipe(ladder, choice, options))
  console.log(`  cached: ${plan.steps.filter((step) => step.status === "cached").length}`)
  await timed("plan, all cached, again", planRecipe(ladder, choice, options))
  await timed("run, all cached", runRecipe(ladder, import.meta.url, choice, options))
} finally {
  rmSync(store, { recursive: true, force: true })
}
