import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { Event } from "../../src/run/Events.ts"
import {
  bytes,
  clip,
  duration,
  empty,
  ended,
  endLine,
  figure,
  figures,
  liveLines,
  type NodeView,
  number,
  rate,
  reduce,
  remainingMs,
  running,
  runningLine,
  startLine,
  type View
} from "../../src/run/Progress.ts"

const of = (...events: ReadonlyArray<Event>): View => events.reduce(reduce, empty)
const nodeOf = (view: View, id: string): NodeView => view.nodes.get(id)!
const start = (node: string, at: number, more: object = {}): Event => ({
  event: "node-start",
  at,
  node,
  kind: "sharded",
  because: [],
  ...more
})
const progress = (node: string, at: number, more: object): Event => ({ event: "node-progress", at, node, ...more })
const end = (node: string, at: number, more: object = {}): Event => ({
  event: "node-end",
  at,
  node,
  kind: "sharded",
  status: "ran",
  seconds: 2,
  rowsIn: 10,
  rowsOut: 8,
  refused: 2,
  refusedBy: { TooShort: 2 },
  ...more
})

describe("reduce", () => {
  it("follows a node from start to end and keeps the figures of each step", () => {
    const view = of(
      { event: "start", at: 0, run: "r", pipeline: "p", preset: "s", nodes: 2 },
      { event: "node-start", at: 10, node: "sft", kind: "fold", because: ["parameter lr 1 to 2"], resumedAt: 40 },
      progress("sft", 1000, { step: 41, total: 100, metrics: { loss: 3, lr: 0.1 } }),
      progress("sft", 2000, { step: 42, total: 100, metrics: { loss: 2.5 } }),
      { event: "checkpoint", at: 2100, node: "sft", step: 42 }
    )
    const node = nodeOf(view, "sft")
    expect([node.step, node.total, node.resumedAt, node.checkpoint]).toEqual([42, 100, 40, 42])
    expect(node.metrics).toEqual({ loss: 2.5, lr: 0.1 })
    expect(running(view).map((one) => one.id)).toEqual(["sft"])
    const done = reduce(view, end("sft", 3000, { kind: "fold" }))
    expect([running(done).length, ended(done, "ran"), ended(done, "cached")]).toEqual([0, 1, 0])
    expect(nodeOf(view, "sft").end).toBeUndefined()
  })

  it("ignores progress that comes before the start or after the end", () => {
    expect(of(progress("a", 1, { rows: 3 })).nodes.size).toBe(0)
    const view = of(start("a", 0), end("a", 10))
    expect(reduce(view, progress("a", 20, { rows: 99 }))).toBe(view)
  })

  it("counts cached nodes that never started, and no sources", () => {
    const view = of(end("a", 1, { status: "cached" }), end("raw", 1, { kind: "source", status: "cached" }))
    expect(ended(view, "cached")).toBe(1)
  })

  const Steps = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4000 }))), {
    maxLength: 400
  })
  it.prop("keeps a bounded window of points, in order, whatever the pace", [Steps], ([gaps]) => {
    let at = 0
    let view = of(start("a", 0))
    gaps.forEach((gap, i) => {
      at += gap
      view = reduce(view, progress("a", at, { rows: i + 1 }))
    })
    const { samples } = nodeOf(view, "a")
    expect(samples.length).toBeLessThanOrEqual(260)
    expect(samples.every((one, i) => i === 0 || samples[i - 1]!.at <= one.at)).toBe(true)
    if (gaps.length > 0) expect(samples[samples.length - 1]).toEqual({ at, count: gaps.length })
    const speed = rate(nodeOf(view, "a"), at)
    expect(speed === undefined || (Number.isFinite(speed) && speed >= 0)).toBe(true)
  })
})

describe("rates and remaining time", () => {
  it("are absent until they are known", () => {
    const fresh = of({ event: "node-start", at: 0, node: "f", kind: "fold", because: [] })
    expect([rate(nodeOf(fresh, "f"), 5000), remainingMs(nodeOf(fresh, "f"), 5000)]).toEqual([undefined, undefined])
    const once = reduce(fresh, progress("f", 1000, { step: 1, total: 10 }))
    expect([rate(nodeOf(once, "f"), 1000), remainingMs(nodeOf(once, "f"), 1000)]).toEqual([undefined, undefined])
    expect(runningLine(nodeOf(once, "f"), 1000)).toBe("f  step 1/10  1.0 s")
    const whole = of(start("w", 0, { kind: "whole", rowsIn: 1000 }), progress("w", 1000, { rows: 10 }))
    expect(remainingMs(nodeOf(reduce(whole, progress("w", 9000, { rows: 900 })), "w"), 9000)).toBeUndefined()
  })

  it("are measured, not counted from a resumed start", () => {
    let view = of({ event: "node-start", at: 0, node: "f", kind: "fold", because: [], resumedAt: 500 })
    for (let step = 501; step <= 505; step++)
      view = reduce(view, progress("f", 60_000 + (step - 501) * 2000, { step, total: 605 }))
    const node = nodeOf(view, "f")
    expect(rate(node, 68_000)).toBeCloseTo(0.5)
    expect(remainingMs(node, 68_000)).toBeCloseTo(200_000)
    const sharded = of(
      start("s", 0, { shards: 10, shardsDone: 6 }),
      progress("s", 10_000, { rows: 100, shardsDone: 7 }),
      progress("s", 20_000, { rows: 200, shardsDone: 8 })
    )
    expect(remainingMs(nodeOf(sharded, "s"), 20_000)).toBe(20_000)
  })

  it("slow down on the screen when a node stalls", () => {
    let view = of(start("a", 0))
    for (let i = 0; i <= 10; i++) view = reduce(view, progress("a", 1000 + i * 1000, { rows: i * 100 }))
    const node = nodeOf(view, "a")
    expect(rate(node, 11_500)).toBeCloseTo(100)
    expect(rate(node, 111_000)!).toBeLessThan(10)
  })

  it("look at the last half minute only", () => {
    let view = of(start("a", 0))
    for (let i = 0; i < 100; i++) view = reduce(view, progress("a", i * 1000, { rows: i }))
    for (let i = 0; i < 40; i++) view = reduce(view, progress("a", 100_000 + i * 1000, { rows: 100 + i * 50 }))
    expect(rate(nodeOf(view, "a"), 139_000)).toBeCloseTo(50)
  })
})

describe("lines", () => {
  it("show durations, bytes and numbers as a person reads them", () => {
    expect(
      [0, 400, 9_949, 9_950, 59_499, 59_500, 200_000, 3_599_600, 7_500_000, 86_400_000 * 3.2].map(duration)
    ).toEqual(["0.0 s", "0.4 s", "9.9 s", "10 s", "59 s", "1m 00s", "3m 20s", "1h 00m", "2h 05m", "3d 5h"])
    expect([0, 812, 1024, 1536, 150 * 1024, 5 * 1024 ** 3].map(bytes)).toEqual([
      "0 B",
      "812 B",
      "1.0 KiB",
      "1.5 KiB",
      "150 KiB",
      "5.0 GiB"
    ])
    expect([1, 999, 1000, 1234567.4].map(number)).toEqual(["1", "999", "1,000", "1,234,567"])
    expect([2.31449, 0.00002, 12345, 0, Number.NaN].map(figure)).toEqual(["2.314", "2e-5", "12,345", "0", "NaN"])
  })

  it("say why a node starts, and where it goes on from", () => {
    const event = start("a", 0, { because: ["code of text/Clean.ts changed"], shards: 8, shardsDone: 3 })
    expect(startLine(event as Extract<Event, { event: "node-start" }>)).toBe(
      "a  started: code of text/Clean.ts changed; 3 of 8 shards are done already"
    )
  })

  it("say rows of each port: two as a sum, more by the ports' names, so that none reads as data that is missing", () => {
    const line = (rowsByPort: Readonly<Record<string, number>>) =>
      endLine(end("a", 1, { refused: 0, refusedBy: {}, rowsByPort }) as Extract<Event, { event: "node-end" }>)
    expect(line({ train: 1277, heldOut: 54 })).toBe("a  ran in 2.0 s  1,277 + 54 rows")
    expect(line({ rows: 1849, pixels: 1849, misnamed: 0 })).toBe(
      "a  ran in 2.0 s  1,849 rows, 1,849 pixels, 0 misnamed"
    )
  })

  it("name the refusals and the failure of a node", () => {
    expect(endLine(end("a", 1) as Extract<Event, { event: "node-end" }>)).toBe(
      "a  ran in 2.0 s  8 rows  2 refused (TooShort 2)"
    )
    const failed = end("a", 1, {
      status: "failed",
      refused: 0,
      rowsOut: 0,
      error: { tag: "Bad", message: "m", hint: "h" }
    })
    expect(endLine(failed as Extract<Event, { event: "node-end" }>)).toBe("a  failed in 2.0 s  Bad: m")
  })

  it("put the loss beside the step and leave out what is not known", () => {
    const view = of(
      { event: "node-start", at: 0, node: "f", kind: "fold", because: [] },
      progress("f", 1000, { step: 3, metrics: { lr: 0.001, loss: 2.5 } })
    )
    expect(figures(nodeOf(view, "f"), 1000)).toEqual(["step 3", "loss 2.5", "lr 0.001"])
  })

  it("fit the terminal: width, height, and no control characters", () => {
    const view = of(...["a", "b", "c", "d"].map((id) => start(`scope/${id}`, 0, { shards: 3 })))
    const lines = liveLines(view, 1000, 20, 3)
    expect(lines).toEqual(["scope/a  shards 0/3…", "scope/b  shards 0/3…", "and 2 more nodes"])
    expect(clip("a\u001b[31m\tb\n", 80)).toBe("a\\u001b[31m b ")
    expect(clip("a\u202eb", 5)).toBe("a\\u2…")
    expect(liveLines(empty, 0, 80, 24)).toEqual([])
  })
})
