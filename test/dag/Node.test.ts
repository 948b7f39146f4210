/** A definition is a function: applied to references and parameters it gives an instance, and runs nothing. */
import { expect, it } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { broadcast, fold, Node, pipeline, rows, sharded, value, whole } from "../../src/dag/index.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const Loud = rows("loud", Schema.Struct({ text: Schema.String }))
const Longest = value("longest", Schema.Int)
class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { text: Schema.String }) {}

let ran = 0
const list = whole(
  { id: "list", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words, longest: Longest } },
  () =>
    Effect.sync(() => {
      ran++
      return { rows: Stream.make([{ text: "mill" }, { text: "millstone" }]), longest: Effect.succeed(5) }
    })
)
const shout = sharded(
  {
    id: "shout",
    version: "2",
    about: "Words in capitals.",
    params: Schema.Struct({ mark: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("!"))) }),
    inputs: { rows: Words, longest: broadcast(Longest) },
    outputs: { rows: Loud },
    refuses: [TooLong]
  },
  ({ flatMap, params, shard }) => ({
    rows: flatMap(shard.rows, ({ text }) =>
      text.length > shard.longest ? Result.fail(new TooLong({ text })) : [{ text: text.toUpperCase() + params.mark }]
    )
  })
)
const sum = fold(
  { id: "sum", version: "1", params: Schema.Struct({}), inputs: { rows: Loud }, outputs: { total: Longest } },
  {
    init: ({ inputs }) => Effect.succeed({ step: 0, total: inputs.rows.length, sum: 0 }),
    step: ({ inputs }, state) =>
      Effect.map(inputs.rows.get([state.step]), ([row]) => ({
        ...state,
        step: state.step + 1,
        sum: state.sum + row!.text.length
      })),
    progress: ({ step, total }) => ({ step, total, metrics: {} }),
    finish: (_, state) => Effect.succeed({ total: Effect.succeed(state.sum) }),
    state: {
      encode: (state) => Effect.succeed(new Map([["state.json", new TextEncoder().encode(JSON.stringify(state))]])),
      decode: (_, files) => Effect.sync(() => JSON.parse(new TextDecoder().decode(files.get("state.json"))))
    }
  }
)

const apply = () => {
  const words = list({}, {})
  return { words, loud: shout({ rows: words.out.rows, longest: words.out.longest }, {}) }
}

it("applying a definition gives an instance with its inputs and outputs as references, and runs nothing", () => {
  const { loud, words } = apply()
  expect(loud).toMatchObject({ id: "shout", params: { mark: "!" } })
  expect(loud.inputs["rows"]).toMatchObject({ node: words, port: "rows" })
  expect(loud.inputs["longest"]).toMatchObject({ node: words, port: "longest" })
  expect(loud.out.rows).toMatchObject({ node: loud, port: "rows" })
  expect(pipeline("loud", { rows: loud.out.rows }).nodes).toEqual([words, loud])
  expect(ran).toBe(0)
})

it("a definition says what it is, and where it and its instance were written", () => {
  const { loud } = apply()
  expect([list, shout, sum].map(({ spec }) => spec.kind)).toEqual(["whole", "sharded", "fold"])
  expect(loud.spec).toBe(shout.spec)
  expect(shout.spec).toMatchObject({ id: "shout", version: "2", about: "Words in capitals." })
  expect(loud.spec.sourceLocation).not.toEqual(loud.sourceLocation)
})

it("`named` gives the same definition under another instance id, and leaves the first as it was", () => {
  const { words } = apply()
  const inputs = { rows: words.out.rows, longest: words.out.longest }
  const louder = shout.named("louder")(inputs, { mark: "!!" })
  expect(louder).toMatchObject({ id: "louder", params: { mark: "!!" } })
  expect(louder.spec.id).toBe("shout")
  expect(shout(inputs, {}).id).toBe("shout")
})

it.effect(
  "the three kinds run alone: rows are refused with their number, a broadcast input is whole, a fold steps",
  () =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(list, {}, {})
      const loud = yield* Node.run(shout, { rows: out.rows, longest: out.longest }, {})
      expect(loud.out.rows).toEqual([{ text: "MILL!" }])
      expect(loud.refused.map(({ reason, row }) => [row, reason])).toEqual([[1, "TooLong"]])
      expect((yield* Node.run(sum, { rows: loud.out.rows }, {})).out.total).toBe(5)
    })
)
