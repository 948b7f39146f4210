/**
 * The tokenizer's work: stretches, pieces, merges, offsets, and ids back to text.
 *
 * Not the format of a file (`Json.ts`) and no patterns (`Pieces.ts`): it puts the parts together.
 *
 * Units: offsets are UTF-16 code units into the given string. A lone surrogate is encoded as U+FFFD.
 */
import type { EncodeOptions, Encoding, Tokenizer } from "../Tokenizer.ts"
import { type AddedToken, type Finder, findAdded } from "./Added.ts"
import { spell } from "./Alphabet.ts"
import { merge } from "./Merge.ts"
import type { Places } from "./Normal.ts"
import { spellings } from "./Phi2.ts"
import type { PreTokenizer } from "./Pieces.ts"
import type { Around } from "./PostProcessor.ts"
import type { Vocabulary } from "./Vocabulary.ts"

/** The parts of a tokenizer. */
interface Parts {
  readonly vocabulary: Vocabulary
  readonly added: ReadonlyArray<AddedToken>
  readonly split: PreTokenizer
  /** Whether text is brought into composed form (NFC) first. */
  readonly normalize: boolean
  readonly ignoreMerges: boolean
  /** What the post-processor puts around a text; asked when first needed. */
  readonly around: () => Around
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

/** Places of a section with a space before it: the space shares its first character's place. */
const shifted = (text: string, from: number, to: number, places: Places | undefined): Places => {
  const starts = new Int32Array(to - from + 1)
  const ends = new Int32Array(to - from + 1)
  for (let at = from; at < to; at++) {
    starts[at - from + 1] = places?.starts[at] ?? at
    ends[at - from + 1] = places?.ends[at] ?? at + 1
  }
  starts[0] = starts[1]!
  ends[0] = ends[measure(text, from, to) & 3]!
  return { starts, ends }
}

/** UTF-8 length and code units of the character at `at`: packed as bytes * 4 + units. */
const measure = (text: string, at: number, end: number): number => {
  const code = text.charCodeAt(at)
  if (code < 0x80) return 5
  if (code < 0x800) return 9
  if ((code & 0xfc00) === 0xd800 && at + 1 < end && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) return 18
  return 13
}

/**
 * A tokenizer from its parts.
 *
 * Long: its functions share tables and scratch buffers, which are the point of its speed.
 */
export const makeTokenizer = ({
  added,
  around,
  ignoreMerges,
  json,
  normalize,
  split,
  vocabulary
}: Parts): Tokenizer => {
  const { byteIds, bytes, pairs, starts: tokenStarts } = vocabulary
  const names = spellings(vocabulary)
  const addedById = new Map(added.map((token) => [token.id, token]))
  const specialTokens = new Map(added.filter((token) => token.special).map(({ content, id }) => [content, id]))
  const findOrdinary = findAdded(
    added.filter((token) => !token.special),
    normalize
  )
  const findAll = findAdded(added, normalize)
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

  type Done = (text: string, start: number, end: number, places: Places | undefined) => void
  const push = (id: number): void => {
    reserve(1)
    out[size++] = id
  }

  /** Ids of the stretch text[start, end) of ordinary text. */
  const addStretch = (text: string, start: number, end: number, places: Places | undefined, done?: Done): void => {
    const emitPieces = (of: string, from: number, to: number, at: Places | undefined): void =>
      split.pieces(
        of,
        from,
        to,
        done === undefined
          ? (start, end) => addPiece(of, start, end)
          : (start, end) => {
              addPiece(of, start, end)
              done(of, start, end, at)
            }
      )
    if (!split.prefixSpace) {
      emitPieces(text, start, end, places)
      return
    }
    const section = (from: number, to: number): void => {
      if (text.charCodeAt(from) === 0x20) emitPieces(text, from, to, places)
      else {
        const part = ` ${text.slice(from, to)}`
        emitPieces(part, 0, part.length, done === undefined ? undefined : shifted(text, from, to, places))
      }
    }
    if (split.before === undefined) section(start, end)
    else split.before(text, start, end, section)
  }

  const run = (text: string, options: EncodeOptions | undefined, done?: Done): void => {
    const find: Finder = options?.allowSpecial === "all" ? findAll : findOrdinary
    const ends = options?.addSpecial === true ? around() : undefined
    size = 0
    for (const id of ends?.before ?? []) {
      push(id)
      done?.(text, 0, 0, undefined)
    }
    find(text, done !== undefined, (of, start, end, token, places) => {
      if (token === undefined) return addStretch(of, start, end, places, done)
      push(token.id)
      done?.(of, start, end, places)
    })
    for (const id of ends?.behind ?? []) {
      push(id)
      done?.(text, 0, 0, undefined)
    }
  }

  const encodeWithOffsets = (text: string, options?: EncodeOptions): Encoding => {
    let starts = new Int32Array(1024)
    let ends = new Int32Array(1024)
    let placed = 0
    run(text, options, (of, start, end, places) => {
      const from = placed
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
      } else {
        // Walk characters and tokens together; `character` is the one that holds byte `byte`.
        let character = start
        let characterByte = 0
        let byte = 0
        for (; placed < size; placed++) {
          const id = out[placed]!
          const last = byte + tokenStarts[id + 1]! - tokenStarts[id]! - 1
          let shape = measure(of, character, end)
          while (characterByte + (shape >> 2) <= byte) {
            characterByte += shape >> 2
            character += shape & 3
            shape = measure(of, character, end)
          }
          starts[placed] = character
          while (characterByte + (shape >> 2) <= last) {
            characterByte += shape >> 2
            character += shape & 3
            shape = measure(of, character, end)
          }
          ends[placed] = character + (shape & 3)
          byte = last + 1
        }
      }
      if (places === undefined) return
      for (let i = from; i < placed; i++) {
        starts[i] = places.starts[starts[i]!]!
        ends[i] = places.ends[ends[i]! - 1]!
      }
    })
    return { ids: out.slice(0, size), starts: starts.slice(0, size), ends: ends.slice(0, size) }
  }

  const encoder = new TextEncoder()
  const none = new Uint8Array(0)
  const bytesOf: Tokenizer["bytesOf"] = (id, options) => {
    const token = addedById.get(id)
    if (token !== undefined)
      return token.special && options?.skipSpecial === true ? none : encoder.encode(token.content)
    const start = tokenStarts[id]
    return start === undefined ? none : bytes.subarray(start, tokenStarts[id + 1] ?? start)
  }

  const decode: Tokenizer["decode"] = (ids, options) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
    const parts: Array<Uint8Array> = []
    let length = 0
    for (const id of ids) {
      const part = bytesOf(id, options)
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
    bytesOf,
    tokenToId: (name) => tokenIds().get(name),
    idToToken: (id) => addedById.get(id)?.content ?? (names[id] || undefined),
    specialTokens,
    json
  }
}

/** A copy of a short string that does not reference the text it was cut from. */
const detach = (piece: string): string => {
  let copy = ""
  for (let i = 0; i < piece.length; i++) copy += piece[i]
  return copy
}
