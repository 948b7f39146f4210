/**
 * Pairs of 32-bit numbers, each with the number of its first appearance: a set, and an index, of millions of 64-bit
 * digests.
 *
 * Not a map of JavaScript values: everything lies in typed arrays that the collector need not walk, and that have no
 * limit at 2^24 entries as `Map` and `Set` have. Nothing is ever removed; let the whole table go.
 *
 * Memory: 8 bytes a pair and 8 to 16 for its slots when `expected` was right; growing doubles, so up to 32 without it.
 */

const EMPTY = -1

/** Open addressing, at most half full. Digests and row numbers spread alike: both halves are mixed. */
export class DigestTable {
  size = 0
  private low: Uint32Array
  private high: Uint32Array
  private slots: Int32Array
  private mask: number

  constructor(expected = 1024) {
    const rows = Math.max(16, expected)
    let capacity = 32
    while (capacity < rows * 2) capacity *= 2
    this.low = new Uint32Array(rows)
    this.high = new Uint32Array(rows)
    this.slots = new Int32Array(capacity).fill(EMPTY)
    this.mask = capacity - 1
  }

  /** The number of a pair, or -1. */
  find(low: number, high: number): number {
    return this.slots[this.slotOf(low >>> 0, high >>> 0)]!
  }

  /** The number of a pair, counted from 0 in order of first appearance; a pair never seen becomes number `size`. */
  add(low: number, high: number): number {
    const a = low >>> 0
    const b = high >>> 0
    let at = this.slotOf(a, b)
    if (this.slots[at] !== EMPTY) return this.slots[at]!
    if ((this.size + 1) * 2 > this.slots.length) {
      this.widen()
      at = this.slotOf(a, b)
    }
    if (this.size === this.low.length) {
      this.low = grown(this.low, this.size * 2)
      this.high = grown(this.high, this.size * 2)
    }
    this.low[this.size] = a
    this.high[this.size] = b
    this.slots[at] = this.size
    return this.size++
  }

  /** Either half of the pair with this number. */
  lowOf(number: number): number {
    return this.low[number]!
  }

  highOf(number: number): number {
    return this.high[number]!
  }

  /** The slot that holds a pair, or the empty one where it belongs. */
  private slotOf(low: number, high: number): number {
    let mixed = Math.imul(low ^ (high >>> 15), 0x85ebca6b) ^ Math.imul(high, 0x9e3779b1)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    let at = (mixed ^ (mixed >>> 16)) & this.mask
    for (let found = this.slots[at]!; found !== EMPTY; found = this.slots[at]!) {
      if (this.low[found] === low && this.high[found] === high) return at
      at = (at + 1) & this.mask
    }
    return at
  }

  private widen(): void {
    const capacity = this.slots.length * 2
    this.mask = capacity - 1
    this.slots = new Int32Array(capacity).fill(EMPTY)
    for (let number = 0; number < this.size; number++) {
      this.slots[this.slotOf(this.low[number]!, this.high[number]!)] = number
    }
  }
}

/** A longer copy of a typed array. */
export const grown = <A extends Uint32Array | Int32Array | Uint8Array | Float64Array>(old: A, length: number): A => {
  const larger = new (old.constructor as new (length: number) => A)(length)
  larger.set(old as never)
  return larger
}
