/**
 * Which words of a caption are inside a noun phrase: a linear model over words, their ends and their neighbours.
 *
 * Not a parser, and no phrases yet: `NounPhrases.ts` cuts them out. Each word gets one of three labels (outside, begins
 * a phrase, continues one); the best sequence is found by the Viterbi algorithm. A word's own share of the scores is
 * summed once and kept, up to `MOST_WORDS` words: what is left for each caption are the features of several words.
 *
 * Source: Collins, "Discriminative Training Methods for Hidden Markov Models" (2002): perceptron weights, averaged.
 */
import * as F from "./PhraseFeatures.ts"

/** Scores of a word: 5 roles x 3 labels, then paired as the word itself (3 x 3) and as the one after (3 x 3). */
const ROW = F.ROLES.length * F.LABELS + 2 * 9
const OWN_PAIRS = F.ROLES.length * F.LABELS
const NEXT_PAIRS = OWN_PAIRS + 9
/** Words whose scores are kept: 66 bytes and a key each. Then all are forgotten, and it begins anew. */
const MOST_WORDS = 100_000

/** A word's scores to `scores`, which are whole numbers. */
const scoreWord = (keys: F.WordKeys, weights: F.Weights, scores: Float64Array): void => {
  scores.fill(0)
  F.ROLES.forEach((role, i) => {
    for (const key of F.soloKeys(role, keys)) weights.add(key, scores, F.LABELS * i)
  })
  for (let label = 0; label < F.LABELS; label++) {
    for (const key of F.soloPairs(0, keys)) weights.add(F.paired(key, label), scores, OWN_PAIRS + F.LABELS * label)
    for (const key of F.soloPairs(1, keys)) weights.add(F.paired(key, label), scores, NEXT_PAIRS + F.LABELS * label)
  }
}

/** Labels of a caption's words. */
export interface Tagger {
  /** The labels of lower-case words, in an array that the next call may use again: read the first `words.length`. */
  readonly label: (words: ReadonlyArray<string>) => Uint8Array
}

/**
 * A tagger over weights.
 *
 * Long: its passes share flat arrays, which are made once.
 *
 * @example
 * tagger(weights).label(["a", "red", "square"]) // [OUTSIDE, BEGINS, CONTINUES]
 */
export const tagger = (weights: F.Weights): Tagger => {
  // All words in one array, a row each; row 0 is what stands before the first word and after the last.
  const known = new Map<string, number>()
  let pool = new Int16Array(ROW * 1024)
  let keys: Array<F.WordKeys> = []
  const sums = new Float64Array(ROW)
  const joint = new Int32Array(F.JOINT)
  const step = new Float64Array(9)
  const here3 = new Float64Array(F.LABELS)
  let labels = new Uint8Array(64)
  let best = new Float64Array(F.LABELS * 64)
  let from = new Uint8Array(F.LABELS * 64)
  let row: Array<number> = []

  const keep = (word: F.WordKeys): number => {
    const at = keys.push(word) - 1
    if (pool.length < ROW * (at + 1)) {
      const larger = new Int16Array(2 * pool.length)
      larger.set(pool)
      pool = larger
    }
    scoreWord(word, weights, sums)
    pool.set(sums, ROW * at)
    return at
  }
  keep(F.EDGE)

  const knownOf = (word: string): number => {
    const found = known.get(word)
    if (found !== undefined) return found
    const made = keep(F.keysOf(word))
    known.set(word, made)
    return made
  }

  /** Scores of word `at`: each label alone to `here3`, each pair of labels to `step`. */
  const score = (at: number): void => {
    const last = row[at - 1] ?? 0
    const here = row[at]!
    const next = row[at + 1] ?? 0
    const next2 = row[at + 2] ?? 0
    const before2 = ROW * (row[at - 2] ?? 0)
    const before = ROW * last + 3
    const own = ROW * here
    const after = ROW * next
    const after2 = ROW * next2 + 12
    for (let label = 0; label < F.LABELS; label++)
      here3[label] =
        pool[before2 + label]! +
        pool[before + label]! +
        pool[own + 6 + label]! +
        pool[after + 9 + label]! +
        pool[after2 + label]!
    F.jointKeys(keys[last]!, keys[here]!, keys[next]!, keys[next2]!, joint)
    for (let i = 0; i < F.JOINT; i++) weights.add(joint[i]!, here3, 0)
    if (at === 0) return
    for (let i = 0; i < 9; i++) step[i] = pool[own + OWN_PAIRS + i]! + pool[after + NEXT_PAIRS + i]!
    for (let which = 0; which < F.JOINT_PAIRS; which++) {
      const key = F.jointPair(which, keys[last]!, keys[here]!, keys[next]!)
      for (let label = 0; label < F.LABELS; label++) weights.add(F.paired(key, label), step, F.LABELS * label)
    }
  }

  /** The best way to give word `at` each label, from the word before. */
  const advance = (at: number): void => {
    for (let label = 0; label < F.LABELS; label++) {
      let top = Number.NEGATIVE_INFINITY
      let source = F.OUTSIDE
      // Nothing that is outside is continued.
      for (let former = label === F.CONTINUES ? F.BEGINS : F.OUTSIDE; former < F.LABELS; former++) {
        const sum = best[3 * (at - 1) + former]! + step[3 * former + label]!
        if (sum > top) {
          top = sum
          source = former
        }
      }
      best[3 * at + label] = top + here3[label]!
      from[3 * at + label] = source
    }
  }

  const label = (words: ReadonlyArray<string>): Uint8Array => {
    const n = words.length
    if (labels.length < n) {
      labels = new Uint8Array(2 * n)
      best = new Float64Array(6 * n)
      from = new Uint8Array(6 * n)
    }
    if (known.size > MOST_WORDS) {
      known.clear()
      keys = keys.slice(0, 1)
    }
    row = words.map(knownOf)
    for (let at = 0; at < n; at++) {
      score(at)
      if (at > 0) advance(at)
      else best.set([here3[0]!, here3[1]!, Number.NEGATIVE_INFINITY])
    }
    const end = 3 * (n - 1)
    let last = F.OUTSIDE as number
    for (let other = F.BEGINS as number; other < F.LABELS; other++)
      if (n > 0 && best[end + other]! > best[end + last]!) last = other
    for (let at = n - 1; at >= 0; at--) {
      labels[at] = last
      last = from[3 * at + last]!
    }
    return labels
  }

  return { label }
}
