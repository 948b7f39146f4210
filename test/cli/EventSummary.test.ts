/**
 * Leaving lines out by their form tells the same as reading every event, whatever the lines hold and wherever texts are
 * cut.
 */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { makeEventSummary } from "../../src/cli/EventSummary.ts"
import { nodeTable } from "../../src/cli/Report.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { temporaryFolder } from "../store/Support.ts"

const parse = (line: string) => JSON.parse(line) as Schema.Json
type EventSummary = ReturnType<typeof makeEventSummary>

/** All that `show` prints of events. */
const printed = (told: EventSummary) => ({
  table: nodeTable(told.view()),
  errors: [...told.view().nodes.values()].map((node) => node.end?.error?.message),
  losses: told.losses(),
  unknown: told.unknown(),
  outputs: told.view().run?.outputs
})

/** Draws from a list of numbers, so that a failure shrinks to fewer and smaller ones; 0 once they are used up. */
const drawer = (numbers: ReadonlyArray<number>) => {
  let at = 0
  const below = (n: number): number => (numbers[at++] ?? 0) % n
  const of = <A>(...these: ReadonlyArray<A>): A => these[below(these.length)]!
  return { below, of }
}
type Draw = ReturnType<typeof drawer>

const nodes = ["train", "a.b", "a/b", "ü(1+)", "loss", '"step"', "x\\y", ""]
const odd = [null, "1", true, "NaN", "-Infinity", "Infinity", 1e21, 5e-324, -0.5, 1e-7, 123456789.125]
const figure = ({ below, of }: Draw): Schema.Json => (below(12) === 11 ? of<Schema.Json>(...odd) : below(100) / 4)

const metrics = (draw: Draw): Schema.Json => {
  const names = draw.of(
    ["loss"],
    ["loss"],
    ["grad", "loss", "lr/head"],
    ["grad"],
    ["lo\\ss", 'a"loss"', "ö"],
    ["", "loss"]
  )
  const some = Object.fromEntries(names.map((name) => [name, figure(draw)]))
  return draw.below(20) === 19 ? draw.of<Schema.Json>(null, [], "loss", {}) : some
}

const progress = (draw: Draw) => {
  const names = ["rows", "shardsDone", "bytes", "bytesTotal", "step", "total", "other"].filter(
    () => draw.below(3) === 0
  )
  const counts = Object.fromEntries(names.map((name) => [name, figure(draw)]))
  const with_ = draw.below(3) === 0 ? {} : { metrics: metrics(draw) }
  return { event: "node-progress", at: figure(draw), node: draw.of(...nodes), ...counts, ...with_ }
}

/** What a training says most: few nodes, so that many lines of one follow each other. */
const step = (draw: Draw) => ({
  ...{ event: "node-progress", at: 1, node: draw.of("train", "train", "a.b"), step: figure(draw), total: 9 },
  metrics: { loss: figure(draw) }
})

const rare = (draw: Draw) => {
  const node = draw.of(...nodes)
  return draw.of<object>(
    { event: "checkpoint", at: 1, node, step: figure(draw) },
    { event: "node-start", at: 1, node, kind: "fold", because: [] },
    { event: "attempt", at: 1, node, attempt: 1, of: 2, message: '{"event":"node-progress"' },
    {
      ...{ event: "node-end", at: 1, node, kind: "fold", status: "failed", seconds: 1, rowsIn: 1, rowsOut: 1 },
      ...{ refused: 0, refusedBy: {}, error: { tag: "T", message: '"node-progress"\n', hint: "" } }
    },
    { event: "run", status: "completed", nodesRun: 1, nodesCached: 0, outputs: {}, metrics: {} },
    { event: "of another version" }
  )
}

const lineOf = (numbers: ReadonlyArray<number>): string => {
  const draw = drawer(numbers)
  const kind = draw.below(30)
  const json = JSON.stringify(kind < 22 ? step(draw) : kind < 28 ? progress(draw) : rare(draw))
  // Other writers of JSON put blanks, or write a key twice.
  const form = draw.below(24)
  if (form < 16) return json
  if (form < 20) return json.replaceAll('":', '": ').replaceAll(',"', ', "')
  if (form < 22) return json.replace('"step":', '"step":1,"step":').replace('"loss":', '"loss":7,"loss":')
  return form === 22 ? ` ${json} ` : ""
}

const number = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9999 })))
const numbers = Arbitrary.array(number, { minLength: 8, maxLength: 30 })
const stream = Arbitrary.array(numbers, { minLength: 20, maxLength: 250 })
const begun = ["train", "a.b"].map((node) =>
  JSON.stringify({ event: "node-start", at: 0, node, kind: "fold", because: [] })
)

describe("what show tells of a run's events", () => {
  let left = 0
  it.prop("is the same where lines are left out by their form", [stream, numbers], ([some, cuts]) => {
    const lines = [
      ...begun,
      ...some.flatMap((numbers) => Array.from({ length: 8 }, (_, i) => lineOf(numbers.slice(i))))
    ]
    const all = makeEventSummary()
    for (const one of lines) if (one !== "") all.event(parse(one))
    const few = makeEventSummary()
    let read = 0
    const count = (text: string) => {
      read++
      return parse(text)
    }
    const at = [0, ...cuts.slice(0, 4).map((cut) => cut % lines.length), lines.length].sort((a, b) => a - b)
    for (const [i, from] of at.entries()) {
      const part = lines.slice(from, at[i + 1] ?? lines.length)
      few.lines(part.map((one) => `${one}\n`).join(""), count)
    }
    left += lines.length - read
    assert.deepStrictEqual(printed(few), printed(all))
  })
  it("the property above did leave lines out", () => assert.isAbove(left, 1000))

  it("of a thousand steps few lines are parsed", () => {
    const told = makeEventSummary()
    let read = 0
    const of = (step: number) =>
      `{"event":"node-progress","at":1796100068975,"node":"train","step":${step},"total":1000,"metrics":{"loss":${1 / step},"lr":2e-5}}\n`
    told.lines(`{"event":"node-start","at":0,"node":"train","kind":"fold","because":[]}\n`, parse)
    told.lines(Array.from({ length: 1000 }, (_, i) => of(i + 1)).join(""), (text) => {
      read++
      return parse(text)
    })
    assert.isBelow(read, 150)
    assert.match(told.losses()[0]!, /^ {2}train: step 1 1, .*, step 1,000 0\.001$/)
    assert.match(nodeTable(told.view()), /^train +unfinished .* 0\.001 /m)
  })

  it.effect("a half-written last line and the places where a file is read in parts change nothing", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const folder = join(root, "runs", "one")
      mkdirSync(folder, { recursive: true })
      const file = join(folder, "events.jsonl")
      const steps = Array.from({ length: 5000 }, (_, i) => ({
        ...{ event: "node-progress", at: i, node: i % 7 === 0 ? "zwölf" : "train", step: i },
        metrics: { loss: i / 7 }
      }))
      const long = { event: "notice", at: 1, message: "é".repeat(700_000) }
      const some = [{ event: "node-start", at: 0, node: "train", kind: "fold", because: [] }, ...steps, long, ...steps]
      writeFileSync(file, some.map((one) => JSON.stringify(one) + "\n").join(""))
      appendFileSync(file, JSON.stringify(steps[3]).slice(0, -1))
      const all = makeEventSummary()
      yield* Stream.runForEach(RunLog.events(root, "one"), (json) => Effect.sync(() => all.event(json)))
      const few = makeEventSummary()
      yield* RunLog.eachLines(root, "one", few.lines)
      assert.deepStrictEqual(printed(few), printed(all))
      assert.lengthOf(few.losses(), 2)
      assert.strictEqual(few.view().notices[0]?.message, long.message)
      appendFileSync(file, "\n{}}\n")
      const error = yield* Effect.flip(RunLog.eachLines(root, "one", makeEventSummary().lines))
      assert.deepStrictEqual([error.reason, error.path], ["damaged", file])
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})
