/** Training on no example is an error that says where to look, not a stage of zero steps. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Examples } from "../../src/nodes/Artifacts.ts"
import { readLengths } from "../../src/nodes/TrainingData.ts"
import { inShards } from "./support.ts"

it.effect("a stage without examples fails before its first step", () =>
  Effect.gen(function* () {
    const none: ReadonlyArray<typeof Examples.schema.Type> = []
    const error = yield* Effect.flip(readLengths(inShards(none, [0, 0])))
    expect(error._tag).toBe("NoExamples")
    expect(error.message).toContain("data has no rows")
    expect(error.hint).toContain("`quarantine`")
  })
)
