/**
 * Trains the noun-phrase tagger: an averaged structured perceptron over lines with marked phrases.
 *
 *     tsx scripts/noun-phrases/train.ts src/text/phrases.bin 4 120000 captions.labelled glosses.labelled
 *
 * Not run by tests or builds: its output is checked in. The same lines in the same order give the same bytes.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { brotliCompressSync, constants } from "node:zlib"
import * as T from "../../src/text/PhraseFeatures.ts"
import { phraseWords } from "../../src/text/PhraseWords.ts"
import { ALONE, best, keysOfLine, PAIRED, type Word, wordOf } from "./reference.ts"

const [, , target, rounds, most, ...files] = process.argv
if (target === undefined || files.length === 0) throw new Error("train.ts OUTPUT ROUNDS FEATURES LABELLED...")

/** A word as it is, and as one that was never seen: its end and shape alone. */
interface Entry {
  readonly seen: Word
  readonly hidden: Word
}
interface Line {
  readonly words: ReadonlyArray<Entry>
  readonly gold: Uint8Array
}

const known = new Map<string, Entry>()
const entryOf = (word: string): Entry => {
  const found = known.get(word)
  if (found !== undefined) return found
  const keys = T.keysOf(word)
  const entry = { seen: wordOf(keys), hidden: wordOf({ ...keys, word: 0 }) }
  known.set(word, entry)
  return entry
}

/** `a [red square]` as words and labels; undefined where a bracket falls inside a word. */
const parse = (line: string): Line | undefined => {
  const spans: Array<readonly [number, number]> = []
  let text = ""
  let from = 0
  for (const piece of line.split(/([[\]])/)) {
    if (piece === "[") from = text.length
    else if (piece === "]") spans.push([from, text.length])
    else text += piece
  }
  const words = phraseWords(text)
  const gold = new Uint8Array(words.length)
  let covered = 0
  for (const [start, end] of spans) {
    const inside = words.flatMap((word, at) => (word.from >= start && word.to <= end ? [at] : []))
    if (inside.length === 0 || words[inside[0]!]!.from !== start || words[inside.at(-1)!]!.to !== end) continue
    covered++
    inside.forEach((at, i) => {
      gold[at] = i === 0 ? T.BEGINS : T.CONTINUES
    })
  }
  return covered < spans.length || words.length === 0
    ? undefined
    : { words: words.map(({ word }) => entryOf(word)), gold }
}

let state = 12345
const unit = (): number => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) / 4294967296
}

// Weights by key, in an open table; `sums` hold weight times updates, for the average.
const SIZE = 1 << 24
const tableKeys = new Int32Array(SIZE)
const weights = new Float32Array(3 * SIZE)
const sums = new Float64Array(3 * SIZE)
let used = 0
const slotOf = (key: number): number => {
  let slot = (Math.imul(key, 0x9e3779b1) >>> 8) & (SIZE - 1)
  while (tableKeys[slot] !== 0 && tableKeys[slot] !== key) slot = (slot + 1) & (SIZE - 1)
  return slot
}
const table: T.Weights = {
  add: (key, scores, at) => {
    if (key === 0) return
    const slot = 3 * slotOf(key)
    for (let label = 0; label < 3; label++) scores[at + label] = scores[at + label]! + weights[slot + label]!
  }
}
let now = 1
const bump = (key: number, label: number, by: number): void => {
  if (key === 0) return
  const slot = slotOf(key)
  if (tableKeys[slot] === 0) {
    tableKeys[slot] = key
    if (++used > SIZE * 0.8) throw new Error("too many features")
  }
  weights[3 * slot + label] = weights[3 * slot + label]! + by
  sums[3 * slot + label] = sums[3 * slot + label]! + by * now
}

const found = new Uint8Array(4096)
const HIDDEN = 0.08

/** One line: where the best labels are wrong, weights of the right ones rise and of the wrong ones fall. */
const learn = ({ gold, words }: Line): number => {
  // Some words are hidden, so that ends and neighbours learn to do without.
  const keys = keysOfLine(words.map(({ hidden, seen }) => (unit() < HIDDEN ? hidden : seen)))
  best(gold.length, keys, table, found)
  let wrong = 0
  for (let at = 0; at < gold.length; at++) if (found[at] !== gold[at]) wrong++
  if (wrong === 0) return 0
  for (let at = 0; at < gold.length; at++) {
    const right = gold[at]!
    const guess = found[at]!
    const before = at === 0 ? 0 : gold[at - 1]!
    const guessBefore = at === 0 ? 0 : found[at - 1]!
    if (right === guess && before === guessBefore) continue
    const from = (ALONE + PAIRED) * at
    if (right !== guess)
      for (let i = from; i < from + ALONE; i++) {
        bump(keys[i]!, right, 1)
        bump(keys[i]!, guess, -1)
      }
    if (at === 0) continue
    for (let i = from + ALONE; i < from + ALONE + PAIRED; i++) {
      bump(T.paired(keys[i]!, before), right, 1)
      bump(T.paired(keys[i]!, guessBefore), guess, -1)
    }
  }
  return wrong
}

const lines = files.flatMap((file) =>
  readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => parse(line) ?? [])
)
console.log(`${lines.length} lines, ${known.size} words`)
for (let round = 1; round <= Number(rounds); round++) {
  for (let i = lines.length - 1; i > 0; i--) {
    const j = Math.floor(unit() * (i + 1))
    ;[lines[i], lines[j]] = [lines[j]!, lines[i]!]
  }
  let wrong = 0
  let words = 0
  for (const line of lines) {
    wrong += learn(line)
    words += line.gold.length
    now++
  }
  console.log(`round ${round}: ${((100 * wrong) / words).toFixed(2)} % of ${words} labels wrong, ${used} features`)
}

/** Averages in 8 bits, `SCALE` a unit: the features with the greatest, `most` of them. */
const SCALE = 8
const write = (path: string, most: number): void => {
  const averages = (slot: number) =>
    [0, 1, 2].map((label) => (weights[3 * slot + label]! - sums[3 * slot + label]! / now) * SCALE)
  const size = (slot: number): number => Math.max(...averages(slot).map(Math.abs))
  const all: Array<readonly [number, number]> = []
  for (let slot = 0; slot < SIZE; slot++) if (tableKeys[slot] !== 0) all.push([slot, size(slot)])
  all.sort((a, b) => b[1] - a[1])
  const kept = all
    .slice(0, most)
    .filter(([, greatest]) => greatest >= 0.5)
    .map(([slot]) => slot)
    .sort((a, b) => (tableKeys[a]! >>> 0) - (tableKeys[b]! >>> 0))
  const file = Buffer.alloc(4 + 7 * kept.length)
  file.writeUInt32LE(kept.length, 0)
  let last = 0
  for (const [i, slot] of kept.entries()) {
    const key = tableKeys[slot]! >>> 0
    file.writeUInt32LE(key - last, 4 + 4 * i)
    last = key
    for (const [label, average] of averages(slot).entries())
      file.writeInt8(Math.max(-127, Math.min(127, Math.round(average))), 4 + 4 * kept.length + 3 * i + label)
  }
  const packed = brotliCompressSync(file, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } })
  writeFileSync(path, packed)
  console.log(`${path}: ${kept.length} of ${used} features, ${packed.length} bytes`)
}
for (const most of process.env["MORE"]?.split(",") ?? []) write(`${target}.${most}`, Number(most))
write(target, Number(most))
