import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkSelection, choose, nodeCalled, UsageError } from "../../src/cli/Choose.ts"
import { WiringError } from "../../src/dag/Node.ts"
import { recipe } from "../../src/run/Recipe.ts"
import words from "./fixtures/words.ts"

const none = { preset: undefined, engine: undefined, settings: [] }
const select = { only: [], from: [], until: [], force: [] }

describe("choose", () => {
  it.effect("takes the first preset and engine when none is named", () =>
    Effect.gen(function* () {
      const { choice, pipeline } = yield* choose(words, none)
      expect(choice).toEqual({ preset: "sample", engine: "wasm", settings: [] })
      expect(pipeline.nodes.map((node) => node.id)).toEqual(["words", "shout", "train"])
      const set = yield* choose(words, { ...none, settings: ["train.steps=9"] })
      expect(set.pipeline.nodes[2]!.params).toMatchObject({ steps: 9 })
    })
  )

  it.effect("takes the preset's engine, and what `auto` stands for, with the reason", () =>
    Effect.gen(function* () {
      const some = recipe({
        ...words,
        engine: () => "auto",
        resolveEngine: (name) => (name === "auto" ? { engine: "torch", why: "it is built" } : { engine: name })
      })
      const auto = yield* choose(some, none)
      expect([auto.choice.engine, auto.engineWhy]).toEqual(["torch", "it is built"])
      const named = yield* choose(some, { ...none, engine: "wasm" })
      expect([named.choice.engine, named.engineWhy]).toEqual(["wasm", undefined])
    })
  )

  const wrong: ReadonlyArray<readonly [Partial<Parameters<typeof choose>[1]>, RegExp, RegExp]> = [
    [{ preset: "slwo" }, /no preset is called "slwo"; did you mean "slow"\?/, /^Presets: slow, sample/],
    [{ engine: "cuda" }, /no engine is called "cuda"$/, /^Engines of words: wasm, torch, auto$/],
    [{ settings: ["train.step=3"] }, /train has no parameter "step"; did you mean "steps"\?/, /train: steps, stepMs$/],
    [{ settings: ["tran.steps=3"] }, /no node is called "tran"; did you mean "train"\?/, /train, words, shout$/],
    [{ settings: ["foo"] }, /"foo" is not instance\.param=value/, /--set/],
    [{ settings: ["train.steps=abc"] }, /train: parameter steps: expected number, got "abc"/, /graph --format json/]
  ]
  it.effect.each(wrong)("%j is wrong usage that names what there is", ([wanted, message, hint]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(choose(words, { ...none, ...wanted }))
      expect(error).toBeInstanceOf(UsageError)
      expect(error.message).toMatch(message)
      expect(error.hint).toMatch(hint)
    })
  )

  it.effect("does not blame the command line for a recipe that is wrong by itself", () =>
    Effect.gen(function* () {
      const broken = recipe({
        ...words,
        build: () => {
          throw new WiringError({ node: "a", sourceLocation: "p", message: "input rows is missing", hint: "Wire it." })
        }
      })
      expect(yield* Effect.flip(choose(broken, none))).toBeInstanceOf(WiringError)
      expect(yield* Effect.flip(choose(broken, { ...none, settings: ["a.b=1"] }))).toBeInstanceOf(WiringError)
    })
  )
})

it.effect("a selection names nodes that are there", () =>
  Effect.gen(function* () {
    const { pipeline } = yield* choose(words, none)
    yield* checkSelection(pipeline, { ...select, only: ["train"], force: ["words", "shout"] })
    const error = yield* Effect.flip(checkSelection(pipeline, { ...select, from: ["shuot"] }))
    expect([error.message, error.hint]).toEqual([
      '--from: no node is called "shuot"; did you mean "shout"?',
      "Nodes: shout, words, train"
    ])
    expect((yield* nodeCalled(pipeline, "train")).id).toBe("train")
    expect((yield* Effect.flip(nodeCalled(pipeline, "zzzzz"))).message).toBe('no node is called "zzzzz"')
  })
)
