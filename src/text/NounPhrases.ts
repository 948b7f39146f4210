/**
 * Noun phrases of an English caption, normalised for counting.
 *
 * Not a parser: words, a tagger that says which of them are inside a phrase (`PhraseTagger.ts`), and the text between.
 * Phrases are what spaCy calls noun chunks, without what opens them: "the man's two very old hats" gives "man's two
 * very old hats". Left out are articles, demonstratives, possessive pronouns and counted numbers ("two dogs" gives
 * "dogs"); "many" and "other" stay. The rules: `test/text/fixtures/noun-phrases.md`.
 *
 * The weights are `phrases.bin`; `scripts/noun-phrases` made them, and docs/noun-phrases.md says from what.
 */
import { readFileSync } from "node:fs"
import { BEGINS, CONTINUES, readWeights } from "./PhraseFeatures.ts"
import { type Tagger, tagger } from "./PhraseTagger.ts"
import { phraseWords } from "./PhraseWords.ts"

/** What the weights were made from, and its licence; it ships beside them. */
export const phraseNotice = new URL("./phrases.NOTICE.txt", import.meta.url)

/** The file of weights: an asset of every node that asks for phrases. */
export const phraseWeights = new URL("./phrases.bin", import.meta.url)

let loaded: Tagger | undefined

/**
 * First and second word of a corner's name: "the bottom left of the page" is one phrase also where the tagger ends it
 * early.
 */
const corner = { first: /^(?:top|bottom|upper|lower)$/i, second: /^(?:left|right)$/i } as const

/**
 * The distinct noun phrases of a caption, lower case, single spaces, in order of appearance.
 *
 * The weights load on first use (about 0.1 s). Synchronous.
 *
 * @example
 * nounPhrases("A black and white photo of the man's hat") // ["black and white photo", "man's hat"]
 */
export const nounPhrases = (caption: string): ReadonlyArray<string> => {
  const words = phraseWords(caption)
  loaded ??= tagger(readWeights(readFileSync(phraseWeights)))
  const labels = loaded.label(words.map(({ word }) => word))
  const phrases = new Set<string>()
  for (let at = 0; at < words.length; at++) {
    if (labels[at] !== BEGINS) continue
    const { from } = words[at]!
    while (at + 1 < words.length && labels[at + 1] === CONTINUES) at++
    if (corner.first.test(words[at]!.word) && corner.second.test(words[at + 1]?.word ?? "")) at++
    const text = caption.slice(from, words[at]!.to)
    if (/\p{L}/u.test(text)) phrases.add(text.toLowerCase().replaceAll("’", "'").replaceAll(/\s+/g, " "))
  }
  return [...phrases]
}
