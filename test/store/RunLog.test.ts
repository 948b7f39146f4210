/** A run's record says how the run ended, also when its process was killed. */
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { LEASE_MS } from "../../src/store/Lease.ts"
import * as Process from "../../src/store/Process.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { temporaryFolder } from "./Support.ts"

const node = Effect.provide(NodeFileSystem.layer)

describe("RunLog", () => {
  it.effect("ids sort by start, events keep their order, the end is written", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      yield* TestClock.setTime(Date.UTC(2026, 0, 31, 23, 59, 58))
      const ids: Array<string> = []
      for (let i = 0; i < 3; i++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const log = yield* RunLog.start(root, { pipeline: "p", settings: { preset: "sample" } })
            ids.push(log.id)
            yield* Effect.forEach([0, 1, 2, 3], (n) => log.event({ type: "rows", n }), { concurrency: "unbounded" })
            yield* log.update({ clean: "running" })
            if (i < 2) yield* log.end(i === 0 ? "done" : "failed", { clean: { rows: 3 } })
          })
        )
        yield* TestClock.adjust("1 second")
      }
      assert.match(ids[0]!, /^20260131-235958-[0-9a-f]{4}$/)
      const runs = yield* RunLog.list(root)
      assert.deepStrictEqual(
        runs.map((run) => [run.id, run.status, run.endedMs]),
        [
          [ids[2], "running", undefined],
          [ids[1], "failed", Date.UTC(2026, 0, 31, 23, 59, 59)],
          [ids[0], "done", Date.UTC(2026, 0, 31, 23, 59, 58)]
        ]
      )
      assert.deepStrictEqual(runs[1]?.nodes, { clean: { rows: 3 } })
      assert.deepStrictEqual(runs[0]?.nodes, { clean: "running" })
      assert.deepStrictEqual(
        yield* Stream.runCollect(RunLog.events(root, ids[0]!)),
        [0, 1, 2, 3].map((n) => ({ type: "rows", n }))
      )
      // Starts within one second are told apart by their time, whatever their ids.
      for (const [n, id] of ["20270101-000000-ffff", "20270101-000000-0000"].entries()) {
        const record = JSON.parse(readFileSync(join(root, "runs", ids[0]!, "run.json"), "utf8"))
        mkdirSync(join(root, "runs", id))
        const startedMs = Date.UTC(2027, 0, 1) + n
        writeFileSync(join(root, "runs", id, "run.json"), JSON.stringify({ ...record, id, startedMs }))
      }
      const order = (yield* RunLog.list(root)).map(({ id }) => id)
      assert.deepStrictEqual(order.slice(0, 2), ["20270101-000000-0000", "20270101-000000-ffff"])
      assert.include((yield* Effect.flip(RunLog.show(root, "2028"))).hint, "20270101-000000-0000")
      assert.strictEqual((yield* RunLog.show(root, ids[1]!.slice(0, 15))).id, ids[1])
      assert.include((yield* Effect.flip(RunLog.show(root, "2026"))).message, "3 runs")
    }).pipe(node)
  )

  it.live(
    "a run whose process is gone is shown as killed; a half-written event is left out, a damaged record reported",
    () =>
      Effect.gen(function* () {
        const root = temporaryFolder()
        const log = yield* Effect.scoped(
          Effect.tap(RunLog.start(root, { pipeline: "p", settings: null }), (one) => one.event({ n: "é" }))
        )
        appendFileSync(join(log.folder, "events.jsonl"), '{"n":"hal')
        const file = join(log.folder, "run.json")
        const record = JSON.parse(readFileSync(file, "utf8"))
        writeFileSync(file, JSON.stringify({ ...record, process: { ...record.process, start: "1" } }))
        assert.strictEqual((yield* RunLog.list(root))[0]?.status, "killed")
        assert.strictEqual((yield* RunLog.show(root, log.id)).status, "killed")
        assert.deepStrictEqual(yield* Stream.runCollect(RunLog.events(root, log.id)), [{ n: "é" }])
        // A listing takes a record exactly where its Schema does.
        const valid = Schema.is(Schema.toType(RunLog.RunRecord))
        for (const name of Object.keys(record))
          for (const value of [undefined, null, [], {}, "", 1, [1], { a: null }, { a: { b: [] } }]) {
            const altered = JSON.stringify({ ...record, [name]: value })
            writeFileSync(file, altered)
            const listed = (yield* RunLog.list(root)).length === 1
            assert.strictEqual(listed, valid(JSON.parse(altered)), altered)
          }
        for (const text of ["{", "", "[]", "null"]) {
          writeFileSync(file, text)
          assert.deepStrictEqual(yield* RunLog.list(root), [])
        }
        rmSync(file)
        assert.deepStrictEqual(yield* RunLog.list(root), [])
      }).pipe(node)
  )

  it.live("a run that cannot be seen is running while its lease is renewed, and was killed once it is not", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const scope = yield* Scope.make()
      const log = yield* Scope.provide(RunLog.start(root, { pipeline: "p", settings: null }), scope)
      const file = join(log.folder, "run.json")
      const lockFile = join(log.folder, "run.lock")
      const elsewhere = (path: string) =>
        writeFileSync(path, readFileSync(path, "utf8").replaceAll(Process.self().boot, "another boot"))
      elsewhere(file)
      elsewhere(lockFile)
      const status = Effect.map(RunLog.list(root), ([run]) => run?.status)
      assert.strictEqual(yield* status, "running")
      const old = new Date(Date.now() - 10 * LEASE_MS)
      utimesSync(lockFile, old, old)
      assert.strictEqual(yield* status, "killed")
      assert.strictEqual((yield* RunLog.show(root, log.id)).status, "killed")
      rmSync(lockFile) // what `settleRuns` does once the lease is over
      assert.strictEqual(yield* status, "killed")
      assert.deepStrictEqual(readdirSync(log.folder).sort(), ["events.jsonl", "run.json"])
      yield* Scope.close(scope, Exit.void)
    }).pipe(node)
  )
})
