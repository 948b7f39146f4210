/**
 * Weights by formula: each a function of its name and its index, so that two processes make the same model without a
 * file.
 *
 * Not random enough for anything but speed: uniform numbers of the right deviation. `hashed` of `peer_pytorch.py` gives
 * the same bits on any device.
 */
import { crc32 } from "node:zlib"
import { Effect } from "effect"
import { isNorm, type Shapes, type WeightSource } from "../../src/model/Weights.ts"

/** Numbers after which they begin again: billions of them would take a while. */
export const PERIOD = 2 ** 22

/** Uniform numbers of deviation `std`. */
export const hashed = (count: number, salt: number, std: number): Float32Array => {
  const values = new Float32Array(count)
  const scale = std * 12 ** 0.5
  for (let i = 0; i < Math.min(count, PERIOD); i++) {
    let x = (Math.imul(i, 2654435761) + salt) >>> 0
    x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0
    x = Math.imul(x ^ (x >>> 13), 3266489917) >>> 0
    x = (x ^ (x >>> 16)) >>> 0
    values[i] = (x / 4294967296 - 0.5) * scale
  }
  for (let filled = PERIOD; filled < count; filled *= 2) values.copyWithin(filled, 0, Math.min(filled, count - filled))
  return values
}

/** Norms one, biases zero, the rest by formula; the salt is the name's checksum. */
export const formulaWeights = (shapes: Shapes, std: number): ReadonlyArray<WeightSource> =>
  Object.entries(shapes).map(([name, shape]) => ({
    name,
    shape,
    read: Effect.sync(() => {
      const count = shape.reduce((product, n) => product * n, 1)
      if (name.endsWith(".bias")) return new Float32Array(count)
      if (isNorm(name)) return new Float32Array(count).fill(1)
      return hashed(count, crc32(name), std)
    })
  }))
