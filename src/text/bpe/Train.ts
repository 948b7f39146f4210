/**
 * Trains a byte-level BPE vocabulary from text, for sample models and tests.
 *
 * Not a downloader or a store: text comes in as an iterable and a tokenizer.json object comes out. Deterministic: equal
 * texts in any order give an equal tokenizer.
 *
 * Memory grows with the number of distinct pieces (words), not with the amount of text.
 *
 * Source: Sennrich, Haddow, Birch (ACL 2016); ids and ties as in Hugging Face's `BpeTrainer`: special tokens, the byte
 * alphabet by character, then merges; of equally frequent pairs the one of the smaller ids.
 */
import type { AddedToken } from "./Added.ts"
import { BYTE_TO_CHARACTER } from "./Alphabet.ts"
import { tokenizerJson } from "./Json.ts"
import { splitGpt2 } from "./Pieces.ts"

/** `vocabSize` counts special tokens and the 256 bytes too. */
export interface TrainOptions {
  readonly vocabSize: number
  /** Control tokens, which take the first ids in this order. */
  readonly specialTokens?: ReadonlyArray<string>
  /** Pairs seen less often are never merged; default 2. */
  readonly minFrequency?: number
}

interface Pair {
  readonly left: number
  readonly right: number
  count: number
  readonly words: Set<number>
}

/** Ids stay below 2^24, so a pair of them is one exact integer. */
const KEY_BASE = 0x1000000

/** Entries by count, most frequent first, then by smaller ids. */
class PairHeap {
  private readonly items: Array<{ readonly count: number; readonly key: number }> = []

  private before(a: number, b: number): boolean {
    const [x, y] = [this.items[a]!, this.items[b]!]
    return x.count !== y.count ? x.count > y.count : x.key < y.key
  }

  private swap(a: number, b: number): void {
    const held = this.items[a]!
    this.items[a] = this.items[b]!
    this.items[b] = held
  }

  push(count: number, key: number): void {
    let at = this.items.push({ count, key }) - 1
    while (at > 0 && this.before(at, (at - 1) >> 1)) {
      this.swap(at, (at - 1) >> 1)
      at = (at - 1) >> 1
    }
  }

  pop(): { readonly count: number; readonly key: number } | undefined {
    const top = this.items[0]
    const last = this.items.pop()
    if (top === undefined || last === undefined || this.items.length === 0) return top
    this.items[0] = last
    for (let at = 0; ; ) {
      let best = at
      if (2 * at + 1 < this.items.length && this.before(2 * at + 1, best)) best = 2 * at + 1
      if (2 * at + 2 < this.items.length && this.before(2 * at + 2, best)) best = 2 * at + 2
      if (best === at) return top
      this.swap(at, best)
      at = best
    }
  }
}

const countPieces = (texts: Iterable<string>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const text of texts) {
    splitGpt2(text, 0, text.length, (start, end) => {
      const piece = text.slice(start, end)
      counts.set(piece, (counts.get(piece) ?? 0) + 1)
    })
  }
  return counts
}

/**
 * Trains a tokenizer and returns its tokenizer.json object, for `fromTokenizerJson`.
 *
 * Throws `RangeError` when `vocabSize` has no room for the special tokens and the 256 bytes. Fewer tokens result when
 * the text offers no more pairs.
 *
 * @example
 * const tokenizer = fromTokenizerJson(trainBpe(captions, { vocabSize: 4096, specialTokens: ["<|endoftext|>"] }))
 */
export const trainBpe = (texts: Iterable<string>, options: TrainOptions): object => {
  const special = options.specialTokens ?? []
  const minFrequency = options.minFrequency ?? 2
  const { vocabSize } = options
  if (!Number.isInteger(vocabSize) || vocabSize < special.length + 256 || vocabSize >= KEY_BASE) {
    throw new RangeError(`vocabSize ${vocabSize} must lie between ${special.length + 256} and ${KEY_BASE - 1}`)
  }
  if (new Set(special).size !== special.length) throw new RangeError("a special token is named twice")
  const alphabet = [...BYTE_TO_CHARACTER].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0))
  const names = [...special, ...alphabet]
  const idByByte = BYTE_TO_CHARACTER.map((character) => special.length + alphabet.indexOf(character))
  const utf8 = new TextEncoder()
  const words: Array<Array<number>> = []
  const counts: Array<number> = []
  for (const [piece, count] of countPieces(texts)) {
    words.push(Array.from(utf8.encode(piece), (byte) => idByByte[byte]!))
    counts.push(count)
  }

  const pairs = new Map<number, Pair>()
  /** Adds `sign` occurrences of each pair of a word; returns the keys it touched. */
  const tally = (word: number, sign: 1 | -1, touched: Set<number>): void => {
    const ids = words[word]!
    for (let i = 0; i + 1 < ids.length; i++) {
      const key = ids[i]! * KEY_BASE + ids[i + 1]!
      let pair = pairs.get(key)
      if (pair === undefined) {
        pairs.set(key, (pair = { left: ids[i]!, right: ids[i + 1]!, count: 0, words: new Set() }))
      }
      pair.count += sign * counts[word]!
      if (sign > 0) pair.words.add(word)
      else pair.words.delete(word)
      touched.add(key)
    }
  }
  const heap = new PairHeap()
  const initial = new Set<number>()
  for (let word = 0; word < words.length; word++) tally(word, 1, initial)
  for (const key of initial) heap.push(pairs.get(key)!.count, key)

  const merges: Array<readonly [string, string]> = []
  const known = new Set(names)
  while (names.length < vocabSize) {
    const top = heap.pop()
    if (top === undefined || top.count < Math.max(1, minFrequency)) break
    const pair = pairs.get(top.key)
    if (pair === undefined || pair.count !== top.count) continue // stale: a newer entry stands in the heap
    const name = names[pair.left]! + names[pair.right]!
    merges.push([names[pair.left]!, names[pair.right]!])
    // A token that two merges spell keeps its first id, as tokenizer.json maps names to ids.
    const id = known.has(name) ? names.indexOf(name) : names.push(name) - 1
    known.add(name)
    const touched = new Set<number>()
    for (const word of [...pair.words]) {
      tally(word, -1, touched)
      words[word] = mergeWord(words[word]!, pair.left, pair.right, id)
      tally(word, 1, touched)
    }
    touched.delete(top.key)
    pairs.delete(top.key)
    for (const key of touched) {
      const changed = pairs.get(key)!
      if (changed.count > 0) heap.push(changed.count, key)
      else pairs.delete(key)
    }
  }
  const added = special.map(
    (content, id): AddedToken => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true
    })
  )
  return tokenizerJson({ added, vocab: names.map((name, id) => [name, id] as const), merges })
}

const mergeWord = (ids: ReadonlyArray<number>, left: number, right: number, merged: number): Array<number> => {
  const out: Array<number> = []
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      out.push(merged)
      i++
    } else out.push(ids[i]!)
  }
  return out
}
