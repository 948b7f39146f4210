/**
 * A page tells a run however far it got, holds nothing that a run could smuggle in, and is the same for equal values.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { escape } from "../../../src/cli/report/Html.ts"
import { page, type ReportData } from "../../../src/cli/report/Page.ts"
import { printable } from "../../../src/dag/Printable.ts"
import type { Event } from "../../../src/run/Events.ts"
import { makeHistory } from "../../../src/run/History.ts"
import { empty, reduce } from "../../../src/run/Progress.ts"
import { build, type Choice } from "../../../src/run/Recipe.ts"
import words from "../fixtures/words.ts"

const choice: Choice = { preset: "sample", engine: "wasm", settings: ["train.steps=3"] }
const pipeline = build(words, choice)

const end = { event: "node-end", at: 0, seconds: 1.25, rowsIn: 20, rowsOut: 18, refused: 0, refusedBy: {} } as const
const last: Event = {
  event: "run",
  status: "completed",
  nodesRun: 3,
  nodesCached: 0,
  outputs: { report: { key: "k", digest: "0123456789abcdef", path: "/store/entries/aa/value.json" } },
  metrics: null
}

const told = (events: ReadonlyArray<Event>, more: Partial<ReportData> = {}): ReportData => {
  const history = makeHistory()
  for (const event of events) history.add(event)
  const start: Event = { event: "start", at: 0, run: "r1", pipeline: "words", preset: "sample", nodes: 3 }
  return {
    pipeline,
    choice,
    flags: [],
    view: [start, ...events].reduce(reduce, empty),
    history: history.points(),
    startedMs: 0,
    endedMs: 65_000,
    link: (path) => `../..${path}`,
    ...more
  }
}

const ran: ReadonlyArray<Event> = [
  { ...end, node: "words", kind: "whole", status: "cached", key: "a".repeat(64) },
  {
    ...end,
    node: "shout",
    kind: "sharded",
    status: "ran",
    refused: 6,
    refusedBy: { "Bad: a": 1, TooLoud: 2, "Bad: b": 3 }
  },
  { event: "node-start", at: 0, node: "train", kind: "fold", because: [] },
  ...[3, 2, 1].map(
    (loss, i): Event => ({
      event: "node-progress",
      at: 0,
      node: "train",
      step: i + 1,
      metrics: { loss, lr: 0.1 }
    })
  ),
  { ...end, node: "train", kind: "fold", status: "ran" },
  last
]

const count = (html: string, part: string): number => html.split(part).length - 1

describe("a page", () => {
  it("shows states, rows, refusals, curves, settings and outputs of a run", () => {
    const html = page(told(ran, { flags: ["--until train"] }))
    expect(html).toContain("1m 05s")
    expect([count(html, 'class="node ran"'), count(html, 'class="node cached"')]).toEqual([2, 1])
    expect(html).toContain("rows in: 20\nrows out: 18\nrefused: 6")
    expect(html).toContain("<b>6</b> <span>Bad: b 3</span>, <span>a 1</span>; <span>TooLoud 2</span>")
    expect(html).toContain("key aaaaaaaaaaaa")
    expect(count(html, 'class="curve"') + count(html, 'class="curve small"')).toBe(2)
    expect(html).toContain("--set train.steps=3 --until train")
    expect(html).toContain("set for this run")
    expect(html).toContain('<a href="../../store/entries/aa/value.json">')
    expect(html).not.toMatch(/undefined|NaN|\[object/)
    expect(page(told(ran, { flags: ["--until train"] }))).toBe(html)
  })

  it("of a run that failed shows where, why, what to do, and what was not reached", () => {
    const error = { tag: "Broken", message: "the words\nran out", hint: "Find more." }
    const failed: Event = { ...last, status: "failed", outputs: {}, metrics: { error } }
    const html = page(told([{ ...end, node: "words", kind: "whole", status: "failed", error }, failed]))
    for (const text of ["words: Broken", "the words\nran out", "Find more.", "not reached", "status failed"])
      expect(html).toContain(text)
    expect(count(html, 'class="node unreached"')).toBe(2)
    const early = page(told([{ ...failed, metrics: { error: { ...error, tag: "SourceError" } } }]))
    expect(early).toContain("SourceError")
    expect(count(early, 'class="node unreached"')).toBe(3)
  })

  it("takes a cached node's curve from what the recipe stored, and says when the recipe's part is missing", () => {
    const losses = { node: "train", losses: [5, 4, 3, 2], heldOut: 2.5 }
    const cached: ReadonlyArray<Event> = [{ ...end, node: "train", kind: "fold", status: "cached" }, last]
    const html = page(told(cached, { part: { figures: [], losses: [losses], sections: [] } }))
    expect(html).toContain("5 to 2, 4 steps, held out 2.5 (dashed), as stored")
    const evaluations = [2, 4].map((step) => ({ step, loss: step }))
    const watched = page(
      told(cached, { part: { figures: [], losses: [{ ...losses, evaluations, keptStep: 2 }], sections: [] } })
    )
    expect(watched).toContain("measured 2 times (dots), weights of step 2 kept, as stored")
    const without = page(told(cached, { partError: "it broke" }))
    expect(without).toContain("it broke")
    expect(without).not.toContain('class="curve"')
  })

  it("fetches nothing and runs nothing, whatever a run says", () => {
    const evil = `</title></svg><script src="https://evil.test/x.js">1</script><img src=x onerror=1>`
    const html = page(
      told(
        [
          { event: "notice", at: 0, node: evil, message: evil },
          { ...end, node: "words", kind: "whole", status: "failed", error: { tag: evil, message: evil, hint: evil } },
          { ...end, node: "shout", kind: "sharded", status: "ran", refused: 1, refusedBy: { [evil]: 1 } },
          { ...last, outputs: { [evil]: { key: "k", digest: evil, path: evil } } }
        ],
        {
          part: {
            figures: [{ name: evil, text: evil }],
            losses: [],
            sections: [{ kind: "table", title: evil, about: evil, columns: [{ name: evil }], rows: [[evil]] }]
          }
        }
      )
    )
    expect(count(html, "<script")).toBe(1)
    expect(html).not.toContain("<img")
    expect(html).toContain("default-src 'none'")
  })
})

it.prop("escaped text is text, in elements and in attributes", [Arbitrary.schema(Schema.String)], ([text]) => {
  const safe = escape(text)
  expect(safe).not.toMatch(/[<>"']/)
  const back = safe
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&")
  expect(back).toBe(printable(text.replace(/\r\n?/g, "\n")))
  expect(escape(text)).not.toMatch(/[^\P{C}\n\t]/u)
})
