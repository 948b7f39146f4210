import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { record } from "../../src/cli/RunRecorder.ts"
import type { Event } from "../../src/run/Events.ts"
import { empty, reduce } from "../../src/run/Progress.ts"
import { makeThinning } from "../../src/run/Record.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { faulty, pathsUnder, temporaryFolder } from "../store/Support.ts"

const progress = (node: string, at: number): Event => ({ event: "node-progress", at, node, step: at })
const end = (node: string, at: number): Event => ({
  event: "node-end",
  at,
  node,
  kind: "fold",
  status: "ran",
  seconds: 1,
  rowsIn: 0,
  rowsOut: 0,
  refused: 0,
  refusedBy: {},
  key: "k"
})
const run: Event = { event: "run", status: "completed", nodesRun: 1, nodesCached: 0, outputs: {}, metrics: null }

const Gaps = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 900 }))), {
  minLength: 1,
  maxLength: 200
})
it.prop("progress is thinned to one a second, and the last before an end is never lost", [Gaps], ([gaps]) => {
  const thin = makeThinning()
  let at = 0
  const kept = gaps.flatMap((gap) => {
    at += gap
    return thin(progress("a", at))
  })
  const times = kept.map((event) => (event as { at: number }).at)
  expect(times.every((time, i) => i === 0 || time - times[i - 1]! >= 1000)).toBe(true)
  const closing = thin(end("a", at))
  const all = [...kept, ...closing]
  expect(all.at(-1)).toEqual(end("a", at))
  expect(all.at(-2)).toEqual(progress("a", at))
  expect(thin(run)).toEqual([run])
})

it.effect("the record says how a run stands, how it ended, and keeps its events", () =>
  Effect.gen(function* () {
    const root = mkdtempSync(join(tmpdir(), "millrace-wire-"))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const log = yield* record(root, "p", { preset: "s", engine: "wasm", settings: ["a.b=1"] })
        let view = empty
        for (const event of [progress("a", 1), progress("a", 2), end("a", 3), run]) {
          view = reduce(view, event)
          expect(yield* log.append(event, view)).toBeUndefined()
        }
        const shown = yield* RunLog.show(root, log.run)
        expect(shown).toMatchObject({
          status: "done",
          settings: { preset: "s", engine: "wasm", set: ["a.b=1"] },
          nodes: { a: { status: "ran", key: "k" } }
        })
        expect((yield* Stream.runCollect(RunLog.events(root, log.run))).map((one) => (one as Event).event)).toEqual([
          "node-progress",
          "node-progress",
          "node-end",
          "run"
        ])
      })
    )
    rmSync(root, { recursive: true })
  }).pipe(Effect.provide(NodeServices.layer))
)

it.effect("a record that cannot be written is told once and ends nothing", () =>
  Effect.gen(function* () {
    const root = mkdtempSync(join(tmpdir(), "millrace-wire-"))
    const log = yield* record(root, "p", { preset: "s", engine: "wasm", settings: [] })
    rmSync(root, { recursive: true })
    const view = reduce(empty, end("a", 1))
    expect(yield* log.append(end("a", 1), view)).toContain("the run goes on")
    expect(yield* log.append(run, view)).toBeUndefined()
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

for (const how of ["ENOSPC", "EDQUOT", "EROFS", "EACCES"])
  it.effect(
    `on a store that takes no bytes (${how}) a run has no record and goes on; once it does, the record is whole`,
    () =>
      Effect.gen(function* () {
        const root = temporaryFolder()
        const disk = { takes: false }
        const fault = faulty({ at: 0, how, lasts: true, when: (operation) => !disk.takes && operation !== "remove" })
        const start: Event = { event: "node-start", at: 3, node: "b", kind: "whole", because: [] }
        const play = (events: ReadonlyArray<Event>) =>
          Effect.scoped(
            Effect.gen(function* () {
              disk.takes = false
              const log = yield* record(root, "p", { preset: "s", engine: "wasm", settings: [] })
              expect(log.run).toBe("")
              expect(yield* log.page(() => "<html>")).toBeUndefined()
              let view = empty
              for (const event of events) {
                if (event.event === "node-start") disk.takes = true
                view = reduce(view, event)
                expect(yield* log.append(event, view)).toBeUndefined()
              }
            })
          )
        yield* Effect.gen(function* () {
          yield* play([end("a", 1), run])
          expect(yield* RunLog.list(root)).toEqual([])
          expect(pathsUnder(root)).toEqual([])
          yield* play([end("a", 1), start, end("b", 4), run])
          const [kept] = yield* RunLog.list(root)
          expect(kept).toMatchObject({ status: "done" })
          expect(Object.keys(kept!.nodes)).toEqual(["a", "b"])
          const events = yield* Stream.runCollect(RunLog.events(root, kept!.id))
          expect(events.map((event) => (event as { event: string }).event)).toEqual([
            "node-end",
            "node-start",
            "node-end",
            "run"
          ])
        }).pipe(Effect.provide(fault.layer))
      })
  )
