/**
 * Added tokens: literal strings that are found in text before any splitting or merging.
 *
 * Not part of the byte-pair vocabulary. Offsets are UTF-16 code units.
 *
 * Source: the added vocabulary of Hugging Face `tokenizers`: leftmost match, longest first; tokens that are not
 * normalised are looked for first in the whole text, the normalised ones in what lies between.
 */
import { composed, type Places, placesOf } from "./Normal.ts"
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

/**
 * Hears of every stretch in order: `added` is undefined for ordinary text. With a normalizer, `text` may be a
 * normalised section, whose code units stood at `places` in the original.
 */
export type Emit = (
  text: string,
  start: number,
  end: number,
  added: AddedToken | undefined,
  places: Places | undefined
) => void

/** Calls `emit` for every stretch of text; places are made when `placed` asks for them. */
export type Finder = (text: string, placed: boolean, emit: Emit) => void

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

/** Whether text[start, end) has no word character beside it within text[from, to). */
const standsAlone = (text: string, start: number, end: number, from: number, to: number): boolean =>
  !WORD_BEFORE.test(text.slice(Math.max(from, start - 2), start)) &&
  !WORD_AFTER.test(text.slice(end, Math.min(to, end + 2)))

type Pass = (
  text: string,
  from: number,
  to: number,
  emit: (start: number, end: number, added: AddedToken | undefined) => void
) => void

/** Splits text[from, to) by one set of tokens. */
const pass = (tokens: ReadonlyArray<AddedToken>): Pass => {
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
      if (found.single_word && !standsAlone(text, start, end, from, to)) continue
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
 * A finder of added tokens. Tokens with empty content are ignored. With `normalize`, what lies between the tokens that
 * are not normalised is brought into composed form first, and so are the tokens to find there.
 *
 * @example
 * const find = findAdded([{ id: 50286, content: "  ", special: false, ... }], false)
 */
export const findAdded = (tokens: ReadonlyArray<AddedToken>, normalize: boolean): Finder => {
  const usable = tokens.filter((token) => token.content.length > 0)
  const outer = pass(usable.filter((token) => !token.normalized))
  const late = usable.filter((token) => token.normalized)
  const inner = pass(normalize ? late.map((token) => ({ ...token, content: composed(token.content) })) : late)
  const section = (text: string, from: number, to: number, placed: boolean, emit: Emit): void => {
    const part = normalize ? text.slice(from, to) : ""
    const made = composed(part)
    if (made === part) inner(text, from, to, (start, end, added) => emit(text, start, end, added, undefined))
    else {
      const places = placed ? placesOf(part, from) : undefined
      inner(made, 0, made.length, (start, end, added) => emit(made, start, end, added, places))
    }
  }
  return (text, placed, emit) =>
    outer(text, 0, text.length, (start, end, added) =>
      added === undefined ? section(text, start, end, placed, emit) : emit(text, start, end, added, undefined)
    )
}
