/**
 * The noun-phrase tagger without optimisations: used for training, and as the reference for a test of the fast one.
 *
 * Not part of the package. Every feature of every word is looked up separately.
 */
import * as F from "../../src/text/PhraseFeatures.ts"

/** A word with the keys that it has in every role. */
export interface Word {
  readonly keys: F.WordKeys
  readonly solo: ReadonlyArray<ReadonlyArray<number>>
  readonly own: ReadonlyArray<number>
  readonly next: ReadonlyArray<number>
}
export const wordOf = (keys: F.WordKeys): Word => ({
  keys,
  solo: F.ROLES.map((role) => F.soloKeys(role, keys)),
  own: F.soloPairs(0, keys),
  next: F.soloPairs(1, keys)
})
const edge = wordOf(F.EDGE)

/** Features that ask for no neighbour's label, and those that are asked once for each label of the word before. */
export const ALONE = F.JOINT + edge.solo.flat().length
export const PAIRED = edge.own.length + edge.next.length + F.JOINT_PAIRS
const EACH = ALONE + PAIRED

const joint = new Int32Array(F.JOINT)
let keys = new Int32Array(EACH * 64)

/** The keys of all words, `ALONE + PAIRED` a word, in an array that the next call uses again. */
export const keysOfLine = (words: ReadonlyArray<Word>): Int32Array => {
  if (keys.length < EACH * words.length) keys = new Int32Array(2 * EACH * words.length)
  let out = 0
  for (let i = 0; i < words.length; i++) {
    for (let role = 0; role < F.ROLES.length; role++)
      for (const key of (words[i + F.ROLES[role]!] ?? edge).solo[role]!) keys[out++] = key
    const at = (j: number): F.WordKeys => (words[j] ?? edge).keys
    F.jointKeys(at(i - 1), at(i), at(i + 1), at(i + 2), joint)
    for (let j = 0; j < F.JOINT; j++) keys[out++] = joint[j]!
    for (const key of words[i]!.own) keys[out++] = key
    for (const key of (words[i + 1] ?? edge).next) keys[out++] = key
    for (let which = 0; which < F.JOINT_PAIRS; which++) keys[out++] = F.jointPair(which, at(i - 1), at(i), at(i + 1))
  }
  return keys
}

let alone = new Float64Array(3 * 64)
let scores = new Float64Array(3 * 64)
let from = new Uint8Array(3 * 64)
const step = new Float64Array(9)

/** The best labels of `n` words with such keys (Viterbi), to `labels`. */
export const best = (n: number, lineKeys: Int32Array, weights: F.Weights, labels: Uint8Array): void => {
  if (alone.length < 3 * n) {
    alone = new Float64Array(6 * n)
    scores = new Float64Array(6 * n)
    from = new Uint8Array(6 * n)
  }
  alone.fill(0)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < ALONE; j++) weights.add(lineKeys[EACH * i + j]!, alone, 3 * i)
    step.fill(0)
    if (i > 0)
      for (let j = ALONE; j < EACH; j++)
        for (let former = 0; former < 3; former++)
          weights.add(F.paired(lineKeys[EACH * i + j]!, former), step, 3 * former)
    for (let label = 0; label < 3; label++) {
      let top = i === 0 && label !== F.CONTINUES ? 0 : Number.NEGATIVE_INFINITY
      for (let former = 0; former < 3 && i > 0; former++) {
        if (former === F.OUTSIDE && label === F.CONTINUES) continue
        const sum = scores[3 * (i - 1) + former]! + step[3 * former + label]!
        if (sum > top) {
          top = sum
          from[3 * i + label] = former
        }
      }
      scores[3 * i + label] = top + alone[3 * i + label]!
    }
  }
  let label = 0
  for (let other = 1; other < 3; other++) if (scores[3 * (n - 1) + other]! > scores[3 * (n - 1) + label]!) label = other
  for (let i = n - 1; i >= 0; i--) {
    labels[i] = label
    label = from[3 * i + label]!
  }
}
