/** Redacted parameters: what of them reaches a key, a page and a message. */
import { expect, it } from "@effect/vitest"
import { Effect, Option, Redacted, Schema } from "effect"
import { OverrideError, withOverrides } from "../../src/dag/InstanceScope.ts"
import { encodeParams, inKey, keyOf, keyParts, value, whole } from "../../src/dag/index.ts"
import { toMarkdown } from "../../src/dag/Page.ts"
import { pipeline } from "../../src/dag/Pipeline.ts"
import { holdsRedacted, rememberSecrets, scrub, scrubJson } from "../../src/dag/Secrets.ts"
import { describeError } from "../../src/run/Failure.ts"

class Account extends Schema.Class<Account>("Account")({
  user: Schema.String,
  password: Schema.Redacted(Schema.String)
}) {}
interface Chain {
  readonly token: Redacted.Redacted<string>
  readonly next: Chain | null
}
const Chain: Schema.Codec<Chain, any> = Schema.Struct({
  token: Schema.Redacted(Schema.String),
  next: Schema.NullOr(Schema.suspend((): Schema.Codec<Chain, any> => Chain))
}) as never
const secret = Schema.Redacted(Schema.String)
const made = (text: string) => Redacted.make(text)

/** Every shape in which a parameter may hold a secret, and a value of it. */
const shapes: Readonly<Record<string, readonly [Schema.Top, (text: string) => unknown]>> = {
  plain: [secret, made],
  optional: [Schema.optional(secret), made],
  optionalKey: [Schema.optionalKey(secret), made],
  labelled: [Schema.Redacted(Schema.String, { label: "token" }), (text) => Redacted.make(text, { label: "token" })],
  "from a value": [Schema.RedactedFromValue(Schema.String), made],
  struct: [Schema.Struct({ a: Schema.Struct({ b: secret }) }), (text) => ({ a: { b: made(text) } })],
  array: [Schema.Array(secret), (text) => [made("first"), made(text)]],
  tuple: [Schema.Tuple([Schema.Number, secret]), (text) => [1, made(text)]],
  record: [Schema.Record(Schema.String, secret), (text) => ({ x: made(text) })],
  union: [Schema.Union([Schema.Number, secret]), made],
  "null or": [Schema.NullOr(Schema.Struct({ b: secret })), (text) => ({ b: made(text) })],
  option: [Schema.Option(secret), (text) => Option.some(made(text))],
  class: [Account, (text) => new Account({ user: "me", password: made(text) })],
  recursive: [Chain, (text) => ({ token: made("outer one"), next: { token: made(text), next: null } })],
  "of a struct": [Schema.Redacted(Schema.Struct({ key: Schema.String })), (text) => Redacted.make({ key: text })],
  "of a number": [Schema.Redacted(Schema.Number), (text) => Redacted.make(text.length * 7_777_777)],
  disallowed: [Schema.Redacted(Schema.String, { disallowJsonEncode: true }), made]
}

const V = value("v", Schema.Number)
const node = (schema: Schema.Top, given: unknown) => {
  const n = whole(
    { id: "n", version: "1", params: Schema.Struct({ secret: schema }), inputs: {}, outputs: { v: V } },
    () => Effect.succeed({ v: Effect.succeed(1) })
  )
  return (n as any)({}, { secret: given })
}

for (const [name, [schema, give]] of Object.entries(shapes))
  it(`a secret as ${name} is in no key, and no page tells it`, () => {
    expect(holdsRedacted(schema)).toBe(true)
    const one = node(schema, give("hunter2-one"))
    const two = node(schema, give("hunter2-other"))
    const text = JSON.stringify(encodeParams(one))
    expect(text).toContain("<redacted>")
    expect(text).not.toMatch(/hunter2|7777/)
    expect(keyOf(keyParts(one, {}, "none"))).toBe(keyOf(keyParts(two, {}, "none")))
    expect(toMarkdown(pipeline("p", { v: one.out.v }))).not.toMatch(/hunter2|7777/)
  })

it("a schema without a secret is encoded as before", () => {
  const plain = Schema.Struct({ n: Schema.NumberFromString, d: Schema.Option(Schema.Number) })
  expect(holdsRedacted(plain)).toBe(false)
  const given = { n: 3, d: Option.none() }
  expect(encodeParams(node(plain, given))).toEqual({
    secret: Schema.encodeUnknownSync(Schema.toCodecJson(plain))(given)
  })
})

it("with inKey another secret is another key, by its digest alone", () => {
  const schemas = [
    [inKey(Schema.Redacted(Schema.String)), made],
    [
      Schema.Struct({ b: Schema.Array(inKey(Schema.Redacted(Schema.String))) }),
      (text: string) => ({ b: [made(text)] })
    ],
    [Schema.optional(inKey(Schema.Redacted(Schema.String))), made]
  ] as const
  for (const [schema, give] of schemas) {
    const key = (text: string) => keyOf(keyParts(node(schema, give(text)), {}, "none"))
    expect(key("hunter2-one")).toBe(key("hunter2-one"))
    expect(key("hunter2-one")).not.toBe(key("hunter2-other"))
    expect(JSON.stringify(encodeParams(node(schema, give("hunter2-one"))))).toMatch(/<redacted sha256 [0-9a-f]{64}>/)
  }
})

it("a redacted parameter cannot be set on the command line, and the refusal does not repeat it", () => {
  const set = (text: string) =>
    withOverrides({ settings: [text] }, () => node(Schema.Redacted(Schema.String), made("from the environment")))
  try {
    set("n.secret=hunter2")
    expect.unreachable()
  } catch (error) {
    expect(error).toBeInstanceOf(OverrideError)
    expect(JSON.stringify(error) + String(error)).not.toContain("hunter2")
    expect((error as OverrideError).hint).toContain("Config.Redacted")
  }
})

it("what a node's error quotes of a secret is cut out: as it is, inside JSON, inside an address", () => {
  const text = 'p"w d/7731'
  rememberSecrets({ deep: [new Map([["a", { token: made(text) }]])] })
  for (const said of [text, JSON.stringify(text), encodeURIComponent(text)]) {
    expect(scrub(`before ${said} after`)).not.toContain("7731")
    expect(scrub(`before ${said} after`)).toContain("<redacted>")
    expect(JSON.stringify(scrubJson({ [said]: [said, { x: said }] }))).not.toContain("7731")
  }
  expect(describeError(new Error(`401 for ${text}`))).toBe("Error: 401 for <redacted>")
  expect(describeError({ code: 3, token: made(text) })).toBe("{ code: 3, token: <redacted> }")
})
