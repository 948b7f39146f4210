/**
 * Damages valid inputs: bits, lengths, cuts, splices, repetitions; for bytes and for text.
 *
 * Not aware of any format: kinds that know where their length fields and checksums are do that themselves.
 */
import type { Random } from "./Random.ts"

const extremes = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn]
const giants = [...extremes, 2n ** 31n - 8n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]

/** Overwrites 1, 2, 4 or 8 bytes with a number that no length should be. */
export const extreme = (random: Random, bytes: Buffer, at = random.int(bytes.length)): void => {
  const width = random.pick([1, 2, 4, 8].filter((width) => at + width <= bytes.length))
  const little = random.chance(0.8)
  let value = BigInt.asUintN(width * 8, random.pick(giants) + BigInt(random.int(3)) - 1n)
  for (let i = 0; i < width; i++) {
    bytes[at + (little ? i : width - 1 - i)] = Number(value & 0xffn)
    value >>= 8n
  }
}

const span = (random: Random, length: number): readonly [number, number] => {
  const from = random.int(length + 1)
  const most = random.chance(0.7) ? Math.min(32, length - from) : length - from
  return [from, from + random.int(most + 1)]
}

/** One to six changes. `others` are inputs to splice from. The result is a copy of at most `limit` bytes. */
export const mutate = (
  random: Random,
  bytes: Uint8Array,
  others: ReadonlyArray<Uint8Array>,
  limit = 1 << 16
): Buffer => {
  let out: Buffer = Buffer.from(bytes)
  for (let n = 1 + random.int(6); n > 0; n--) {
    if (out.length === 0) return random.bytes(random.int(64))
    const [from, to] = span(random, out.length)
    switch (random.int(9)) {
      case 0:
        out[random.int(out.length)]! ^= 1 << random.int(8)
        break
      case 1:
        out[random.int(out.length)] = random.int(256)
        break
      case 2:
        extreme(random, out)
        break
      case 3:
        out = out.subarray(0, random.int(out.length + 1))
        break
      case 4:
        out = Buffer.concat([out.subarray(0, from), out.subarray(to)])
        break
      case 5: {
        const times = random.chance(0.9) ? 2 : 2 + random.int(200)
        const part = out.subarray(from, to)
        const repeated = Math.min(times, Math.floor(limit / Math.max(1, part.length)))
        out = Buffer.concat([out.subarray(0, to), ...Array.from({ length: repeated }, () => part), out.subarray(to)])
        break
      }
      case 6: {
        const other = random.pick(others)
        const [start, end] = span(random, other.length)
        out = Buffer.concat([out.subarray(0, from), other.subarray(start, end), out.subarray(to)])
        break
      }
      case 7:
        out.fill(random.pick([0, 0xff, 0x20, random.int(256)]), from, to)
        break
      default:
        out = Buffer.concat([out.subarray(0, from), random.bytes(random.int(16)), out.subarray(from)])
    }
    if (out.length > limit) out = out.subarray(0, limit)
  }
  return out
}

/** Characters that text code trips over: controls, combining marks, lone surrogates, astral and special spaces. */
const oddities = [
  ..."\0\t\r\u0085\u00a0\u200b\u200d\u2028\u3000\ufeff\ufffd\ufffe\uffff",
  "\ud800",
  "\udfff",
  "\ud83d",
  "😀",
  "👩‍👩‍👧",
  "e\u0301",
  "ﬁ",
  "İ",
  "ß",
  "𝔘",
  "\u{10ffff}"
]

/** A random character, now and then an odd one. */
export const character = (random: Random): string => {
  if (random.chance(0.1)) return random.pick(oddities)
  if (random.chance(0.1)) return String.fromCharCode(random.int(0x10000))
  return String.fromCharCode(0x20 + random.int(0x5f))
}

/** One to six changes of a text; `tokens` are spellings that mean something to its reader. */
export const mutateText = (random: Random, text: string, tokens: ReadonlyArray<string>, limit = 1 << 15): string => {
  let out = text
  for (let n = 1 + random.int(6); n > 0; n--) {
    const [from, to] = span(random, out.length)
    const token = random.pick(tokens)
    switch (random.int(7)) {
      case 0:
        out = out.slice(0, from) + token + out.slice(from)
        break
      case 1:
        out = out.slice(0, from) + out.slice(to)
        break
      case 2:
        out = out.slice(0, to) + out.slice(from, to).repeat(random.int(4)) + out.slice(to)
        break
      case 3:
        out = out.slice(0, from) + character(random) + out.slice(from + 1)
        break
      case 4:
        out = out.slice(0, random.int(out.length + 1))
        break
      case 5: {
        const times = random.chance(0.9) ? random.int(8) : random.int(2000)
        out = out.slice(0, from) + token.repeat(times) + out.slice(from)
        break
      }
      default:
        out = out.slice(0, from) + random.pick(tokens) + out.slice(to)
    }
    if (out.length > limit) out = out.slice(0, limit)
  }
  return out
}
