import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { didYouMean, distance, nearest } from "../../src/dag/Nearest.ts"

const names = ["clean", "instruct/images", "pretrain/images", "sft", "tokenizeImages"]

it("finds the name that a person meant", () => {
  expect(nearest("claen", names)).toBe("clean")
  expect(nearest("CLEAN", names)).toBe("clean")
  expect(nearest("instruct/image", names)).toBe("instruct/images")
  expect(nearest("images", names)).toBe("instruct/images")
  expect(nearest("tokenise-images", names)).toBe("tokenizeImages")
  expect(nearest("tokenize", names)).toBe("tokenizeImages")
  expect(nearest("zzzzzz", names)).toBeUndefined()
  expect([didYouMean("sfd", names), didYouMean("qqqqqq", names)]).toEqual(['; did you mean "sft"?', ""])
})

it("counts a swap of neighbours as one edit", () => {
  expect([distance("ab", "ba"), distance("", "abc"), distance("kitten", "sitting")]).toEqual([1, 3, 3])
})

const Name = Arbitrary.schema(Schema.String)
it.prop("is a distance: zero for the same, symmetric, at most the longer length", [Name, Name], ([a, b]) => {
  expect(distance(a, a)).toBe(0)
  expect(distance(a, b)).toBe(distance(b, a))
  expect(distance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length))
})
