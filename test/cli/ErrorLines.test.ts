import { expect, it } from "@effect/vitest"
import { Arbitrary, Cause, Schema } from "effect"
import { errorLines, maxLines, tell } from "../../src/cli/ErrorLines.ts"
import { NodeFailed } from "../../src/run/Run.ts"
import { StoreError } from "../../src/store/Store.ts"

it("says what failed, where, why and what to do", () => {
  const disk = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" })
  const store = new StoreError({ reason: "full", path: "/s", message: "cannot write", hint: "Make room.", cause: disk })
  expect(
    errorLines(
      new NodeFailed({ node: "clean", shard: 3, message: "shard 3 was lost", hint: "Run again.", cause: store })
    )
  ).toEqual([
    "error: NodeFailed in clean, shard 3",
    "  shard 3 was lost",
    "  cause: StoreError: cannot write <- Error: ENOSPC: no space left on device",
    "  hint: Run again."
  ])
})

it("does not repeat a cause that the message holds already", () => {
  const inner = new StoreError({ reason: "io", path: "/s", message: "odd", hint: "h" })
  const lines = errorLines(new NodeFailed({ node: "a", message: "StoreError: odd", hint: "h", cause: inner }))
  expect(lines.join("\n")).not.toContain("cause:")
})

it("shows no stack, even when a cause is one", () => {
  const stack = new TypeError("x is not a function").stack!
  const text = errorLines(new NodeFailed({ node: "a", message: "broke", hint: "h", cause: stack })).join("\n")
  expect(text).toContain("cause: TypeError: x is not a function")
  expect(text).not.toMatch(/\bat .*:\d+/)
})

it("tells a defect as one", () => {
  expect(tell(new RangeError("bad")).hint).toContain("MILLRACE_DEBUG")
  expect(errorLines(undefined)[0]).toBe("error: Error")
  expect(errorLines("text")).toHaveLength(3)
  const loop: { message: string; cause?: unknown } = { message: "round" }
  loop.cause = { message: "and", cause: loop }
  expect(errorLines(loop).length).toBeLessThanOrEqual(maxLines)
  expect(errorLines({ message: "m", cause: Cause.fail(new Error("deep")) }).join("\n")).toContain("Error: deep")
})

const Text = Arbitrary.schema(Schema.String)
it.prop("takes at most eight lines whatever the error says", [Text, Text, Text], ([message, hint, cause]) => {
  const lines = errorLines({ _tag: "X", message: message.repeat(20).replace(/a/g, "\n"), hint: hint.repeat(50), cause })
  expect(lines.length).toBeLessThanOrEqual(maxLines)
  expect(lines.every((line) => !line.includes("\n"))).toBe(true)
})
