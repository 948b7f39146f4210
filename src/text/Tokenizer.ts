/**
 * Byte-level BPE tokenizers whose ids equal those of Hugging Face `tokenizers`, ours for Phi-2 among them.
 *
 * Not a template: nothing is added to the text, no beginning or end of text. Text in control tokens' spelling stays
 * text unless the caller asks otherwise (`allowSpecial`), so data can never write a control token.
 *
 * Units: offsets are UTF-16 code units into the given string. A lone surrogate is encoded as U+FFFD.
 */

import { makeTokenizer } from "./bpe/Encoder.ts"
import { parseTokenizerJson, tokenizerJson } from "./bpe/Json.ts"
import { controlToken, PHI2_ADDED, PHI2_EOS, phi2Vocabulary, spellings } from "./bpe/Phi2.ts"
import { splitGpt2 } from "./bpe/Pieces.ts"
import { TokenizerJsonError, vocabularyFromSpelling } from "./bpe/Vocabulary.ts"

export { TokenizerJsonError } from "./bpe/Vocabulary.ts"

/** How a text becomes ids. */
export interface EncodeOptions {
  /** Whether control tokens spelled in the text become control tokens: `none` (default) or `all`. */
  readonly allowSpecial?: "none" | "all"
  /**
   * Whether the file's post-processor puts its ids around the text (`<s>`, `</s>`), placed at [0, 0); false by default.
   */
  readonly addSpecial?: boolean
}

/** Ids with the stretch of text each came from: `text.slice(starts[i], ends[i])`. */
export interface Encoding {
  readonly ids: Int32Array<ArrayBuffer>
  /** Where the character that holds the token's first byte starts. */
  readonly starts: Int32Array<ArrayBuffer>
  /** Where the character that holds the token's last byte ends: tokens that share a character overlap. */
  readonly ends: Int32Array<ArrayBuffer>
}

/** Text to ids and back. Synchronous and deterministic; an instance may be used by one thread. */
export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number
  /** Ids of a text. */
  readonly encode: (text: string, options?: EncodeOptions) => Int32Array<ArrayBuffer>
  /** Number of ids of a text, without making them. */
  readonly count: (text: string, options?: EncodeOptions) => number
  /** Ids of a text with their places in it. */
  readonly encodeWithOffsets: (text: string, options?: EncodeOptions) => Encoding
  /** Text of ids; broken UTF-8 becomes U+FFFD, ids without a token give nothing. */
  readonly decode: (ids: Iterable<number>, options?: { readonly skipSpecial?: boolean }) => string
  /** UTF-8 bytes of one id, which may be part of a character; not to be written to. `decode` is these, joined. */
  readonly bytesOf: (id: number, options?: { readonly skipSpecial?: boolean }) => Uint8Array
  /** Id of a token as tokenizer.json spells it (`Ġthe`, `<|endoftext|>`). */
  readonly tokenToId: (name: string) => number | undefined
  readonly idToToken: (id: number) => string | undefined
  /** Control tokens by content. */
  readonly specialTokens: ReadonlyMap<string, number>
  /** The text of tokenizer.json for export. */
  readonly json: () => string
}

/** The control tokens LLaVA-Phi adds to Phi-2, at free rows of its embedding. */
export const LLAVA_TOKENS = { "<image>": 50295, "<pad>": 50296 } as const

/**
 * Phi-2's tokenizer: ids 0 to 50294, and `extra` control tokens at free ids (none unless given; LLaVA-Phi takes
 * `LLAVA_TOKENS`).
 *
 * Throws `TokenizerJsonError` for an extra token at an id that is taken or above 51199.
 *
 * @example
 * phi2().encode("Hello world") // Int32Array [15496, 995]
 */
export const phi2 = (options: { readonly extra?: Readonly<Record<string, number>> } = {}): Tokenizer => {
  const extra = Object.entries(options.extra ?? {})
  const taken = new Set<number>()
  for (const [content, id] of extra) {
    if (!Number.isInteger(id) || id < 50295 || id > 51199 || taken.has(id) || content === "") {
      throw new TokenizerJsonError({
        message: `the control token "${content}" cannot have the id ${id}`,
        hint: "Extra tokens of Phi-2 take different ids from 50295 to 51199, the free rows of its embedding."
      })
    }
    taken.add(id)
  }
  const vocabulary = phi2Vocabulary()
  const added = [...PHI2_ADDED, ...extra.map(([content, id]) => controlToken(id, content))]
  const json = (): string => {
    const names = spellings(vocabulary)
    const vocab = names.map((name, id): [string, number] => [id === PHI2_EOS.id ? PHI2_EOS.content : name, id])
    const { merges } = vocabulary
    const rules = Array.from({ length: merges.length / 2 }, (_, i): [string, string] => [
      names[merges[2 * i]!]!,
      names[merges[2 * i + 1]!]!
    ])
    return JSON.stringify(tokenizerJson({ added, vocab, merges: rules }))
  }
  return makeTokenizer({
    vocabulary,
    added,
    split: { before: undefined, prefixSpace: false, pieces: splitGpt2 },
    normalize: false,
    ignoreMerges: false,
    around: () => ({ before: [], behind: [] }),
    json
  })
}

/**
 * A tokenizer from a tokenizer.json of byte-level BPE, as text or parsed object.
 *
 * Throws `TokenizerJsonError` for malformed files and for what could not be reproduced exactly (see `bpe/Json.ts`).
 *
 * @example
 * const tokenizer = fromTokenizerJson(readFileSync("tokenizer.json", "utf8"))
 */
export const fromTokenizerJson = (source: string | object): Tokenizer => {
  const { merges, vocab, ...parts } = parseTokenizerJson(source)
  const vocabulary = vocabularyFromSpelling(vocab, merges)
  const json = (): string => (typeof source === "string" ? source : JSON.stringify(source))
  return makeTokenizer({ ...parts, vocabulary, json })
}
