/**
 * How long a collection takes: 3,000 entries that nothing reaches (300 of twelve files, the others a manifest alone),
 * and the 500 checkpoints of a finished fold (three files each).
 *
 *     npx tsx test/soak/gc-bench.ts [entries] [checkpoints]
 *
 * Not a test: it times, and on a busy machine only the processor's time means something. Files are written directly;
 * they lie in the temporary folder.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, type FileSystem, Layer, Stream } from "effect"
import { sha256 } from "../../src/dag/Canonical.ts"
import { type KeyParts, keyOf } from "../../src/dag/Key.ts"
import * as Gc from "../../src/store/Gc.ts"
import { checkpointsFolder, layoutOf, manifestFile, portFolder } from "../../src/store/Layout.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { Store } from "../../src/store/Store.ts"

const entries = Number(process.argv[2] ?? "3000")
const checkpoints = Number(process.argv[3] ?? "500")
const folder = mkdtempSync(join(tmpdir(), "millrace-gc-bench-"))
const root = join(folder, "store")
const layout = layoutOf(root)
const code = sha256("code")

const fillEntries = Effect.sync(() => {
  for (let i = 0; i < entries; i++) {
    const entry = layout.entry(sha256(`entry ${i}`), code)
    mkdirSync(portFolder(entry, "rows"), { recursive: true })
    writeFileSync(manifestFile(entry), JSON.stringify({ format: 2, key: sha256(`other ${i}`) }))
    if (i % 10 === 0)
      for (let file = 0; file < 11; file++) writeFileSync(join(portFolder(entry, "rows"), `${file}.jsonl`), "{}\n")
  }
})

const fillCheckpoints = Effect.gen(function* () {
  const store = yield* Store
  const parts: KeyParts = {
    definition: "fold",
    version: "1",
    params: {},
    inputs: {},
    formats: {},
    artifact: 1
  }
  const key = keyOf(parts)
  const found = yield* Effect.scoped(
    Effect.gen(function* () {
      const work = yield* store.begin({
        key,
        code: { digest: code, weak: false, files: [], packages: {} },
        allowStaleCode: false,
        fresh: false
      })
      return yield* work.commit({
        parts,
        parents: {},
        shards: [],
        values: {},
        outputs: {},
        peakMemory: 0
      })
    })
  )
  yield* store.remember("p", "fold", { key, code: found.manifest.code.digest, parts: found.manifest.parts })
  for (let i = 0; i < checkpoints; i++) {
    const one = join(checkpointsFolder(found.folder), `step-${String(i).padStart(9, "0")}`)
    mkdirSync(one, { recursive: true })
    for (const name of ["weights", "moments", "list.json"]) writeFileSync(join(one, name), Buffer.alloc(1000))
  }
})

const timed = async <A>(what: string, effect: Effect.Effect<A, unknown, Store | FileSystem.FileSystem>): Promise<A> => {
  const started = performance.now()
  const cpu = process.cpuUsage()
  const files = Layer.provideMerge(localStore({ root }), NodeFileSystem.layer)
  const result = await Effect.runPromise(Effect.provide(effect, files) as Effect.Effect<A, never>)
  const { system, user } = process.cpuUsage(cpu)
  const seconds = (performance.now() - started) / 1000
  console.log(`${what}: ${seconds.toFixed(2)} s (${((system + user) / 1e6).toFixed(2)} s of processor)`)
  return result
}

const measure = async (what: string) => {
  const plan = await timed(`${what}, gc`, Gc.plan(root))
  console.log(`  ${plan.garbage.length} things`)
  await timed(`${what}, gc --collect`, Gc.collect(root, plan))
  const left = await Effect.runPromise(Effect.provide(Gc.plan(root), NodeFileSystem.layer) as Effect.Effect<Gc.GcPlan>)
  console.log(`  ${left.garbage.length} left`)
}

console.log(`node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}, ${folder}`)
try {
  await timed("opening the store", Effect.asVoid(Stream.runDrain(Stream.empty)))
  await timed("writing entries", fillEntries)
  await measure(`${entries} entries`)
  await timed("writing checkpoints", fillCheckpoints)
  await measure(`${checkpoints} checkpoints`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
