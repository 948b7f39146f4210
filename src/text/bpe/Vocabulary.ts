/**
 * The byte-pair vocabulary: the bytes of every id and the merge rules over ids.
 *
 * Not a tokenizer: no splitting, no added tokens. Ids without bytes (holes) have length 0.
 */
import { Schema } from "effect"
import { unspell } from "./Alphabet.ts"
import { PairTable } from "./Merge.ts"

/** A tokenizer description that cannot be used exactly. */
export class TokenizerJsonError extends Schema.TaggedError<TokenizerJsonError>()("TokenizerJsonError", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Token `id` is `bytes[starts[id], starts[id + 1])`; `byteIds[b]` is the id of the single byte b. */
export interface Vocabulary {
  readonly bytes: Uint8Array
  readonly starts: Int32Array
  readonly byteIds: Int32Array
  readonly pairs: PairTable
}

/** Packs the bytes of each id; `tokens[id]` undefined is a hole. */
const pack = (tokens: ReadonlyArray<Uint8Array | undefined>): { bytes: Uint8Array; starts: Int32Array } => {
  const starts = new Int32Array(tokens.length + 1)
  for (let id = 0; id < tokens.length; id++) starts[id + 1] = starts[id]! + (tokens[id]?.length ?? 0)
  const bytes = new Uint8Array(starts[tokens.length]!)
  for (let id = 0; id < tokens.length; id++) if (tokens[id] !== undefined) bytes.set(tokens[id]!, starts[id]!)
  return { bytes, starts }
}

/**
 * A vocabulary from spelled tokens (`Ġthe`) and merges in order of rank.
 *
 * Throws `TokenizerJsonError` when one of the 256 bytes or a merged token has no id: text could not be written exactly.
 *
 * @example
 * vocabularyFromSpelling(new Map([["a", 0], ["b", 1], ["ab", 2], ...]), [["a", "b"]])
 */
export const vocabularyFromSpelling = (
  vocab: ReadonlyMap<string, number>,
  merges: Iterable<readonly [string, string]>
): Vocabulary => {
  let top = -1
  for (const id of vocab.values()) top = Math.max(top, id)
  const tokens = new Array<Uint8Array | undefined>(top + 1).fill(undefined)
  const byteIds = new Int32Array(256).fill(-1)
  for (const [spelling, id] of vocab) {
    const bytes = unspell(spelling)
    tokens[id] = bytes
    if (bytes?.length === 1) byteIds[bytes[0]!] = id
  }
  const missing = byteIds.indexOf(-1)
  if (missing >= 0) {
    throw new TokenizerJsonError({
      message: `the vocabulary has no token for byte ${missing}`,
      hint: "Only byte-level BPE is supported: all 256 characters of the GPT-2 byte alphabet must be in model.vocab."
    })
  }
  const pairs = new PairTable(vocab.size)
  let rank = 0
  for (const [left, right] of merges) {
    const a = vocab.get(left)
    const b = vocab.get(right)
    const merged = vocab.get(left + right)
    if (a === undefined || b === undefined || merged === undefined) {
      throw new TokenizerJsonError({
        message: `merge ${rank} (${left} + ${right}) names a token that is not in the vocabulary`,
        hint: "model.vocab and model.merges come from different files; take both from one tokenizer.json."
      })
    }
    pairs.add(a, b, rank++, merged)
  }
  return { ...pack(tokens), byteIds, pairs }
}
