/**
 * How far noun phrases, and the captions that the balance keeps by them, agree with spaCy's.
 *
 *     python scripts/noun-phrases/label.py < captions.txt > spacy.txt
 *     tsx scripts/noun-phrases/agreement.ts spacy.txt [perPhrase]
 *
 * Reads captions with spaCy's phrases in brackets. Prints F1 of exact phrases, the share of captions with equal sets,
 * and for the balance the share of captions that both decide alike and the Jaccard index of what is kept; draws are the
 * same.
 */
import { readFileSync } from "node:fs"
import { countCaptions } from "../../src/text/Balance.ts"
import { nounPhrases } from "../../src/text/NounPhrases.ts"

const [, , path, most] = process.argv
if (path === undefined) throw new Error("agreement.ts LABELLED [PER-PHRASE]")
const rows = readFileSync(path, "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line, i) => {
    const caption = line.replaceAll(/[[\]]/g, "")
    const theirs = new Set(
      [...line.matchAll(/\[([^\]]*)\]/g)].map(([, phrase]) => phrase!.toLowerCase().replaceAll("’", "'"))
    )
    return { id: String(i), caption, theirs: [...theirs], ours: nounPhrases(caption) }
  })

let both = 0
let found = 0
let wanted = 0
let equal = 0
const onlyTheirs = new Map<string, number>()
const onlyOurs = new Map<string, number>()
for (const { ours, theirs } of rows) {
  const shared = ours.filter((phrase) => theirs.includes(phrase)).length
  both += shared
  found += ours.length
  wanted += theirs.length
  if (shared === ours.length && shared === theirs.length) equal++
  for (const phrase of theirs) if (!ours.includes(phrase)) onlyTheirs.set(phrase, (onlyTheirs.get(phrase) ?? 0) + 1)
  for (const phrase of ours) if (!theirs.includes(phrase)) onlyOurs.set(phrase, (onlyOurs.get(phrase) ?? 0) + 1)
}
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`
console.log(`${rows.length} captions, ${wanted} phrases of spaCy's, ${found} of ours`)
console.log(
  `phrases: F1 ${((2 * both) / (found + wanted)).toFixed(4)}; captions with equal sets: ${percent(equal / rows.length)}`
)

const kept = (phrasesOf: (row: (typeof rows)[number]) => ReadonlyArray<string>): ReadonlyArray<boolean> => {
  const counter = countCaptions(
    {
      seed: 0,
      minWords: 0,
      maxWords: null,
      minDistinctShare: 0,
      maxRun: null,
      dropDuplicates: false,
      minCount: 3,
      perPhrase: Number(most ?? "100")
    },
    rows.length
  )
  for (const row of rows) counter.add({ id: row.id, caption: row.caption, phrases: phrasesOf(row) })
  const plan = counter.finish()
  return rows.map(({ caption }, at) => plan.decide(at, caption).keep)
}
const [ours, theirs] = [kept((row) => row.ours), kept((row) => row.theirs)]
const count = (test: (at: number) => boolean): number => rows.filter((_, at) => test(at)).length
const shared = count((at) => ours[at]! && theirs[at]!)
const either = count((at) => ours[at]! || theirs[at]!)
console.log(
  `balance: ${count((at) => theirs[at]!)} kept by spaCy's, ${count((at) => ours[at]!)} by ours, ` +
    `decided alike ${percent(count((at) => ours[at] === theirs[at]) / rows.length)}, Jaccard ${(shared / either).toFixed(4)}`
)
const top = (map: ReadonlyMap<string, number>): string =>
  [...map]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 12)
    .map(([phrase, n]) => `${phrase} ${n}`)
    .join(", ")
console.log(`only spaCy's: ${top(onlyTheirs)}\nonly ours: ${top(onlyOurs)}`)
