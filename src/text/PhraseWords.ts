/**
 * Words of a caption with their places, for the noun-phrase tagger and for what trains it.
 *
 * Not the tokenizer of a language model, and not `Captions.wordsOf`, which compares captions. A word keeps its hyphens
 * and inner points ("t-shirt", "u.s"); `'s` and punctuation stand alone.
 */

/** Where a word begins and ends in its text, in UTF-16 units, and the word in lower case with straight apostrophes. */
export interface PhraseWord {
  readonly from: number
  readonly to: number
  readonly word: string
}

const WORD =
  /['’]s(?![\p{L}\p{N}])|[\p{L}\p{M}\p{N}]+(?:(?:[-./_]|['’](?!s(?![\p{L}\p{N}])))[\p{L}\p{M}\p{N}]+)*|[^\s]/gu

/**
 * The words of a text, in order.
 *
 * @example
 * phraseWords("the man's t-shirt .").map(({ word }) => word) // ["the", "man", "'s", "t-shirt", "."]
 */
export const phraseWords = (text: string): ReadonlyArray<PhraseWord> => {
  const words: Array<PhraseWord> = []
  WORD.lastIndex = 0
  for (let match = WORD.exec(text); match !== null; match = WORD.exec(text)) {
    const word = match[0]
    words.push({ from: match.index, to: match.index + word.length, word: word.toLowerCase().replaceAll("’", "'") })
  }
  return words
}
