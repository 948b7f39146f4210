/**
 * Byte-level BPE tokenizers whose ids equal those of Hugging Face `tokenizers`, ours for Phi-2 among them.
 *
 * Not a template: nothing is added to the text, no beginning or end of text. Text in control tokens' spelling stays
 * text unless the caller asks otherwise (`allowSpecial`), so data can never write a control token.
 *
 * Units: offsets are UTF-16 code units into the given string. A lone surrogate is encoded as U+FFFD.
 */

import { type AddedToken, type Finder, findAdded } from "./bpe/Added.ts"
import { spell } from "./bpe/Alphabet.ts"
import { parseTokenizerJson, tokenizerJson } from "./bpe/Json.ts"
import { merge } from "./bpe/Merge.ts"
import { controlToken, PHI2_ADDED, PHI2_EOS, phi2Vocabulary, spellings } from "./bpe/Phi2.ts"
import { type Splitter, splitGpt2 } from "./bpe/Pieces.ts"
import { TokenizerJsonError, type Vocabulary, vocabularyFromSpelling } from "./bpe/Vocabulary.ts"

export { TokenizerJsonError } from "./bpe/Vocabulary.ts"

/** Whether control tokens spelled in the text become control tokens: `none` (default) or `all`. */
export interface EncodeOptions {
  readonly allowSpecial?: "none" | "all"
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
  /** Id of a token as tokenizer.json spells it (`Ġthe`, `<|endoftext|>`). */
  readonly tokenToId: (name: string) => number | undefined
  readonly idToToken: (id: number) => string | undefined
  /** Control tokens by content. */
  readonly specialTokens: ReadonlyMap<string, number>
  /** The text of tokenizer.json for export. */
  readonly json: () => string
}

/** The parts of a tokenizer. */
interface Parts {
  readonly vocabulary: Vocabulary
  readonly added: ReadonlyArray<AddedToken>
  readonly split: Splitter
  readonly ignoreMerges: boolean
  readonly json: () => string
}

/** Pieces longer than this are not remembered. */
const CACHED_LENGTH = 48
/** Two generations of this many pieces each: about 30 MB when full. */
const CACHED_PIECES = 1 << 17

/** Code units of text -> UTF-8 bytes' ids in `symbols`; returns how many bytes. */
const writeBytes = (text: string, start: number, end: number, byteIds: Int32Array, symbols: Int32Array): number => {
  let size = 0
  for (let at = start; at < end; at++) {
    let code = text.charCodeAt(at)
    if (code < 0x80) {
      symbols[size++] = byteIds[code]!
      continue
    }
    if (code < 0x800) {
      symbols[size++] = byteIds[0xc0 | (code >> 6)]!
    } else {
      if (code >= 0xd800 && code < 0xe000) {
        const low = code < 0xdc00 && at + 1 < end ? text.charCodeAt(at + 1) : 0
        if (low >= 0xdc00 && low < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
          at++
        } else code = 0xfffd
      }
      if (code < 0x10000) symbols[size++] = byteIds[0xe0 | (code >> 12)]!
      else {
        symbols[size++] = byteIds[0xf0 | (code >> 18)]!
        symbols[size++] = byteIds[0x80 | ((code >> 12) & 0x3f)]!
      }
      symbols[size++] = byteIds[0x80 | ((code >> 6) & 0x3f)]!
    }
    symbols[size++] = byteIds[0x80 | (code & 0x3f)]!
  }
  return size
}

/** UTF-8 length and code units of the character at `at`: packed as bytes * 4 + units. */
const measure = (text: string, at: number, end: number): number => {
  const code = text.charCodeAt(at)
  if (code < 0x80) return 5
  if (code < 0x800) return 9
  if ((code & 0xfc00) === 0xd800 && at + 1 < end && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) return 18
  return 13
}

const make = ({ added, ignoreMerges, json, split, vocabulary }: Parts): Tokenizer => {
  const { byteIds, bytes, pairs, starts: tokenStarts } = vocabulary
  const names = spellings(vocabulary)
  const addedById = new Map(added.map((token) => [token.id, token]))
  const specialTokens = new Map(added.filter((token) => token.special).map(({ content, id }) => [content, id]))
  const findOrdinary = findAdded(added.filter((token) => !token.special))
  const findAll = findAdded(added)
  let idsByName: Map<string, number> | undefined
  const tokenIds = (): Map<string, number> => {
    if (idsByName === undefined) {
      idsByName = new Map()
      for (let id = 0; id < names.length; id++) if (names[id] !== "") idsByName.set(names[id]!, id)
      for (const { content, id } of added) idsByName.set(content, id)
    }
    return idsByName
  }

  let symbols = new Int32Array(256)
  let out = new Int32Array(1024)
  let size = 0
  const reserve = (more: number): void => {
    if (size + more <= out.length) return
    const larger = new Int32Array(Math.max(out.length * 2, size + more))
    larger.set(out.subarray(0, size))
    out = larger
  }

  /** Ids of one piece into `symbols`; returns how many. */
  const mergePiece = (text: string, start: number, end: number): number => {
    if ((end - start) * 3 > symbols.length) symbols = new Int32Array((end - start) * 3)
    const length = writeBytes(text, start, end, byteIds, symbols)
    if (ignoreMerges) {
      const whole = tokenIds().get(spell(new TextEncoder().encode(text.slice(start, end))))
      if (whole !== undefined) {
        symbols[0] = whole
        return 1
      }
    }
    return merge(symbols, length, pairs)
  }

  // One id is kept as a number, several as an array. When the young generation is full it becomes the old one.
  let young = new Map<string, number | Int32Array>()
  let old = new Map<string, number | Int32Array>()
  const remember = (piece: string, value: number | Int32Array): void => {
    if (young.size >= CACHED_PIECES) {
      old = young
      young = new Map()
    }
    young.set(piece, value)
  }

  const addPiece = (text: string, start: number, end: number): void => {
    if (end - start > CACHED_LENGTH) {
      const length = mergePiece(text, start, end)
      reserve(length)
      for (let i = 0; i < length; i++) out[size++] = symbols[i]!
      // A piece of megabytes must not pin its buffer for good.
      if (symbols.length > 1 << 20) symbols = new Int32Array(256)
      return
    }
    const piece = text.slice(start, end)
    let value = young.get(piece)
    if (value === undefined) {
      value = old.get(piece)
      if (value === undefined) {
        const length = mergePiece(text, start, end)
        value = length === 1 ? symbols[0]! : symbols.slice(0, length)
      }
      // A slice can keep its whole parent alive: a remembered piece owns its characters.
      remember(start === 0 && end === text.length ? piece : detach(piece), value)
    }
    if (typeof value === "number") {
      reserve(1)
      out[size++] = value
    } else {
      reserve(value.length)
      for (let i = 0; i < value.length; i++) out[size++] = value[i]!
    }
  }

  const run = (text: string, options: EncodeOptions | undefined, done?: (start: number, end: number) => void): void => {
    const find: Finder = options?.allowSpecial === "all" ? findAll : findOrdinary
    size = 0
    const emitPiece =
      done === undefined
        ? (start: number, end: number) => addPiece(text, start, end)
        : (start: number, end: number) => {
            addPiece(text, start, end)
            done(start, end)
          }
    find(text, (start, end, token) => {
      if (token === undefined) return split(text, start, end, emitPiece)
      reserve(1)
      out[size++] = token.id
      done?.(start, end)
    })
  }

  const encodeWithOffsets = (text: string, options?: EncodeOptions): Encoding => {
    let starts = new Int32Array(1024)
    let ends = new Int32Array(1024)
    let placed = 0
    run(text, options, (start, end) => {
      if (starts.length < out.length) {
        const [oldStarts, oldEnds] = [starts, ends]
        starts = new Int32Array(out.length)
        ends = new Int32Array(out.length)
        starts.set(oldStarts.subarray(0, placed))
        ends.set(oldEnds.subarray(0, placed))
      }
      if (size - placed === 1) {
        starts[placed] = start
        ends[placed++] = end
        return
      }
      // Walk characters and tokens together; `character` is the one that holds byte `byte`.
      let character = start
      let characterByte = 0
      let byte = 0
      for (; placed < size; placed++) {
        const id = out[placed]!
        const last = byte + tokenStarts[id + 1]! - tokenStarts[id]! - 1
        let shape = measure(text, character, end)
        while (characterByte + (shape >> 2) <= byte) {
          characterByte += shape >> 2
          character += shape & 3
          shape = measure(text, character, end)
        }
        starts[placed] = character
        while (characterByte + (shape >> 2) <= last) {
          characterByte += shape >> 2
          character += shape & 3
          shape = measure(text, character, end)
        }
        ends[placed] = character + (shape & 3)
        byte = last + 1
      }
    })
    return { ids: out.slice(0, size), starts: starts.slice(0, size), ends: ends.slice(0, size) }
  }

  const decode: Tokenizer["decode"] = (ids, options) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
    const encoder = new TextEncoder()
    const parts: Array<Uint8Array> = []
    let length = 0
    for (const id of ids) {
      const token = addedById.get(id)
      if (token?.special === true && options?.skipSpecial === true) continue
      const part =
        token !== undefined
          ? encoder.encode(token.content)
          : bytes.subarray(tokenStarts[id] ?? 0, tokenStarts[id] === undefined ? 0 : (tokenStarts[id + 1] ?? 0))
      parts.push(part)
      length += part.length
    }
    const joined = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      joined.set(part, at)
      at += part.length
    }
    return decoder.decode(joined)
  }

  let top = names.length
  for (const { id } of added) top = Math.max(top, id + 1)
  return {
    vocabSize: top,
    encode: (text, options) => {
      run(text, options)
      return out.slice(0, size)
    },
    count: (text, options) => {
      run(text, options)
      return size
    },
    encodeWithOffsets,
    decode,
    tokenToId: (name) => tokenIds().get(name),
    idToToken: (id) => addedById.get(id)?.content ?? (names[id] || undefined),
    specialTokens,
    json
  }
}

/** The control tokens LLaVA-Phi adds to Phi-2, at free rows of its embedding. */
export const LLAVA_TOKENS = { "<image>": 50295, "<pad>": 50296 } as const

/** A copy of a short string that does not reference the text it was cut from. */
const detach = (piece: string): string => {
  let copy = ""
  for (let i = 0; i < piece.length; i++) copy += piece[i]
  return copy
}

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
  return make({ vocabulary, added, split: splitGpt2, ignoreMerges: false, json })
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
  const { added, ignoreMerges, merges, split, vocab } = parseTokenizerJson(source)
  const vocabulary = vocabularyFromSpelling(vocab, merges)
  const json = (): string => (typeof source === "string" ? source : JSON.stringify(source))
  return make({ vocabulary, added, split, ignoreMerges, json })
}
