/**
 * A set of pairs of numbers, for millions of them.
 *
 * Not a map, and nothing is ever removed. Open addressing in one Float64Array, at most two thirds full: 24 to 48 bytes a
 * pair, and no object for the garbage collector to look at.
 */

/** Pairs (a, b) of safe integers from 0 up. */
export interface Pairs {
  /** Adds the pair; false if it was there. */
  readonly add: (a: number, b: number) => boolean
  readonly size: () => number
}

const EMPTY = -1

/** Spreads both numbers over 32 bits; after the finaliser of MurmurHash3. */
const mix = (a: number, b: number): number => {
  let h = Math.imul(a | 0, 0x9e3779b1) ^ Math.imul((a / 2 ** 32) | 0, 0x85ebca6b)
  h = Math.imul(h ^ (b | 0), 0xc2b2ae35) ^ ((b / 2 ** 32) | 0)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * An empty set.
 *
 * @example
 * const pairs = makePairs()
 * pairs.add(3, 7) // true
 * pairs.add(3, 7) // false
 */
export const makePairs = (): Pairs => {
  let slots = new Float64Array(2 * 16).fill(EMPTY)
  let size = 0
  /** The place of the pair, or of the empty slot where it belongs. */
  const find = (a: number, b: number): number => {
    const mask = slots.length / 2 - 1
    let slot = mix(a, b) & mask
    while (slots[2 * slot] !== EMPTY && (slots[2 * slot] !== a || slots[2 * slot + 1] !== b)) slot = (slot + 1) & mask
    return 2 * slot
  }
  const put = (at: number, a: number, b: number): void => {
    slots[at] = a
    slots[at + 1] = b
  }
  const grow = (): void => {
    const old = slots
    slots = new Float64Array(old.length * 2).fill(EMPTY)
    for (let i = 0; i < old.length; i += 2) if (old[i] !== EMPTY) put(find(old[i]!, old[i + 1]!), old[i]!, old[i + 1]!)
  }
  return {
    add: (a, b) => {
      const at = find(a, b)
      if (slots[at] !== EMPTY) return false
      put(at, a, b)
      if (++size * 3 > slots.length) grow()
      return true
    },
    size: () => size
  }
}
