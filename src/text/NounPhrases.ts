/**
 * Noun phrases of an English caption, normalised for counting.
 *
 * Not a parser: part-of-speech tags and a chunker of a few rules. A phrase is adjectives, nouns and names that end in
 * a noun or name: "the man's old red hat" gives "man's old red hat". Determiners, possessive pronouns and counted
 * numbers are left out ("two dogs" gives "dogs"); compounds keep their hyphens ("t-shirt", "3d illustration").
 *
 * Source: tags by `wink-nlp` with `wink-eng-lite-web-model`.
 */
import type { PartOfSpeech, WinkMethods } from "wink-nlp"
import { missing } from "../dag/Missing.ts"

const { default: model } = await import("wink-eng-lite-web-model").catch(missing("wink-eng-lite-web-model"))
const { default: winkNlp } = await import("wink-nlp").catch(missing("wink-nlp"))

let loaded: WinkMethods | undefined

/** A token: lower-cased word, tag, and whether white space stands before it. */
interface Token {
  readonly word: string
  readonly tag: PartOfSpeech
  readonly spaced: boolean
}

const tokenise = (caption: string): ReadonlyArray<Token> => {
  const nlp = (loaded ??= winkNlp(model, ["pos"]))
  const tokens = nlp.readDoc(caption).tokens()
  const tags = tokens.out(nlp.its.pos) as ReadonlyArray<PartOfSpeech>
  const words = tokens.out() as ReadonlyArray<string>
  const spaces = tokens.out(nlp.its.precedingSpaces) as ReadonlyArray<string>
  return words.map((word, i) => ({ word: word.toLowerCase(), tag: tags[i]!, spaced: spaces[i] !== "" }))
}

const isNoun = (token: Token | undefined): boolean => token?.tag === "NOUN" || token?.tag === "PROPN"
const isWordOf = (token: Token | undefined): boolean => isNoun(token) || token?.tag === "ADJ"
const opens = (token: Token | undefined): boolean =>
  token?.tag === "DET" ||
  token?.tag === "ADJ" ||
  (token?.tag === "PRON" && /^(my|your|his|her|its|our|their)$/.test(token.word))

/** How many tokens at `at` continue a phrase that started before `at` (0 = it ends here). */
const continues = (tokens: ReadonlyArray<Token>, at: number): number => {
  const token = tokens[at]
  const next = tokens[at + 1]
  if (token === undefined) return 0
  if (isWordOf(token)) return 1
  const joined = (token.word === "-" || token.word === "'") && !token.spaced && next !== undefined && !next.spaced
  if (joined && (isWordOf(next) || next.tag === "NUM" || next.tag === "VERB")) return 2
  if (token.tag === "PART" && /^['’]s?$/.test(token.word) && isWordOf(next)) return 2
  if (token.tag === "NUM" && !token.spaced) return 1
  const previous = tokens[at - 1]
  if (token.tag === "CCONJ" && token.word === "and" && previous?.tag === "ADJ" && next?.tag === "ADJ") {
    // "black and white photo", but not "blue and white".
    let end = at + 1
    while (tokens[end]?.tag === "ADJ") end++
    return isNoun(tokens[end]) ? 2 : 0
  }
  return 0
}

/** Whether a phrase may start at `at` with a token that is no adjective, noun or name. */
const startsSpecially = (tokens: ReadonlyArray<Token>, at: number): boolean => {
  const token = tokens[at]!
  const next = tokens[at + 1]
  // "3d", "50s": a number glued to what follows is part of the word.
  if (token.tag === "NUM") return next !== undefined && !next.spaced && (isWordOf(next) || next.word === "-")
  // "a broken window", "the running water": a participle between its opener and its noun.
  return token.tag === "VERB" && /(ing|ed|en|n)$/.test(token.word) && opens(tokens[at - 1]) && isNoun(next)
}

/**
 * The distinct noun phrases of a caption, lower case, single spaces, in order of appearance.
 *
 * The model loads on first use (about 0.1 s). Synchronous.
 *
 * @example
 * nounPhrases("A black and white photo of the man's hat") // ["black and white photo", "man's hat"]
 */
export const nounPhrases = (caption: string): ReadonlyArray<string> => {
  const tokens = tokenise(caption)
  const phrases = new Set<string>()
  let at = 0
  while (at < tokens.length) {
    if (!isWordOf(tokens[at]) && !startsSpecially(tokens, at)) {
      at++
      continue
    }
    let end = at + 1
    for (let more = continues(tokens, end); more > 0; more = continues(tokens, end)) end += more
    let last = end
    while (last > at && !isNoun(tokens[last - 1])) last--
    if (last > at) {
      let phrase = ""
      for (let i = at; i < last; i++) phrase += (i > at && tokens[i]!.spaced ? " " : "") + tokens[i]!.word
      if (/\p{L}/u.test(phrase)) phrases.add(phrase.replaceAll("’", "'"))
    }
    at = end
  }
  return [...phrases]
}
