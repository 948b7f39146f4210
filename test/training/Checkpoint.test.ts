/** A checkpoint keeps every bit of the loop's state, and another file is a typed error. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { decodeLoop, encodeLoop } from "../../src/training/Checkpoint.ts"

const Word = Schema.Int.check(Schema.isBetween({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 }))
const Finite = Schema.Finite
const states = Arbitrary.all([
  Arbitrary.array(Arbitrary.schema(Word), { maxLength: 24 }),
  Arbitrary.array(Arbitrary.schema(Finite), { maxLength: 10 })
])
const stateOf = (words: ReadonlyArray<number>) => ({
  update: 3,
  tensors: {
    // Any bit pattern, NaN and minus zero included.
    "weights/a": { shape: [words.length], values: new Float32Array(Int32Array.from(words).buffer) },
    "m/a": { shape: [1, 2], values: Float32Array.of(0.1, -0) },
    "v/empty": { shape: [0], values: new Float32Array(0) }
  }
})
const bits = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex")
const position = { step: 7, lossTokens: 123, losses: [1.5] }

describe("a loop's checkpoint", () => {
  it.effect.prop("comes back with every bit of tensors and losses", [states], ([[words, logged]]) =>
    Effect.gen(function* () {
      const losses = logged.map((loss) => loss + 0)
      const saved = stateOf(words)
      const found = yield* decodeLoop(encodeLoop({ step: 9, lossTokens: 1e12, losses }, saved))
      expect(found.position).toEqual({ step: 9, update: 3, lossTokens: 1e12, losses })
      expect(Object.keys(found.saved.tensors).toSorted()).toEqual(Object.keys(saved.tensors).toSorted())
      for (const [name, { shape, values }] of Object.entries(saved.tensors)) {
        expect(found.saved.tensors[name]!.shape).toEqual(shape)
        expect(bits(found.saved.tensors[name]!.values)).toBe(bits(values))
      }
    })
  )

  it("copies: what is encoded does not change when the state does", () => {
    const saved = stateOf([1, 2, 3])
    const files = encodeLoop(position, saved)
    const before = [...files.values()].map((bytes) => Buffer.from(bytes).toString("hex"))
    saved.tensors["weights/a"]!.values.fill(9)
    expect([...files.values()].map((bytes) => Buffer.from(bytes).toString("hex"))).toEqual(before)
  })

  const edits: ReadonlyArray<readonly [string, (files: Map<string, Uint8Array>) => void]> = [
    ["no loop.json", (files) => files.delete("loop.json")],
    ["a loop.json that is no JSON", (files) => files.set("loop.json", Buffer.from("{"))],
    ["a loop.json without a step", (files) => files.set("loop.json", Buffer.from('{"losses":[]}'))],
    ["a tensor file of three bytes", (files) => files.set("state-00000.safetensors", Buffer.from("abc"))],
    [
      "a tensor file that is cut",
      (files) => files.set("state-00000.safetensors", files.get("state-00000.safetensors")!.subarray(0, -4))
    ]
  ]
  for (const [what, edit] of edits)
    it.effect(`is refused with ${what}`, () =>
      Effect.gen(function* () {
        const files = new Map(encodeLoop(position, stateOf([1, 2, 3])))
        edit(files)
        const error = yield* Effect.flip(decodeLoop(files))
        expect(["BadCheckpoint", "SafetensorsError"]).toContain(error._tag)
        expect(error.hint).not.toBe("")
      })
    )
})
