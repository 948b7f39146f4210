/**
 * The first press during an answer stops it, however often it arrives; the next one, or one without an answer, leaves.
 */
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { presses } from "../../../src/cli/chat/Presses.ts"
import { samePressMs } from "../../../src/cli/Signals.ts"

const press = Schema.Struct({
  gap: Schema.Int.check(Schema.isBetween({ minimum: samePressMs, maximum: 5 * samePressMs })),
  answering: Schema.Boolean,
  another: Schema.Boolean
})

describe("presses", () => {
  it.prop("each answer can be stopped once; all else leaves", [Schema.Array(press)], ([all]) => {
    const means = presses()
    let at = 0
    let answer = 0
    let stopped = -1
    for (const { another, answering, gap } of all) {
      at += gap
      if (another) answer++
      expect(means(at, answering ? answer : undefined)).toBe(answering && stopped !== answer ? "stop" : "leave")
      if (answering) stopped = answer
    }
  })

  it("one key press that arrives more than once is one, also when the answer has ended meanwhile", () => {
    const means = presses()
    expect([means(0, 0), means(80, 0), means(samePressMs - 1, undefined)]).toEqual(["stop", "again", "again"])
    expect(means(samePressMs, undefined)).toBe("leave")
  })
})
