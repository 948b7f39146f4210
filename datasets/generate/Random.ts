/**
 * Seeded dice for the sample data: every part of the generator throws its own, named dice.
 *
 * Not the library's generator (`src/tensor/Random.ts`): the committed sample must keep its bytes when that one changes.
 * Only 32-bit integer steps, so the numbers are equal on every machine.
 */

/** A stream of random choices; each call moves it on. */
export interface Dice {
  /** A whole number in [0, 2^32). */
  readonly uint32: () => number
  /** A number in [0, 1) with 32 random bits. */
  readonly unit: () => number
  /** A whole number in [0, n). */
  readonly int: (n: number) => number
  /** A whole number in [low, high], both ends included. */
  readonly range: (low: number, high: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(items: ReadonlyArray<A>) => A
  /** One item, with a chance proportional to its weight. */
  readonly weighted: <A>(items: ReadonlyArray<readonly [item: A, weight: number]>) => A
  /** A shuffled copy (Fisher-Yates). */
  readonly shuffle: <A>(items: ReadonlyArray<A>) => Array<A>
}

/** FNV-1a over UTF-16 code units, 32 bits. */
const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}

/**
 * Dice for (seed, label): the same pair throws the same numbers, other labels throw unrelated ones.
 *
 * Source: a Weyl sequence through the 32-bit finaliser of MurmurHash3.
 *
 * @example
 * dice(7, "captions").pick(["red", "blue"])
 */
export const dice = (seed: number, label: string): Dice => {
  let state = (hash(`${seed}/${label}`) ^ Math.imul(seed | 0, 0x9e3779b9)) >>> 0
  const uint32 = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  const unit = (): number => uint32() / 4294967296
  const int = (n: number): number => Math.floor(unit() * n)
  const pick = <A>(items: ReadonlyArray<A>): A => {
    if (items.length === 0) throw new RangeError("pick: there is nothing to pick from")
    return items[int(items.length)] as A
  }
  return {
    uint32,
    unit,
    int,
    range: (low, high) => low + int(high - low + 1),
    chance: (probability) => unit() < probability,
    pick,
    weighted: (items) => {
      let left = unit() * items.reduce((sum, [, weight]) => sum + weight, 0)
      for (const [item, weight] of items) {
        left -= weight
        if (left < 0) return item
      }
      return pick(items)[0]
    },
    shuffle: (items) => {
      const out = [...items]
      for (let i = out.length - 1; i > 0; i--) {
        const j = int(i + 1)
        const held = out[i]!
        out[i] = out[j]!
        out[j] = held
      }
      return out
    }
  }
}
