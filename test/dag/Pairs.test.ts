import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { makePairs } from "../../src/dag/Pairs.ts"

const number = Schema.Union([
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
])

it.prop(
  "a set of pairs says what a set of strings would",
  { all: Schema.Array(Schema.Tuple([number, number])) },
  ({ all }) => {
    const pairs = makePairs()
    const plain = new Set<string>()
    for (const [a, b] of [...all, ...all]) {
      const fresh = !plain.has(`${a} ${b}`)
      plain.add(`${a} ${b}`)
      assert.strictEqual(pairs.add(a, b), fresh)
    }
    assert.strictEqual(pairs.size(), plain.size)
  }
)

it("grows", () => {
  const pairs = makePairs()
  for (let i = 0; i < 100_000; i++) assert.isTrue(pairs.add(i, i % 7))
  for (let i = 0; i < 100_000; i++) assert.isFalse(pairs.add(i, i % 7))
  assert.strictEqual(pairs.size(), 100_000)
})
