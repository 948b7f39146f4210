/**
 * How long one entry of 100,000 shards of a row each takes: a plan, the same plan again, and `--verify`.
 *
 *     npx tsx test/soak/shards-bench.ts [shards]
 *
 * Not a test: it times, and on a busy machine only the processor's time means something. The entry is written directly,
 * files and records as a run would, without locks and fsyncs. 200,000 small files in the temporary folder.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Schema, Stream } from "effect"
import { keyOf, keyParts, pipeline, rows, sha256, whole } from "../../src/dag/index.ts"
import { Events } from "../../src/run/Events.ts"
import { codeOf } from "../../src/run/PlanContext.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { type RunOptions, Stop } from "../../src/run/Run.ts"
import { planRecipe, runRecipe } from "../../src/run/Scheduler.ts"
import { checksummed } from "../../src/store/Checksum.ts"
import { rowsDigest } from "../../src/store/Digests.ts"
import { layoutOf, manifestFile, portFolder, recordFile, recordsFolder, shardFile } from "../../src/store/Layout.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import type { Manifest, ShardRecord } from "../../src/store/Manifest.ts"
import { Store } from "../../src/store/Store.ts"

/** A process of its own plans in the folder that it is given: nothing is compiled before it reads. */
const given = process.argv[2] === "plan" ? process.argv[3] : undefined
const count = given === undefined ? Number(process.argv[2] ?? "100000") : 0
const Numbers = rows("numbers", Schema.Struct({ n: Schema.Int }))
const make = whole(
  { id: "make", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Numbers } },
  () => Effect.succeed({ rows: Stream.empty })
)
const many = recipe<{}, never>({
  name: "many",
  presets: { only: {} },
  build: () => ({ pipeline: pipeline("many", { rows: make({}, {}).out.rows }) }),
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
const folder = given ?? mkdtempSync(join(tmpdir(), "millrace-shards-bench-"))

const fill = Effect.gen(function* () {
  const store = yield* Store
  const layout = layoutOf(store.root)
  const node = many.build({}).pipeline.nodes[0]!
  const parts = keyParts(node, {}, "plain")
  const key = keyOf(parts)
  const code = yield* codeOf(store, node, [])
  const entry = layout.entry(key, code.digest)
  mkdirSync(portFolder(entry, "rows"), { recursive: true })
  mkdirSync(recordsFolder(entry))
  const shards = Array.from({ length: count }, (_, index) => {
    const text = `{"n":${index}}\n`
    const shard = { file: shardFile(index, "jsonl"), rows: 1, bytes: text.length, sha256: sha256(text) }
    const record: ShardRecord = { key, index, rowsIn: 1, ports: { rows: shard }, refused: {}, peakMemory: 0 }
    writeFileSync(join(portFolder(entry, "rows"), shard.file), text)
    writeFileSync(recordFile(entry, index), checksummed(record))
    return shard
  })
  const format = Numbers.format.id
  const manifest: Manifest = {
    format: 2,
    key,
    code,
    parts,
    parents: {},
    outputs: {
      rows: {
        kind: "rows",
        tag: Numbers.tag,
        format,
        transient: false,
        digest: rowsDigest(Numbers.tag, format, shards),
        rows: count,
        bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
        shards
      }
    },
    rowsIn: count,
    refused: {},
    refusedFiles: [],
    begunBy: [],
    peakMemory: 0
  }
  writeFileSync(manifestFile(entry), checksummed(manifest))
})

const timed = async <A>(what: string, effect: Effect.Effect<A, any, any>): Promise<A> => {
  const started = performance.now()
  const cpu = process.cpuUsage()
  const result = await Effect.runPromise(
    effect.pipe(
      Effect.provide(Layer.mergeAll(Stop.layer, quiet)),
      Effect.provide(Layer.provideMerge(localStore({ root: join(folder, "store") }), NodeFileSystem.layer))
    ) as Effect.Effect<A, any>
  )
  const { system, user } = process.cpuUsage(cpu)
  const seconds = (performance.now() - started) / 1000
  const peak = process.resourceUsage().maxRSS / 1024
  console.log(
    `${what}: ${seconds.toFixed(2)} s (${((system + user) / 1e6).toFixed(2)} s of processor), peak ${peak.toFixed(0)} MiB`
  )
  return result
}

if (given !== undefined) {
  await timed("plan, in a process of its own", planRecipe(many, choice, options))
  process.exit()
}
console.log(`${count} shards, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
try {
  await timed("writing the entry", fill)
  execFileSync(process.execPath, [...process.execArgv, process.argv[1]!, "plan", folder], { stdio: "inherit" })
  const plan = await timed("plan", planRecipe(many, choice, options))
  console.log(`  ${plan.steps.map((step) => step.status).join(", ")}`)
  await timed("plan, again", planRecipe(many, choice, options))
  const run = await timed("run --verify", runRecipe(many, import.meta.url, choice, { ...options, verify: true }))
  console.log(`  ${run.nodesCached} cached, ${run.nodesRun} ran`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
