/**
 * Byte-pair merging: which two neighbours become one symbol, and in which order.
 *
 * Not a splitter of text and no cache: it turns the bytes of one piece into symbol ids.
 *
 * Source: Sennrich, Haddow, Birch (ACL 2016) over bytes; at every step the pair of the lowest rank is merged, the
 * leftmost first, as in Hugging Face `tokenizers`.
 */

const EMPTY = -1

/** Pair of ids -> (rank, merged id), open addressing; grows by doubling, so a table of any size stays fast. */
export class PairTable {
  size = 0
  private keys: Int32Array
  private values: Int32Array
  private mask: number

  constructor(expected: number) {
    let capacity = 16
    while (capacity < expected * 2) capacity *= 2
    this.keys = new Int32Array(capacity * 2).fill(EMPTY)
    this.values = new Int32Array(capacity * 2)
    this.mask = capacity - 1
  }

  private slot(left: number, right: number): number {
    let at = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0
    at = (at ^ (at >>> 15)) & this.mask
    const keys = this.keys
    while (keys[2 * at] !== EMPTY && (keys[2 * at] !== left || keys[2 * at + 1] !== right)) at = (at + 1) & this.mask
    return at
  }

  /** Adds a merge rule; the first rule of a pair wins. */
  add(left: number, right: number, rank: number, merged: number): void {
    if (this.size * 2 > this.mask) this.grow()
    const at = this.slot(left, right)
    if (this.keys[2 * at] !== EMPTY) return
    this.keys[2 * at] = left
    this.keys[2 * at + 1] = right
    this.values[2 * at] = rank
    this.values[2 * at + 1] = merged
    this.size++
  }

  /** Position of a pair for `rank` and `merged`, or -1. */
  find(left: number, right: number): number {
    const at = this.slot(left, right)
    return this.keys[2 * at] === EMPTY ? -1 : at
  }

  rank(at: number): number {
    return this.values[2 * at]!
  }

  merged(at: number): number {
    return this.values[2 * at + 1]!
  }

  private grow(): void {
    const { keys, values, mask } = this
    const capacity = (mask + 1) * 2
    this.keys = new Int32Array(capacity * 2).fill(EMPTY)
    this.values = new Int32Array(capacity * 2)
    this.mask = capacity - 1
    this.size = 0
    for (let at = 0; at <= mask; at++) {
      if (keys[2 * at] === EMPTY) continue
      this.add(keys[2 * at]!, keys[2 * at + 1]!, values[2 * at]!, values[2 * at + 1]!)
    }
  }
}

const NO_RANK = 0x7fffffff
/** Above this many symbols a heap replaces the scan, so that a piece of a megabyte costs n log n. */
const SCAN_LIMIT = 64

const scanSlots = new Int32Array(SCAN_LIMIT)
const scanRanks = new Int32Array(SCAN_LIMIT)

/** Merges by scanning for the lowest rank: quadratic, fastest for the short pieces that text consists of. */
const mergeByScan = (symbols: Int32Array, length: number, pairs: PairTable): number => {
  for (let i = 0; i + 1 < length; i++) {
    const slot = pairs.find(symbols[i]!, symbols[i + 1]!)
    scanSlots[i] = slot
    scanRanks[i] = slot < 0 ? NO_RANK : pairs.rank(slot)
  }
  while (length > 1) {
    let best = 0
    let bestRank = NO_RANK
    for (let i = 0; i + 1 < length; i++) {
      if (scanRanks[i]! < bestRank) {
        bestRank = scanRanks[i]!
        best = i
      }
    }
    if (bestRank === NO_RANK) break
    symbols[best] = pairs.merged(scanSlots[best]!)
    length--
    symbols.copyWithin(best + 1, best + 2, length + 1)
    scanSlots.copyWithin(best + 1, best + 2, length)
    scanRanks.copyWithin(best + 1, best + 2, length)
    for (let i = Math.max(0, best - 1); i <= best && i + 1 < length; i++) {
      const slot = pairs.find(symbols[i]!, symbols[i + 1]!)
      scanSlots[i] = slot
      scanRanks[i] = slot < 0 ? NO_RANK : pairs.rank(slot)
    }
  }
  return length
}

/** A binary min-heap of numbers, for keys rank * 2^32 + position. */
class MinHeap {
  private items = new Float64Array(256)
  size = 0

  push(key: number): void {
    if (this.size === this.items.length) {
      const larger = new Float64Array(this.size * 2)
      larger.set(this.items)
      this.items = larger
    }
    const items = this.items
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (items[parent]! <= key) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = key
  }

  pop(): number {
    const items = this.items
    const top = items[0]!
    const last = items[--this.size]!
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.size) break
      if (child + 1 < this.size && items[child + 1]! < items[child]!) child++
      if (items[child]! >= last) break
      items[at] = items[child]!
      at = child
    }
    items[at] = last
    return top
  }
}

/** Merges with a heap over a linked list: n log n. */
const mergeByHeap = (symbols: Int32Array, length: number, pairs: PairTable): number => {
  const previous = new Int32Array(length)
  const next = new Int32Array(length)
  const slots = new Int32Array(length).fill(-1)
  const heap = new MinHeap()
  const offer = (at: number): void => {
    const right = next[at]!
    slots[at] = right < length ? pairs.find(symbols[at]!, symbols[right]!) : -1
    if (slots[at]! >= 0) heap.push(pairs.rank(slots[at]!) * 0x100000000 + at)
  }
  for (let i = 0; i < length; i++) {
    previous[i] = i - 1
    next[i] = i + 1
  }
  for (let i = 0; i < length; i++) offer(i)
  while (heap.size > 0) {
    const key = heap.pop()
    const rank = Math.floor(key / 0x100000000)
    const at = key - rank * 0x100000000
    const slot = slots[at]!
    // An entry is stale when its pair has been merged away or has changed since.
    if (slot < 0 || pairs.rank(slot) !== rank) continue
    const right = next[at]!
    symbols[at] = pairs.merged(slot)
    slots[right] = -1
    next[at] = next[right]!
    if (next[at]! < length) previous[next[at]!] = at
    offer(at)
    if (previous[at]! >= 0) offer(previous[at]!)
  }
  let kept = 0
  for (let at = 0; at < length; at = next[at]!) symbols[kept++] = symbols[at]!
  return kept
}

/**
 * Merges the first `length` entries of `symbols` in place by the rules of `pairs`; returns how many remain.
 *
 * @example
 * const kept = merge(symbols, length, pairs)
 * const ids = symbols.slice(0, kept)
 */
export const merge = (symbols: Int32Array, length: number, pairs: PairTable): number =>
  length <= SCAN_LIMIT ? mergeByScan(symbols, length, pairs) : mergeByHeap(symbols, length, pairs)
