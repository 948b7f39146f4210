/** Failed attempts and skipped nodes as a person sees them: a line each, a column where there were any. */
import { expect, it } from "vitest"
import { encodeEvent } from "../../src/cli/EventJson.ts"
import { nodeTable } from "../../src/cli/Report.ts"
import { make } from "../../src/cli/Terminal.ts"
import type { Event } from "../../src/run/Events.ts"
import { empty, reduce } from "../../src/run/Progress.ts"

const end = { at: 900, seconds: 0.9, rowsIn: 0, rowsOut: 0, refused: 0, refusedBy: {} }
const events: ReadonlyArray<Event> = [
  { event: "node-start", at: 0, node: "flaky", kind: "whole", because: [] },
  { event: "attempt", at: 10, node: "flaky", attempt: 1, of: 3, message: "Error: no answer", waitMs: 200 },
  { event: "attempt", at: 300, node: "flaky", shard: 4, attempt: 3, of: 3, message: "Error: no answer" },
  { event: "node-end", node: "flaky", kind: "whole", status: "failed", ...end },
  { event: "node-end", node: "after", kind: "whole", status: "skipped", skippedFor: ["flaky"], ...end, seconds: 0 }
]

it("each failed attempt is a line with its reason and the next one, a skipped node one with what it needed", () => {
  let text = ""
  const screen = {
    write: (some: string) => void (text += some),
    live: false,
    color: false,
    columns: () => 80,
    rows: () => 24
  }
  const terminal = make(screen)
  for (const event of events) terminal.event(event)
  const lines = text.split("\n")
  expect(lines).toContain("flaky  attempt 1 of 3 failed: Error: no answer; trying again in 0.2 s")
  expect(lines).toContain("flaky  attempt 3 of 3 of shard 4 failed: Error: no answer")
  expect(lines).toContain("after  skipped: it needs flaky")
})

it("the table counts failed attempts where there were any", () => {
  const [head, flaky, after] = nodeTable(events.reduce(reduce, empty)).split("\n")
  expect(head).toMatch(/^node +status +seconds +failed attempts/)
  expect(flaky).toMatch(/^flaky +failed +0\.9 +2 /)
  expect(after).toMatch(/^after +skipped +- +- /)
  const calm = events.filter(({ event }) => event !== "attempt").reduce(reduce, empty)
  expect(nodeTable(calm)).not.toContain("failed attempts")
})

it("they are events of the record as well", () => {
  expect(encodeEvent(events[1]!)).toEqual(events[1])
  expect(encodeEvent(events[4]!)).toEqual(events[4])
})
