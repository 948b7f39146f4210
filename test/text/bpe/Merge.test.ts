import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { merge, PairTable } from "../../../src/text/bpe/Merge.ts"

const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
const Rules = Schema.Array(Schema.Tuple([Small, Small])).check(Schema.isMaxLength(6))
const Symbols = Schema.Array(Small).check(Schema.isMaxLength(200))

/** The definition, slowly: the lowest rank first, the leftmost of equals. Rule r makes symbol 4 + r. */
const reference = (rules: ReadonlyArray<readonly [number, number]>, symbols: ReadonlyArray<number>): Array<number> => {
  const out = [...symbols]
  for (;;) {
    let best = { rank: rules.length, at: -1 }
    for (let at = 0; at + 1 < out.length; at++) {
      const rank = rules.findIndex(([a, b]) => a === out[at] && b === out[at + 1])
      if (rank >= 0 && rank < best.rank) best = { rank, at }
    }
    if (best.at < 0) return out
    out.splice(best.at, 2, 4 + best.rank)
  }
}

it.prop("merges as the definition says, short and long", [Rules, Rules, Symbols], ([first, second, symbols]) => {
  // The second set of rules works on what the first makes.
  const rules = [...first, ...second.map(([a, b]) => [4 + a, b] as [number, number])]
  const table = new PairTable(1)
  for (const [rank, [a, b]] of rules.entries()) table.add(a, b, rank, 4 + rank)
  for (const input of [symbols, [...symbols, ...symbols, ...symbols]]) {
    const ids = Int32Array.from(input)
    expect([...ids.slice(0, merge(ids, ids.length, table))]).toEqual(reference(rules, input))
  }
})
