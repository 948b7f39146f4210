/**
 * What the noun-phrase tagger looks at in a caption, as 32-bit keys, and the table of weights by key.
 *
 * Not the tagger (`PhraseTagger.ts`). Features come in two sorts: those of one word in one role (the word itself, the
 * one before, ...), which a tagger may sum once a word, and those of several words. Either is asked alone, or once for
 * each label of the word before ("paired"). A key of 0 is no feature. `scripts/noun-phrases/train.ts` learns weights
 * for the same keys.
 */
import { brotliDecompressSync } from "node:zlib"

/** Labels of a word: outside, begins a phrase, continues one. */
export const OUTSIDE = 0
export const BEGINS = 1
export const CONTINUES = 2
export const LABELS = 3

/**
 * Keys of one word: the word, its last three letters, its last two with its shape (letters, digits, hyphens, other).
 */
export interface WordKeys {
  readonly word: number
  readonly end3: number
  readonly end2: number
}

const mix = (hash: number, value: number): number => {
  const mixed = Math.imul(hash ^ value, 0x85ebca6b)
  return (mixed ^ (mixed >>> 13)) | 0
}
const one = (kind: number, a: number): number => (a === 0 ? 0 : mix(mix(kind, a), 0x5bd1e995))
const two = (kind: number, a: number, b: number): number =>
  a === 0 || b === 0 ? 0 : mix(mix(mix(kind, a), 0x27d4eb2f), b)

/** FNV-1a over UTF-16 units. */
const hashOf = (text: string, seed: number): number => {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return mix(hash, text.length) || 1
}
const shapeOf = (word: string): number =>
  /^\p{L}+$/u.test(word) ? 1 : /^\p{N}+$/u.test(word) ? 2 : /^\p{N}/u.test(word) ? 3 : word.includes("-") ? 4 : 5

/** Words of closed classes: their ends say nothing of other words ("from" of "prom"), so they have none in common. */
const closed = new Set(
  (
    "a an the this that these those some any no each every all both another either neither such what which who whom whose " +
    "my your his her its our their i you he she it we they me him them us one two three four five six seven eight nine ten " +
    "in on at with of for from by near under over behind beside between inside outside through across along around against " +
    "towards toward above below during after before into onto past off among beneath without like about up down out to as " +
    "per via upon within and or but nor so if than then when while where why how because not n't 's ' is are was were be been " +
    "being am has have had do does did can could will would may might must shall should there here very too also just only"
  ).split(" ")
)

/** The keys of a word in lower case. */
export const keysOf = (text: string): WordKeys => {
  const word = hashOf(text, 0x811c9dc5)
  if (closed.has(text)) return { word, end3: one(26, word), end2: one(27, word) }
  return { word, end3: hashOf(text.slice(-3), 0x12345), end2: hashOf(text.slice(-2), 0x777 + shapeOf(text)) }
}

/** What stands before the first word and after the last. */
export const EDGE: WordKeys = { word: 3, end3: 5, end2: 7 }

/** The roles of a word: two before, one before, here, one after, two after. */
export const ROLES = [-2, -1, 0, 1, 2] as const

/** Features of one word by its role. */
export const soloKeys = (role: (typeof ROLES)[number], { end2, end3, word }: WordKeys): ReadonlyArray<number> => {
  switch (role) {
    case -2:
      return [one(11, word)]
    case -1:
      return [one(4, word), one(6, end3)]
    case 0:
      return [one(1, word), one(2, end3), one(3, end2)]
    case 1:
      return [one(5, word), one(7, end3)]
    default:
      return [one(12, word)]
  }
}

/** Paired features of one word: of the word itself (with a constant), and of the one after it. */
export const soloPairs = (role: 0 | 1, { end3, word }: WordKeys): ReadonlyArray<number> =>
  role === 0 ? [17, one(22, word), one(23, end3)] : [one(24, word)]

/** How many features of several words there are: alone, and paired. */
export const JOINT = 9

/**
 * Features of several words, of which `here` is to be labelled: `JOINT` keys to `out`, called for each word of each
 * caption.
 */
export const jointKeys = (last: WordKeys, here: WordKeys, next: WordKeys, next2: WordKeys, out: Int32Array): void => {
  out[0] = two(8, last.word, here.word)
  out[1] = two(9, here.word, next.word)
  out[2] = two(10, last.word, next.word)
  out[3] = two(13, here.end3, next.end3)
  out[4] = two(14, last.end3, here.end3)
  out[5] = two(15, next.word, next2.word)
  out[6] = two(16, last.word, here.end3)
  out[7] = two(17, here.end3, next.word)
  out[8] = two(19, two(20, last.end2, here.end2), next.end2)
}

/** How many paired features of several words there are. */
export const JOINT_PAIRS = 2

/** Paired features of several words. */
export const jointPair = (which: number, last: WordKeys, here: WordKeys, next: WordKeys): number =>
  which === 0 ? two(25, here.end2, next.end2) : two(28, last.end2, here.word)

/** The key of a paired feature where the word before has label `label`. */
export const paired = (key: number, label: number): number => (key === 0 ? 0 : mix(key, label + 101))

/** Weights by key. */
export interface Weights {
  /** Adds a key's three weights, one a label, to `scores` from `at`; a key that is unknown adds nothing. */
  readonly add: (key: number, scores: Float64Array, at: number) => void
}

/**
 * Reads weights from their file: brotli over a count, keys (sorted, as differences, 4 bytes each, little-endian), and
 * three signed bytes a key. Kept in an open table that is at most half full.
 */
export const readWeights = (file: Uint8Array): Weights => {
  const bytes = brotliDecompressSync(file)
  const count = bytes.readUInt32LE(0)
  let size = 1024
  while (size < 2 * count) size *= 2
  const mask = size - 1
  // A key and its weights side by side: one lookup touches one line of the cache.
  const slots = new Int32Array(2 * size)
  let key = 0
  for (let i = 0; i < count; i++) {
    key = (key + bytes.readUInt32LE(4 + 4 * i)) >>> 0
    let slot = key & mask
    while (slots[2 * slot] !== 0) slot = (slot + 1) & mask
    const at = 4 + 4 * count + 3 * i
    slots[2 * slot] = key | 0
    slots[2 * slot + 1] = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
  }
  return {
    add: (wanted, scores, at) => {
      if (wanted === 0) return
      let slot = wanted & mask
      for (let found = slots[2 * slot]!; found !== wanted; found = slots[2 * slot]!) {
        if (found === 0) return
        slot = (slot + 1) & mask
      }
      const packed = slots[2 * slot + 1]!
      scores[at] = scores[at]! + ((packed << 24) >> 24)
      scores[at + 1] = scores[at + 1]! + ((packed << 16) >> 24)
      scores[at + 2] = scores[at + 2]! + ((packed << 8) >> 24)
    }
  }
}
