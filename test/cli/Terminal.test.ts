import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { wantsColor } from "../../src/cli/Output.ts"
import { plain } from "../../src/cli/Paint.ts"
import { animate, make, type Screen } from "../../src/cli/Terminal.ts"
import type { Event } from "../../src/run/Events.ts"

/** Just enough of a terminal: lines, moving up, erasing down, hiding the cursor. */
const emulate = (text: string) => {
  let lines: Array<string> = [""]
  let row = 0
  let cursor = true
  let at = 0
  while (at < text.length) {
    const escape = /^\u001b\[(\??\d*)([A-Za-z])/.exec(text.slice(at))
    if (escape !== null) {
      at += escape[0].length
      if (escape[2] === "A") row -= Number(escape[1])
      else if (escape[2] === "J") lines = lines.slice(0, row).concat("")
      else if (escape[2] === "l") cursor = false
      else if (escape[2] === "h") cursor = true
      continue
    }
    const char = text[at++]!
    if (char === "\n") {
      row++
      lines[row] ??= ""
    } else if (char !== "\r") lines[row] += char
  }
  return { lines: lines.filter((line, i) => line !== "" || i < lines.length - 1), cursor }
}

const screen = (live: boolean, more: Partial<Screen> = {}) => {
  const state = { text: "" }
  const value: Screen = {
    write: (text) => {
      state.text += text
    },
    live,
    color: false,
    columns: () => 80,
    rows: () => 24,
    ...more
  }
  return { state, value }
}

const start = (node: string, at: number): Event => ({ event: "node-start", at, node, kind: "sharded", because: [] })
const rows = (node: string, at: number, n: number): Event => ({ event: "node-progress", at, node, rows: n })
const end = (node: string, at: number): Event => ({
  event: "node-end",
  at,
  node,
  kind: "sharded",
  status: "ran",
  seconds: 1,
  rowsIn: 5,
  rowsOut: 5,
  refused: 0,
  refusedBy: {}
})

describe("off a terminal", () => {
  it.effect("a node says start, at most one progress line in ten seconds, and end", () =>
    Effect.gen(function* () {
      const { state, value } = screen(false)
      const terminal = make(value)
      terminal.event(start("a", yield* Clock.currentTimeMillis))
      for (let i = 1; i <= 250; i++) {
        yield* TestClock.adjust(100)
        terminal.event(rows("a", yield* Clock.currentTimeMillis, i * 10))
        terminal.redraw(yield* Clock.currentTimeMillis)
      }
      terminal.event(end("a", yield* Clock.currentTimeMillis))
      terminal.close()
      expect(state.text.trimEnd().split("\n")).toEqual([
        "a  started",
        "a  1,000 rows  100 rows/s  10 s",
        "a  2,000 rows  100 rows/s  20 s",
        "a  ran in 1.0 s  5 rows"
      ])
      expect(state.text).not.toContain("\u001b")
    })
  )

  it("quiet writes nothing and still knows everything", () => {
    const { state, value } = screen(false)
    const terminal = make(value, { quiet: true })
    terminal.event(start("a", 0))
    terminal.event({ event: "notice", at: 1, message: "careful" })
    expect([state.text, terminal.view().nodes.size]).toEqual(["", 1])
  })
})

describe("on a terminal", () => {
  it("redraws one line a node in place and keeps finished nodes above", () => {
    const { state, value } = screen(true)
    const terminal = make(value)
    terminal.event(start("a", 0))
    terminal.event(start("b", 0))
    terminal.redraw(1000)
    terminal.event(rows("a", 2000, 20))
    terminal.redraw(2000)
    expect(emulate(state.text)).toEqual({ lines: ["a  20 rows  2.0 s", "b  2.0 s"], cursor: false })
    terminal.event(end("a", 3000))
    terminal.redraw(3000)
    expect(emulate(state.text)).toEqual({ lines: ["a  ran in 1.0 s  5 rows", "b  3.0 s"], cursor: false })
    terminal.event(end("b", 3000))
    terminal.redraw(3000)
    terminal.close()
    terminal.close()
    expect(emulate(state.text)).toEqual({
      lines: ["a  ran in 1.0 s  5 rows", "b  ran in 1.0 s  5 rows"],
      cursor: true
    })
  })

  it("never writes a line wider than the window, and erases what a smaller window wrapped", () => {
    let columns = 60
    const { state, value } = screen(true, { columns: () => columns })
    const terminal = make(value)
    terminal.event(start("a-rather-long-instance-id/of-a-node", 0))
    terminal.redraw(1000)
    for (const line of emulate(state.text).lines) expect(line.length).toBeLessThan(60)
    columns = 20
    state.text = ""
    terminal.redraw(1000)
    // 41 columns were drawn; at 20 columns they take three rows.
    expect(state.text).toContain("\u001b[3A")
  })

  it("steps aside for what somebody else prints", () => {
    const { state, value } = screen(true)
    const terminal = make(value)
    terminal.event(start("a", 0))
    terminal.redraw(1000)
    expect(terminal.aside(() => value.write(plain("a library says hello\n")) ?? 7)).toBe(7)
    terminal.redraw(2000)
    expect(emulate(state.text).lines).toEqual(["a library says hello", "a  2.0 s"])
  })

  it.effect("draws on the clock and shows the cursor again when its scope closes", () =>
    Effect.gen(function* () {
      const { state, value } = screen(true)
      const terminal = make(value)
      terminal.event(start("a", yield* Clock.currentTimeMillis))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* animate(terminal)
          yield* TestClock.adjust(1000)
          expect(emulate(state.text)).toEqual({ lines: ["a  1.0 s"], cursor: false })
        })
      )
      expect(emulate(state.text)).toEqual({ lines: [], cursor: true })
    })
  )
})

it("colours are for terminals that want them", () => {
  expect(wantsColor(true, {})).toBe(true)
  expect(wantsColor(false, {})).toBe(false)
  expect(wantsColor(true, { NO_COLOR: "1" })).toBe(false)
  expect(wantsColor(true, { NO_COLOR: "" })).toBe(true)
  expect(wantsColor(true, { TERM: "dumb" })).toBe(false)
})
