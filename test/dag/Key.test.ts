/** A key changes with what a result depends on, and with nothing else. */
import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { rows, value, whole } from "../../src/dag/index.ts"
import { keyOf, keyParts, nodeKey, schemaDigest, settingsOf } from "../../src/dag/Key.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const Count = value("count", Schema.Number)

interface Variant {
  readonly version?: string
  readonly schema?: Schema.Codec<number, number>
  readonly engine?: true
  readonly closes?: Readonly<Record<string, string>>
}
const count = ({ closes, engine, schema, version = "1" }: Variant = {}) =>
  whole(
    {
      id: "count",
      version,
      params: Schema.Struct({ least: Schema.Int, most: Schema.optional(Schema.Int) }),
      inputs: { rows: Words },
      outputs: { count: schema === undefined ? Count : value("count", schema) },
      ...(engine === undefined ? {} : { engine }),
      ...(closes === undefined ? {} : { closes })
    },
    () => Effect.succeed({ count: Effect.succeed(1) })
  )
const words = whole(
  { id: "words", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words } },
  () => Effect.succeed({ rows: Stream.make([{ text: "mill" }]) })
)({}, {}).out.rows
const input = { rows: "0".repeat(64) }
const key = (variant: Variant = {}, params: { least: number; most?: number } = { least: 1 }, numerics = "wasm") =>
  keyOf(keyParts(count(variant)({ rows: words }, params), input, numerics))

it("is 64 hex digits, equal for equal parts", () => {
  expect(key()).toMatch(/^[0-9a-f]{64}$/)
  expect(key()).toBe(key())
})

it("does not depend on the instance's name, the order of parameters, or an engine that the node does not use", () => {
  const renamed = count().named("other")({ rows: words }, { least: 1 })
  expect(keyOf(keyParts(renamed, input, "wasm"))).toBe(key())
  expect(key({}, { least: 1, most: 2 })).toBe(key({}, { most: 2, least: 1 }))
  expect(key({}, { least: 1 }, "torch")).toBe(key())
})

it("depends on version, parameters, inputs, output schemas, closed-over values, and the numerics of a node's engine", () => {
  const node = count()({ rows: words }, { least: 1 })
  const keys = [
    key(),
    key({ version: "2" }),
    key({}, { least: 2 }),
    key({}, { least: 1, most: 1 }),
    keyOf(keyParts(node, { rows: "1".repeat(64) }, "wasm")),
    key({ schema: Schema.Int }),
    key({ closes: { text: "a" } }),
    key({ closes: { text: "b" } }),
    key({ engine: true }),
    key({ engine: true }, { least: 1 }, "torch")
  ]
  expect(new Set(keys).size).toBe(keys.length)
})

it("settings are the parts without the inputs' contents", () => {
  const node = count()({ rows: words }, { least: 1 })
  const [one, other] = ["0", "1"].map((digit) => settingsOf(keyParts(node, { rows: digit.repeat(64) }, "wasm")))
  expect(one).toBe(other)
  expect(settingsOf(keyParts(count({ version: "2" })({ rows: words }, { least: 1 }), input, "wasm"))).not.toBe(one)
})

it("a Schema's digest is that of what it writes: annotations do not count, checks of other values do", () => {
  const plain = Schema.Struct({ text: Schema.String })
  expect(schemaDigest(Schema.Struct({ text: Schema.String }))).toBe(schemaDigest(plain))
  expect(schemaDigest(plain.annotate({ description: "a word" }))).toBe(schemaDigest(plain))
  expect(schemaDigest(Schema.Struct({ text: Schema.Number }))).not.toBe(schemaDigest(plain))
})

it("is remembered for the same inputs and numerics, and follows others", () => {
  const node = count({ engine: true })({ rows: words }, { least: 1 })
  const first = nodeKey(node, input, "wasm")
  expect(first.key).toBe(keyOf(keyParts(node, input, "wasm")))
  expect(nodeKey(node, { ...input }, "wasm")).toBe(first)
  const other = { rows: "1".repeat(64) }
  for (const [inputs, numerics] of [
    [other, "wasm"],
    [other, "torch"],
    [input, "wasm"]
  ] as const)
    expect(nodeKey(node, inputs, numerics).key).toBe(keyOf(keyParts(node, inputs, numerics)))
})
