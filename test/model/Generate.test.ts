/**
 * Generation's promises: a stream that computes what is asked of it, rows that do not know of each other, nothing
 * leaks.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { type GenerateOptions, generate, generateLlava, greedyLlava, greedyText } from "../../src/model/Generate.ts"
import { phiEmbed } from "../../src/model/phi/Model.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf, type Weights } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { imageBatch, textBatch, tinyLlava, tinyPhi, uploadLlava, uploadPhi } from "./support.ts"

const lengths = [3, 7, 5]
const batch = textBatch(lengths, 7, 6)

/** Tokens of the batch, or of one row alone. */
const tokens = (w: Weights, options: GenerateOptions, only?: number) => {
  const ids = only === undefined ? batch.ids_BT : batch.ids_BT.slice(only * 7, only * 7 + lengths[only]!)
  const long = only === undefined ? lengths : [lengths[only]!]
  return generate(
    w,
    tinyPhi,
    (c) => phiEmbed(c, w, tf.tensor2d(ids, [long.length, ids.length / long.length], "int32")),
    long,
    options
  )
}
const rows = (w: Weights, options: GenerateOptions, only?: number) =>
  Effect.map(Stream.runCollect(tokens(w, options, only)), (all) => {
    const out: Array<Array<number>> = (only === undefined ? lengths : [0]).map(() => [])
    for (const { id, row } of all) out[row]!.push(id)
    return out
  })
const drawn = { maxNewTokens: 8, temperature: 1, topK: 30, seed: 4 }

describe("generate", () => {
  it.effect("without a temperature it is greedy; each step has the tokens of all rows that go on", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const greedily = yield* greedyText(w, tinyPhi, batch.ids_BT, lengths, { maxNewTokens: 6 })
      expect(yield* rows(w, { maxNewTokens: 6 })).toEqual(greedily)
      expect(yield* rows(w, { maxNewTokens: 6, temperature: 0, topK: 3, topP: 0.5, seed: 9 })).toEqual(greedily)
      expect(yield* rows(w, { maxNewTokens: 6, topK: 1 })).toEqual(greedily)
      const all = yield* Stream.runCollect(tokens(w, { maxNewTokens: 6 }))
      expect(all.map(({ row, step }) => [step, row])).toEqual(
        Array.from({ length: 18 }, (_, i) => [Math.floor(i / 3), i % 3])
      )
      expect(all.filter((one) => one.ended !== undefined)).toEqual(all.slice(-3))
      expect(new Set(all.slice(-3).map((one) => one.ended))).toEqual(new Set(["length"]))
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("rows end for themselves: a stop token, a word of `stop`, or the length", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const greedily = yield* rows(w, { maxNewTokens: 6 })
      const end = greedily[0]![2]!
      const byToken = yield* Stream.runCollect(tokens(w, { maxNewTokens: 6, stopTokens: [end] }))
      for (const [row, whole] of greedily.entries()) {
        const of = byToken.filter((one) => one.row === row)
        const length = whole.includes(end) ? whole.indexOf(end) + 1 : 6
        expect(of.map(({ id }) => id)).toEqual(whole.slice(0, length))
        expect(of.at(-1)?.ended).toBe(whole.includes(end) ? "token" : "length")
      }
      const asked: Array<Array<number>> = [[], [], []]
      const stop = (row: number, id: number) => asked[row]!.push(id) === 2 && row === 1
      const byWord = yield* Stream.runCollect(tokens(w, { maxNewTokens: 6, stop }))
      expect(asked).toEqual([greedily[0], greedily[1]!.slice(0, 2), greedily[2]])
      expect(byWord.filter((one) => one.ended !== undefined).map(({ row, ended }) => [row, ended])).toEqual([
        [1, "stop"],
        [0, "length"],
        [2, "length"]
      ])
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a row draws the same alone as in a batch, when it is called the same; another seed draws otherwise", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const together = yield* rows(w, drawn)
      for (const row of lengths.keys())
        expect((yield* rows(w, { ...drawn, rowNumbers: [row] }, row))[0]).toEqual(together[row])
      expect(yield* rows(w, drawn)).toEqual(together)
      expect(yield* rows(w, { ...drawn, seed: 5 })).not.toEqual(together)
      expect(together).not.toEqual(yield* rows(w, { maxNewTokens: 8 }))
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("who stops listening stops the work, and nothing leaks", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* uploadPhi
      yield* rows(w, drawn)
      const before = yield* tensors.memory
      const seen: Array<number> = []
      const stop = (_: number, id: number) => seen.push(id) < 0
      const some = yield* Stream.runCollect(Stream.take(tokens(w, { maxNewTokens: 1000, stop }), 6))
      expect([some.length, seen.length]).toEqual([6, 6])
      yield* rows(w, drawn)
      yield* Effect.exit(
        Stream.runForEach(tokens(w, { maxNewTokens: 9 }), ({ step }) =>
          step === 3 ? Effect.fail("enough") : Effect.void
        )
      )
      expect((yield* tensors.memory).tensors).toBe(before.tensors)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("pictures: drawn and greedy tokens, batched, are those of each row alone", () =>
    Effect.gen(function* () {
      const w = yield* uploadLlava
      const long = [8, 11]
      const pictured = imageBatch(long, 11, 3)
      const greedily = yield* greedyLlava(w, tinyLlava, pictured, long, { maxNewTokens: 5 })
      const all = yield* Stream.runCollect(generateLlava(w, tinyLlava, pictured, long, { maxNewTokens: 5 }))
      for (const row of [0, 1]) expect(all.filter((one) => one.row === row).map(({ id }) => id)).toEqual(greedily[row])
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("settings that choose no token and prompts without one are typed errors; nothing asked is nothing", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const failed = (options: GenerateOptions) => Effect.flip(Stream.runDrain(tokens(w, options)))
      expect((yield* failed({ maxNewTokens: 3, temperature: -1 }))._tag).toBe("BadSampling")
      expect(yield* rows(w, { maxNewTokens: 0 })).toEqual([[], [], []])
      const none = generate(w, tinyPhi, (c) => phiEmbed(c, w, tf.zeros([1, 1], "int32")), [0], { maxNewTokens: 3 })
      expect((yield* Effect.flip(Stream.runDrain(none)))._tag).toBe("ShapeMismatch")
    }).pipe(Effect.provide(Engine.wasm))
  )
})
