/** Seeded choices: the same seed, kind and number always give the same input. Not for training data. */
import { createHash } from "node:crypto"

export interface Random {
  /** A number of [0, 1). */
  readonly next: () => number
  /** A whole number of [0, below). */
  readonly int: (below: number) => number
  readonly chance: (share: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  readonly bytes: (length: number) => Buffer
}

/** mulberry32 from a hash of what names the input. */
export const randomOf = (...parts: ReadonlyArray<string | number>): Random => {
  let state = createHash("sha256").update(parts.join("\0")).digest().readUInt32LE(0)
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (below: number): number => Math.floor(next() * below)
  return {
    next,
    int,
    chance: (share) => next() < share,
    pick: (from) => from[int(from.length)]!,
    bytes: (length) => {
      const out = Buffer.allocUnsafe(length)
      for (let i = 0; i < length; i++) out[i] = int(256)
      return out
    }
  }
}
