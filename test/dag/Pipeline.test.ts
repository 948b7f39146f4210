/** A pipeline is what its targets reach: each node once, inputs first, under names that are unique. */
import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { pipeline, rows, scope, sharded, whole } from "../../src/dag/index.ts"
import { WiringError } from "../../src/dag/Node.ts"
import { reach } from "../../src/dag/Pipeline.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const list = whole({ id: "list", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words } }, () =>
  Effect.succeed({ rows: Stream.make([{ text: "mill" }]) })
)
const shout = sharded(
  { id: "shout", version: "1", params: Schema.Struct({}), inputs: { rows: Words }, outputs: { rows: Words } },
  ({ shard }) => ({ rows: shard.rows })
)
const join = sharded(
  {
    id: "join",
    version: "1",
    params: Schema.Struct({}),
    inputs: { left: Words, right: Words },
    outputs: { rows: Words }
  },
  ({ shard }) => ({ rows: shard.left })
)
const ids = (nodes: ReadonlyArray<{ readonly id: string }>) => nodes.map(({ id }) => id)

it("holds every node that the targets need once, inputs before consumers, and no other", () => {
  const words = list({}, {})
  const left = shout.named("left")({ rows: words.out.rows }, {})
  const right = shout.named("right")({ rows: words.out.rows }, {})
  const both = join({ left: left.out.rows, right: right.out.rows }, {})
  shout.named("unused")({ rows: words.out.rows }, {})
  const { name, nodes, targets } = pipeline("words", { both: both.out.rows, left: left.out.rows })
  expect(name).toBe("words")
  expect(ids(nodes)).toEqual(["list", "left", "right", "join"])
  expect(targets.left.node).toBe(left)
})

it("a chain of 20,000 nodes needs no stack", () => {
  let last = list({}, {}).out.rows
  for (let i = 0; i < 20_000; i++) last = shout.named(`shout-${i}`)({ rows: last }, {}).out.rows
  const { nodes } = pipeline("chain", { last })
  expect(nodes).toHaveLength(20_001)
  expect(ids(nodes.slice(0, 2))).toEqual(["list", "shout-0"])
})

it("reach gives a node that several roots need once", () => {
  const words = list({}, {})
  const one = shout.named("one")({ rows: words.out.rows }, {})
  const two = shout.named("two")({ rows: one.out.rows }, {})
  expect(ids(reach([two, one, words]))).toEqual(["list", "one", "two"])
})

it("two nodes of one name are an error that shows both places; a scope tells them apart", () => {
  const words = list({}, {})
  const build = (second: typeof shout) => {
    const first = shout({ rows: words.out.rows }, {})
    return pipeline("words", { loud: second({ rows: first.out.rows }, {}).out.rows })
  }
  let error: unknown
  try {
    build(shout)
  } catch (thrown) {
    error = thrown
  }
  expect(error).toBeInstanceOf(WiringError)
  expect((error as WiringError).message.match(/Pipeline\.test\.ts:\d+/g)).toHaveLength(2)
  expect(ids(scope("again", () => build(shout.named("louder"))).nodes)).toEqual(["list", "again/shout", "again/louder"])
})

it("a target that is no output of a node is an error that says what to write", () => {
  const words = list({}, {})
  // @ts-expect-error: a node is not one of its outputs
  const wrong = () => pipeline("words", { words })
  expect(wrong).toThrow(WiringError)
  expect(wrong).toThrow("target words must be an output of a node")
})
