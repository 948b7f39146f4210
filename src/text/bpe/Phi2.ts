/**
 * Phi-2's vocabulary: GPT-2's 50,257 tokens and 38 runs of white space.
 *
 * Not downloaded: the ranks are those of r50k_base in the npm package `tiktoken` (its data file only, none of its
 * code), where rank and id agree. The merge rules are recovered from the ranks.
 */
import { missing } from "../../dag/Missing.ts"
import type { AddedToken } from "./Added.ts"
import { BYTE_TO_CHARACTER } from "./Alphabet.ts"
import { merge, PairTable } from "./Merge.ts"
import type { Vocabulary } from "./Vocabulary.ts"

const { default: r50k } = await import("tiktoken/encoders/r50k_base.json", { with: { type: "json" } }).catch(
  missing("tiktoken")
)

/** End of text: also the padding and the unknown token of the original, so masks must come from lengths. */
export const PHI2_EOS = { content: "<|endoftext|>", id: 50256 } as const

const added = (id: number, content: string, special: boolean): AddedToken => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: !special,
  special
})

/** A control token at a free id, as `phi2({ extra })` adds it. */
export const controlToken = (id: number, content: string): AddedToken => added(id, content, true)

/** Ids 50256 to 50294: the end of text, runs of 31 down to 2 spaces, runs of 9 down to 2 tabs. */
export const PHI2_ADDED: ReadonlyArray<AddedToken> = [
  controlToken(PHI2_EOS.id, PHI2_EOS.content),
  ...Array.from({ length: 30 }, (_, i) => added(50257 + i, " ".repeat(31 - i), false)),
  ...Array.from({ length: 8 }, (_, i) => added(50287 + i, "\t".repeat(9 - i), false))
]

const SEXTETS = (() => {
  const table = new Uint8Array(128)
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  for (let i = 0; i < 64; i++) table[digits.charCodeAt(i)] = i
  return table
})()

/** Reads tiktoken's rank file: lines `! offset base64 base64 ...`, each token's rank being offset + place. */
const readRanks = (text: string): { bytes: Uint8Array; starts: Int32Array } => {
  const bytes = new Uint8Array(text.length)
  const starts: Array<number> = [0]
  let size = 0
  for (const line of text.split("\n")) {
    if (line.length === 0) continue
    let at = line.indexOf(" ", 2) + 1
    const offset = Number(line.slice(2, at - 1))
    if (!line.startsWith("! ") || offset !== starts.length - 1) {
      throw new Error(`tiktoken's r50k_base.json has changed its form near rank ${starts.length - 1}`)
    }
    while (at < line.length) {
      let held = 0
      let bits = 0
      for (; at < line.length; at++) {
        const unit = line.charCodeAt(at)
        if (unit === 0x20) break
        if (unit === 0x3d) continue
        held = ((held << 6) | SEXTETS[unit]!) & 0xffff
        bits += 6
        if (bits >= 8) {
          bits -= 8
          bytes[size++] = (held >> bits) & 0xff
        }
      }
      at++
      starts.push(size)
    }
  }
  return { bytes: bytes.slice(0, size), starts: Int32Array.from(starts) }
}

/** Vocabulary, and the merges as (left id, right id) pairs in order of rank. */
export interface RankedVocabulary extends Vocabulary {
  readonly merges: Int32Array
}

/**
 * Phi-2's byte-pair vocabulary (ids 0 to 50255; 50256 is a hole).
 *
 * The rule of token r is what the rules below r leave of its bytes: exactly two symbols.
 *
 * @example
 * const { pairs, byteIds } = phi2Vocabulary()
 */
export const phi2Vocabulary = (): RankedVocabulary => {
  const { bytes, starts } = readRanks(r50k.bpe_ranks)
  const count = starts.length - 1
  const byteIds = new Int32Array(256)
  for (let id = 0; id < 256; id++) byteIds[bytes[starts[id]!]!] = id
  const pairs = new PairTable(count)
  const merges = new Int32Array(2 * (count - 256))
  const symbols = new Int32Array(256)
  for (let id = 256; id < count; id++) {
    const start = starts[id]!
    const length = starts[id + 1]! - start
    for (let i = 0; i < length; i++) symbols[i] = byteIds[bytes[start + i]!]!
    if (merge(symbols, length, pairs) !== 2) throw new Error(`r50k_base.json: token ${id} is not one merge of two`)
    pairs.add(symbols[0]!, symbols[1]!, id - 256, id)
    merges[2 * (id - 256)] = symbols[0]!
    merges[2 * (id - 256) + 1] = symbols[1]!
  }
  const withHole = new Int32Array(count + 2)
  withHole.set(starts)
  withHole[count + 1] = starts[count]!
  return { bytes, starts: withHole, byteIds, pairs, merges }
}

/** The spelling of every id of a vocabulary, holes as empty strings. */
export const spellings = ({ bytes, starts }: Vocabulary): ReadonlyArray<string> =>
  Array.from({ length: starts.length - 1 }, (_, id) => {
    let text = ""
    for (let i = starts[id]!; i < starts[id + 1]!; i++) text += BYTE_TO_CHARACTER[bytes[i]!]
    return text
  })
