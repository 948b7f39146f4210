/**
 * Names of instances are paths of scopes; `--set` replaces a parameter of one instance, and a wrong name is an error.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { instanceId, nameFault } from "../../src/dag/InstanceScope.ts"
import { OverrideError, pipeline, rows, scope, whole, withOverrides } from "../../src/dag/index.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const list = whole(
  {
    id: "list",
    version: "1",
    params: Schema.Struct({ count: Schema.Int, word: Schema.String, nested: Schema.optional(Schema.Json) }),
    inputs: {},
    outputs: { rows: Words }
  },
  () => Effect.succeed({ rows: Stream.make([{ text: "mill" }]) })
)
const params = { count: 3, word: "mill" }
const build = () => pipeline("words", { rows: list({}, params).out.rows }).nodes[0]!
const caught = (settings: ReadonlyArray<string>): OverrideError => {
  try {
    withOverrides({ settings }, build)
  } catch (error) {
    if (error instanceof OverrideError) return error
    throw error
  }
  throw new Error("no error")
}

describe("scope", () => {
  it("prefixes what is applied inside it, nested ones in order", () => {
    expect(scope("a", () => scope("b", () => list({}, params).id))).toBe("a/b/list")
    expect(scope("a", () => list.named("words")({}, params).id)).toBe("a/words")
    expect(instanceId("list")).toBe("list")
  })

  it("ends with its body, also when that throws", () => {
    expect(() =>
      scope("a", () => {
        throw new Error("inside")
      })
    ).toThrow("inside")
    expect(instanceId("list")).toBe("list")
  })
})

describe("withOverrides", () => {
  it("replaces parameters of the named instance: JSON where it parses, else a string", () => {
    const settings = ["list.count=5", "list.word=race", 'list.nested={"a":[1]}']
    expect(withOverrides({ settings }, build).params).toEqual({ count: 5, word: "race", nested: { a: [1] } })
    expect(build().params).toEqual(params)
  })

  it("reaches an instance inside a scope by its whole name", () => {
    const settings = ["stage/list.count=7"]
    expect(withOverrides({ settings }, () => scope("stage", build)).params).toMatchObject({ count: 7 })
  })

  it("fails for an instance or a parameter that does not exist, with the nearest name and all names", () => {
    expect(caught(["lists.count=1"])).toMatchObject({
      message: 'no node is called "lists"; did you mean "list"?',
      hint: "Nodes: list"
    })
    expect(caught(["list.counts=1"])).toMatchObject({
      message: 'list has no parameter "counts"; did you mean "count"?',
      hint: "Parameters of list: count, word, nested"
    })
    expect(caught(["count"]).message).toBe('"count" is not instance.param=value')
  })
})

describe("nameFault", () => {
  it("takes what a file name can hold, and nothing else", () => {
    for (const name of ["list", "sft/train", "größer", "a b", "x".repeat(200)])
      expect(nameFault("node", name), name).toBeUndefined()
    for (const name of ["", " ", "/a", "a//b", "a\nb", "\ud83d", "x".repeat(201), 7])
      expect(nameFault("node", name)?.hint, String(name)).toContain("Give the node a name")
  })
})
