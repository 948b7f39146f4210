/**
 * Added tokens: literal strings that are found in text before any splitting or merging.
 *
 * Not part of the byte-pair vocabulary. Offsets are UTF-16 code units.
 *
 * Source: the added vocabulary of Hugging Face `tokenizers`: leftmost match, longest first; tokens that are not
 * normalised are looked for first in the whole text, the normalised ones in what lies between.
 */
import { WHITE_SPACE } from "./Pieces.ts"

/** An added token as tokenizer.json spells it. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Only between non-word characters. */
  readonly single_word: boolean
  /** Takes the white space to its left along. */
  readonly lstrip: boolean
  /** Takes the white space to its right along. */
  readonly rstrip: boolean
  readonly normalized: boolean
  /** A control token: user text must not be able to write it. */
  readonly special: boolean
}

/** Calls `emit` for every stretch of text in order: `added` is undefined for ordinary text. */
export type Finder = (text: string, emit: (start: number, end: number, added: AddedToken | undefined) => void) => void

interface TrieNode {
  readonly next: Map<number, TrieNode>
  token: AddedToken | undefined
}

const buildTrie = (tokens: ReadonlyArray<AddedToken>): { root: TrieNode; first: Uint8Array } => {
  const root: TrieNode = { next: new Map(), token: undefined }
  const first = new Uint8Array(65536)
  for (const token of tokens) {
    let node = root
    for (let i = 0; i < token.content.length; i++) {
      const unit = token.content.charCodeAt(i)
      let child = node.next.get(unit)
      if (child === undefined) node.next.set(unit, (child = { next: new Map(), token: undefined }))
      node = child
    }
    node.token ??= token
    first[token.content.charCodeAt(0)] = 1
  }
  return { root, first }
}

// Word characters as Unicode's UTS 18 defines `\w`.
const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u
const SPACES = new RegExp(`[${WHITE_SPACE}]`, "u")

const standsAlone = (text: string, start: number, end: number): boolean =>
  !WORD_BEFORE.test(text.slice(Math.max(0, start - 2), start)) && !WORD_AFTER.test(text.slice(end, end + 2))

type Emit = (start: number, end: number, added: AddedToken | undefined) => void

/** Splits text[from, to) by one set of tokens. */
const pass = (tokens: ReadonlyArray<AddedToken>): ((text: string, from: number, to: number, emit: Emit) => void) => {
  const { first, root } = buildTrie(tokens)
  return (text, from, to, emit) => {
    let done = from
    let at = from
    while (at < to) {
      if (first[text.charCodeAt(at)] === 0) {
        at++
        continue
      }
      let node: TrieNode | undefined = root
      let found: AddedToken | undefined
      for (let i = at; i < to && (node = node.next.get(text.charCodeAt(i))) !== undefined; i++) {
        if (node.token !== undefined) found = node.token
      }
      if (found === undefined) {
        at++
        continue
      }
      let start = at
      let end = at + found.content.length
      at = end
      if (found.single_word && !standsAlone(text, start, end)) continue
      if (found.lstrip) {
        while (start > 0 && start > from && SPACES.test(text[start - 1]!)) start--
        start = Math.max(start, done)
      }
      if (found.rstrip) while (end < to && SPACES.test(text[end]!)) end++
      if (start > done) emit(done, start, undefined)
      emit(start, end, found)
      // The search goes on behind the token itself: as in the original, white space that `rstrip` took along is still
      // found by tokens made of white space.
      done = end
    }
    if (done < to) emit(done, to, undefined)
  }
}

/**
 * A finder of added tokens. Tokens with empty content are ignored.
 *
 * @example
 * const find = findAdded([{ id: 50286, content: "  ", special: false, ... }])
 */
export const findAdded = (tokens: ReadonlyArray<AddedToken>): Finder => {
  const usable = tokens.filter((token) => token.content.length > 0)
  const raw = usable.filter((token) => !token.normalized)
  const normalized = usable.filter((token) => token.normalized)
  const inner = pass(normalized)
  if (raw.length === 0) return (text, emit) => inner(text, 0, text.length, emit)
  const outer = pass(raw)
  if (normalized.length === 0) return (text, emit) => outer(text, 0, text.length, emit)
  return (text, emit) =>
    outer(text, 0, text.length, (start, end, added) => {
      if (added === undefined) inner(text, start, end, emit)
      else emit(start, end, added)
    })
}
