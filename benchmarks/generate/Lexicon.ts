/**
 * English-like prose of any length with the word frequencies of English and an open vocabulary.
 *
 * Not sense: words follow each other by frequency alone. What it is for is that a tokenizer, a cleaner or a JSON reader
 * meets as many different words, as often, as in real text: some 17,000 words of GPT-2's vocabulary in the order in
 * which it learned them (so, by frequency), then 40,000 made-up ones that no vocabulary holds whole.
 */
import type { Dice } from "../../datasets/generate/Random.ts"
import { dice } from "../../datasets/generate/Random.ts"
import { phi2Vocabulary, spellings } from "../../src/text/bpe/Phi2.ts"

/** Words that GPT-2's vocabulary does not hold whole. */
const RARE = 40_000

/** Words of up to three letters; the vocabulary's other short entries are pieces of words. */
const brief = new Set(
  (
    "a I the to of in and be is on that for it you with as we was at are an or by from he she they his her its our my me us " +
    "him who why how not but so if no yes do did has had can may all any one two six ten get got put let set see saw say " +
    "use way day new old big far few low own out off up go up too now then than yet via per end add ask try run cut eat " +
    "buy pay sit win lot bit top job man men boy car dog cat sun air sea ice oil map key bag box bed bus cup hat leg arm " +
    "eye ear law tax war art gas age red hot dry wet raw bad sad fun fit fix mix aim act bar bit hit led met ran won fed"
  ).split(" ")
)

const beginnings = "un re over micro anti inter hyper sub tele photo bio geo neo trans counter".split(" ")
const endings = "ness wise able ously ification ments ingly ology ist ward iser most ling craft".split(" ")
const syllables = "ka lo mi ber ran dol ven tis mar qua pel gor han lis tor wen dra sul bex nam fi cho zer ul".split(
  " "
)

/** Draws words; the first of `words` is the most frequent. */
export interface Lexicon {
  readonly words: ReadonlyArray<string>
  /** A word by Zipf's law: the r-th with a chance near 1 / r. */
  readonly word: (throws: Dice) => string
}

const capital = (word: string): string => `${word[0]!.toUpperCase()}${word.slice(1)}`

let shared: Lexicon | undefined

/** The one lexicon: the same on every machine with the same ranks. */
export const lexicon = (): Lexicon => {
  if (shared !== undefined) return shared
  const common = spellings(phi2Vocabulary())
    .filter((name) => /^Ġ(?:[a-z]{2,}|[aI])$/.test(name))
    .map((name) => name.slice(1))
    .filter((word) => word.length > 3 || brief.has(word))
  const throws = dice(0, "lexicon")
  const stems = common.filter((word) => word.length >= 4 && word.length <= 8)
  const known = new Set(common)
  const words = [...common]
  while (words.length < common.length + RARE) {
    const kind = throws.unit()
    const word =
      kind < 0.35
        ? `${throws.pick(beginnings)}${throws.pick(stems)}`
        : kind < 0.7
          ? `${throws.pick(stems)}${throws.pick(endings)}`
          : capital(Array.from({ length: throws.range(2, 4) }, () => throws.pick(syllables)).join(""))
    if (known.has(word)) continue
    known.add(word)
    words.push(word)
  }
  const span = Math.log(words.length + 1)
  const word = (draw: Dice): string => words[Math.floor(Math.exp(draw.unit() * span)) - 1]!
  shared = { words, word }
  return shared
}

const short = ["don't", "it's", "you're", "we've", "I'll", "that's", "can't", "they'd"] as const

const number = (throws: Dice): string =>
  throws.weighted([
    [String(throws.range(2, 99)), 5],
    [String(throws.range(1990, 2023)), 2],
    [`${throws.range(1, 99)}.${throws.range(1, 9)}%`, 1],
    [`$${throws.range(1, 9)},${String(throws.range(0, 999)).padStart(3, "0")}`, 1]
  ])

/** One sentence of 5 to 24 words. */
export const sentence = (throws: Dice): string => {
  const { word } = lexicon()
  const length = throws.range(5, 24)
  let text = capital(word(throws))
  for (let i = 1; i < length; i++) {
    const kind = throws.int(100)
    const next =
      kind < 3 ? throws.pick(short) : kind < 6 ? number(throws) : kind < 8 ? capital(word(throws)) : word(throws)
    text +=
      kind > 92 && i < length - 2 ? `, ${next}` : kind === 92 ? ` (${next})` : kind === 91 ? ` "${next}"` : ` ${next}`
  }
  return `${text}${throws.chance(0.08) ? (throws.chance(0.5) ? "?" : ":") : "."}`
}

/** `count` sentences. */
export const sentences = (throws: Dice, count: number): string =>
  Array.from({ length: count }, () => sentence(throws)).join(" ")

/** A few words, as in a heading or a list. */
export const phrase = (throws: Dice, words: number): string => {
  const { word } = lexicon()
  return capital(Array.from({ length: words }, () => word(throws)).join(" "))
}

const name = (throws: Dice): string => {
  const { word } = lexicon()
  const parts = [word(throws), word(throws)].map((part) => part.toLowerCase())
  return throws.chance(0.5) ? parts.join("_") : `${parts[0]}${capital(parts[1]!)}`
}

/** A code block of some lines, with the brackets and indents of its language. */
export const code = (throws: Dice): { readonly language: string; readonly text: string } => {
  const python = throws.chance(0.5)
  const lines: Array<string> = []
  for (let i = throws.range(1, 4); i > 0; i--) {
    const [a, b, c] = [name(throws), name(throws), name(throws)]
    const n = throws.range(0, 100)
    if (python)
      lines.push(
        `def ${a}(${b}, ${c}=${n}):`,
        `    # ${sentence(throws)}`,
        `    for i in range(len(${b})):`,
        `        if ${b}[i] < ${c} and ${b}[i] != ${n}:`,
        `            ${c} += ${b}[i] * 2`,
        `    return {"${a}": ${c}, 'n': ${n}}`,
        ""
      )
    else
      lines.push(
        `const ${a} = async (${b}: Array<number>): Promise<string> => {`,
        `  // ${sentence(throws)}`,
        `  for (const ${c} of ${b}) {`,
        `    if (${c} > ${n} && ${c} <= ${n * 2}) return \`\${${c}} & more\``,
        "  }",
        `  return "${phrase(throws, 3)}"`,
        "}",
        ""
      )
  }
  return { language: python ? "python" : "typescript", text: lines.join("\n").trimEnd() }
}
