/** Sampling keeps what transformers' warpers keep, and draws what the scores say. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { checkSampling, isGreedy, type Sampling, sampleToken, warp } from "../../../src/model/generate/Sampling.ts"
import { fillNormal, stream } from "../../../src/tensor/Random.ts"

const Golden = Schema.Struct({
  cases: Schema.Array(
    Schema.Struct({
      settings: Schema.Struct({
        temperature: Schema.Number,
        topK: Schema.optional(Schema.Number),
        topP: Schema.optional(Schema.Number)
      }),
      logits: Schema.Array(Schema.Number),
      scores: Schema.Array(Schema.NullOr(Schema.Number))
    })
  )
})
const golden = Schema.decodeUnknownSync(Golden)(
  JSON.parse(readFileSync(new URL("../../golden/sampling/cases.json", import.meta.url), "utf8"))
)

const logitsOf = (seed: number, size: number, std = 3) =>
  fillNormal(stream(seed, "logits"), new Float32Array(size), { std })
const kept = (scores_V: Float32Array): ReadonlyArray<number> =>
  [...scores_V.keys()].filter((id) => scores_V[id] !== -Infinity)
const softmax = (scores_V: Float32Array): ReadonlyArray<number> => {
  const top = Math.max(...scores_V)
  const masses = [...scores_V].map((score) => Math.exp(score - top))
  const total = masses.reduce((sum, mass) => sum + mass)
  return masses.map((mass) => mass / total)
}

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const seed = between(0, 1_000_000)
const size = between(1, 200)
const share = Schema.Number.check(Schema.isBetween({ minimum: 0.01, maximum: 1 }))
const temperature = Schema.Number.check(Schema.isBetween({ minimum: 0.05, maximum: 5 }))

describe("warp", () => {
  it("gives the scores of transformers' temperature, top-k and top-p, to the last bit", () => {
    expect(golden.cases.length).toBe(13)
    for (const { logits, scores, settings } of golden.cases)
      expect([...warp(Float32Array.from(logits), settings)], JSON.stringify(settings)).toEqual(
        scores.map((score) => score ?? -Infinity)
      )
  })

  it.prop("top-k keeps the k largest of different logits", [seed, size, between(1, 250)], ([seed, size, k]) => {
    const logits_V = logitsOf(seed, size)
    const different = new Set(logits_V).size === size
    const ids = kept(warp(logits_V, { temperature: 1, topK: k }))
    if (different) expect(ids.length).toBe(Math.min(k, size))
    const least = Math.min(...ids.map((id) => logits_V[id]!))
    for (const [id, logit] of logits_V.entries()) if (!ids.includes(id)) expect(logit).toBeLessThan(least)
  })

  it.prop("top-p keeps the fewest likeliest tokens that reach p", [seed, size, share], ([seed, size, p]) => {
    const logits_V = logitsOf(seed, size)
    const ids = kept(warp(logits_V, { temperature: 1, topP: p }))
    const probabilities = softmax(logits_V)
    const mass = ids.reduce((sum, id) => sum + probabilities[id]!, 0)
    const least = Math.min(...ids.map((id) => probabilities[id]!))
    expect(mass).toBeGreaterThanOrEqual(p - 1e-9)
    expect(mass - least).toBeLessThan(p + 1e-9)
    for (const [id, one] of probabilities.entries()) if (!ids.includes(id)) expect(one).toBeLessThanOrEqual(least)
  })

  it.prop("of equal logits top-p keeps the lowest ids", [size, share], ([size, p]) => {
    const ids = kept(warp(new Float32Array(size), { temperature: 1, topP: p }))
    expect(ids).toEqual(Array.from(ids, (_, i) => i))
    expect(ids.length / size).toBeGreaterThanOrEqual(p - 1e-9)
    expect((ids.length - 1) / size).toBeLessThan(p + 1e-9)
  })
})

describe("sampleToken", () => {
  it.prop("temperature 0, top-k 1 and a tiny p are greedy", [seed, size, seed], ([seed, size, step]) => {
    const logits_V = logitsOf(seed, size)
    const best = logits_V.indexOf(Math.max(...logits_V))
    for (const sampling of [{}, { temperature: 0, topK: 9 }, { topK: 1 }, { temperature: 2, topP: 1e-9 }])
      expect(sampleToken(logits_V, sampling, 0, step), JSON.stringify(sampling)).toBe(best)
  })

  it.prop(
    "draws only what was kept, and the same for the same seed, row and step",
    [seed, size, temperature, between(0, 20), share],
    ([seed, size, temperature, topK, topP]) => {
      const logits_V = logitsOf(seed, size)
      const sampling: Sampling = { temperature, topK, topP, seed }
      const ids = kept(warp(logits_V, sampling))
      const before = logits_V.slice()
      const draw = () => Array.from({ length: 20 }, (_, step) => sampleToken(logits_V, sampling, 3, step))
      const drawn = draw()
      for (const id of drawn) expect(ids).toContain(id)
      expect(draw()).toEqual(drawn)
      expect(logits_V).toEqual(before)
    }
  )

  it("rows and steps draw for themselves", () => {
    const logits_V = new Float32Array(1000)
    const drawn = (row: number) =>
      Array.from({ length: 50 }, (_, step) => sampleToken(logits_V, { temperature: 1 }, row, step))
    expect(new Set([...drawn(0), ...drawn(1)]).size).toBeGreaterThan(80)
    expect(drawn(0)).not.toEqual(drawn(1))
  })

  for (const sampling of [
    { temperature: 1 },
    { temperature: 0.6, topK: 8 },
    { temperature: 1.5, topP: 0.8 }
  ] satisfies ReadonlyArray<Sampling>)
    it(`${JSON.stringify(sampling)}: frequencies of 20,000 draws are the probabilities (chi-square)`, () => {
      const logits_V = logitsOf(7, 16, 1)
      const probabilities = softmax(warp(logits_V, sampling))
      const draws = 20_000
      const counts = new Array<number>(16).fill(0)
      for (let step = 0; step < draws; step++) counts[sampleToken(logits_V, { ...sampling, seed: 5 }, 0, step)]!++
      const cells = probabilities
        .map((p, id) => ({ expected: p * draws, count: counts[id]! }))
        .filter((c) => c.expected > 0)
      const chi = cells.reduce((sum, { count, expected }) => sum + (count - expected) ** 2 / expected, 0)
      expect(counts.filter((_, id) => probabilities[id] === 0)).toEqual(new Array(16 - cells.length).fill(0))
      // Fifteen degrees of freedom at most: 37.7 is passed once in a thousand.
      expect(chi).toBeLessThan(37.7)
    })

  it("logits that are no numbers still give a token", () => {
    expect(sampleToken(new Float32Array(4).fill(NaN), { temperature: 1 }, 0, 0)).toBe(0)
  })
})

describe("checkSampling", () => {
  it("refuses what chooses no token, with a hint, and takes the rest", () => {
    const bad: ReadonlyArray<Sampling> = [
      { temperature: -1 },
      { temperature: NaN },
      { temperature: Infinity },
      { topK: -1 },
      { topK: 1.5 },
      { topP: 0 },
      { topP: 1.1 },
      { seed: -1 }
    ]
    for (const sampling of bad) expect(checkSampling(sampling)?.hint, JSON.stringify(sampling)).toMatch(/^Use /)
    expect(checkSampling({ temperature: 0, topK: 0, topP: 1, seed: 0 })).toBeUndefined()
    expect([isGreedy({}), isGreedy({ topK: 0, topP: 1 }), isGreedy({ topK: 3 }), isGreedy({ topP: 0.5 })]).toEqual([
      true,
      true,
      false,
      false
    ])
  })
})
