/**
 * From logits to a token: temperature, top-k and top-p as `transformers` applies them, then one draw.
 *
 * Not a model and no state: a token is a pure function of (seed, row, step, logits), so that an answer can be repeated
 * and a batch draws what its rows draw alone. Shapes: V vocabulary; `logits_V` and `scores_V` float32.
 */
import { Schema } from "effect"
import { uniform } from "../../tensor/Random.ts"

/** How a token is chosen. Nothing given, or a temperature of 0, is greedy. */
export interface Sampling {
  /** Logits are divided by it; 0 is greedy. Default: 0, or 1 where `topK` or `topP` is given. */
  readonly temperature?: number | undefined
  /** Only the k largest logits can be drawn, and those equal to the k-th; 0 is all. */
  readonly topK?: number | undefined
  /** Only the smallest set of tokens whose probabilities reach p can be drawn; 1 is all. */
  readonly topP?: number | undefined
  /** Default 0. */
  readonly seed?: number | undefined
}

/** A setting that chooses no token. */
export class BadSampling extends Schema.TaggedError<BadSampling>()("BadSampling", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** The temperature that stands for what was given. */
export const temperatureOf = ({ temperature, topK, topP }: Sampling): number =>
  temperature ?? ((topK ?? 0) > 0 || (topP ?? 1) < 1 ? 1 : 0)

/** Whether the largest logit is taken without a draw. */
export const isGreedy = (sampling: Sampling): boolean => temperatureOf(sampling) === 0

/** What is wrong with the settings; undefined when nothing is. */
export const checkSampling = ({ seed, temperature, topK, topP }: Sampling): BadSampling | undefined => {
  const bad = (message: string, hint: string) => new BadSampling({ message, hint })
  if (temperature !== undefined && !(temperature >= 0 && temperature < Infinity))
    return bad(
      `a temperature of ${temperature}`,
      "Use 0 for greedy answers, or a number above it; 1 leaves logits alone."
    )
  if (topK !== undefined && !(Number.isSafeInteger(topK) && topK >= 0))
    return bad(`top-k of ${topK}`, "Use a whole number of tokens; 0 keeps all.")
  if (topP !== undefined && !(topP > 0 && topP <= 1)) return bad(`top-p of ${topP}`, "Use a share above 0, at most 1.")
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0))
    return bad(`a seed of ${seed}`, "Use a whole number from 0 on.")
  return undefined
}

const ascending = (scores_V: Float32Array): Float32Array => scores_V.slice().sort()

/** Takes away what is below the k-th largest score, in place. Equals of the k-th stay, as in `transformers`. */
const keepTopK = (scores_V: Float32Array, k: number): void => {
  if (k <= 0 || k >= scores_V.length) return
  const least = ascending(scores_V)[scores_V.length - k]!
  for (let i = 0; i < scores_V.length; i++) if (scores_V[i]! < least) scores_V[i] = -Infinity
}

/**
 * Takes away the tokens of least probability as long as they have 1 - p together; of equals the lowest ids stay. In
 * place.
 */
const keepTopP = (scores_V: Float32Array, p: number): void => {
  if (p >= 1) return
  const sorted = ascending(scores_V)
  const top = sorted[sorted.length - 1]!
  let total = 0
  for (const score of sorted) total += Math.exp(score - top)
  let mass = 0
  let first = 0
  for (; first < sorted.length - 1; first++) {
    mass += Math.exp(sorted[first]! - top)
    if (mass / total > 1 - p) break
  }
  const least = sorted[first]!
  // How many of those that equal the least one stay.
  let equals = 0
  for (let i = first; i < sorted.length && sorted[i] === least; i++) equals++
  for (let i = 0; i < scores_V.length; i++) {
    const score = scores_V[i]!
    if (score < least || (score === least && equals-- <= 0)) scores_V[i] = -Infinity
  }
}

/**
 * Scores that a token is drawn from: logits over the temperature, and -Infinity for what top-k and then top-p take
 * away.
 *
 * Not for a temperature of 0, which draws nothing.
 *
 * @example
 * warp(Float32Array.of(1, 3, 2), { temperature: 0.5, topK: 2 }) // -Infinity, 6, 4
 */
export const warp = (logits_V: Float32Array, sampling: Sampling): Float32Array => {
  const temperature = temperatureOf(sampling)
  const scores_V = logits_V.map((logit) => logit / Math.fround(temperature))
  keepTopK(scores_V, sampling.topK ?? 0)
  keepTopP(scores_V, sampling.topP ?? 1)
  return scores_V
}

/** The largest, the lowest id of equals. */
const largest = (logits_V: Float32Array): number => {
  let best = 0
  for (let i = 1; i < logits_V.length; i++) if (logits_V[i]! > logits_V[best]!) best = i
  return best
}

/**
 * The token of a row's step. `row` and `step` name the draw, so equal arguments give equal tokens everywhere.
 *
 * @example
 * sampleToken(logits_V, { temperature: 0.8, topP: 0.9, seed: 1 }, 0, 12)
 */
export const sampleToken = (logits_V: Float32Array, sampling: Sampling, row: number, step: number): number => {
  if (isGreedy(sampling)) return largest(logits_V)
  const scores_V = warp(logits_V, sampling)
  const best = largest(scores_V)
  const top = scores_V[best]!
  let total = 0
  for (const score of scores_V) total += Math.exp(score - top)
  const draw = uniform(sampling.seed ?? 0, "token", row, step) * total
  let mass = 0
  for (let i = 0; i < scores_V.length; i++) {
    mass += Math.exp(scores_V[i]! - top)
    if (mass > draw) return i
  }
  // Only where a logit is no number: nothing is larger than NaN.
  return best
}
