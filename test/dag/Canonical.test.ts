import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { canonical, digestOf, NotCanonical } from "../../src/dag/Canonical.ts"

const json = Schema.Json
const shuffle = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(shuffle)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .reverse()
            .map(([key, inner]) => [key, shuffle(inner)])
        )
      : value

it.prop("is JSON that says the same value", [json], ([value]) => {
  expect(canonical(JSON.parse(canonical(value)))).toBe(canonical(value))
})

it.prop("does not depend on the order of keys", [json], ([value]) => {
  expect(canonical(shuffle(value))).toBe(canonical(value))
})

it.prop("different values have different digests", [json, json], ([a, b]) => {
  expect(digestOf(a) === digestOf(b)).toBe(canonical(a) === canonical(b))
})

it("keeps apart what looks alike", () => {
  expect(digestOf({ a: "1" })).not.toBe(digestOf({ a: 1 }))
  expect(digestOf([1, [2]])).not.toBe(digestOf([[1], 2]))
  expect(digestOf({ a: null })).not.toBe(digestOf({}))
})

it("what JSON would drop or blur is an error that names the path, never a silent key", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, () => 1, 1n, new Date(0), new Map(), Symbol("s")])
    expect(() => canonical({ a: [0, bad] })).toThrow(NotCanonical)
  expect(() => canonical({ a: [0, 1n] })).toThrow(expect.objectContaining({ path: "a[1]" }))
  expect(canonical({ a: undefined, b: 1 })).toBe('{"b":1}')
})
