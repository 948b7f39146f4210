/** Statistics of conversations as lines for a terminal, and as tables of a run's page. Pure, from the value alone. */
import { columns } from "../dag/Describe.ts"
import type { Section } from "../dag/Sections.ts"
import type { Spread } from "../text/Statistics.ts"
import type { Statistics } from "./ConversationStatistics.ts"

const number = (value: number): string =>
  value.toLocaleString("en-GB", { maximumFractionDigits: Number.isInteger(value) ? 0 : 1 })

const measures = ["min", "p10", "p50", "p90", "p99", "max"] as const

const spreads = (statistics: Statistics): ReadonlyArray<readonly [string, Spread]> => [
  ["pairs a row", statistics.pairs],
  ["tokens a row", statistics.tokens],
  ["tokens a question", statistics.questionTokens],
  ["tokens a reply", statistics.replyTokens],
  ["characters a row", statistics.characters]
]

const heads = ["sum", "mean", ...measures]
const spreadCells = (spread: Spread): ReadonlyArray<string> =>
  [spread.sum, spread.mean, ...measures.map((name) => spread[name])].map(number)

/** What a part is of a hundred; none of none is all. */
const share = (part: number, of: number): string => `${(of === 0 ? 100 : (100 * part) / of).toFixed(1)} %`

const BAR = 40

/**
 * The report as lines: rows, a table of lengths, a histogram of tokens a row.
 *
 * @example
 * recipe({ ..., summary: ({ statistics }) => ({ metrics: {}, lines: statisticsLines(statistics as Statistics) }) })
 */
export const statisticsLines = (statistics: Statistics): ReadonlyArray<string> => {
  const { kept, made, read } = statistics.rows
  const { histogram } = statistics.tokens
  const most = Math.max(1, ...histogram.map(({ count }) => count))
  return [
    `${number(read)} conversations read, ${number(kept)} kept (${share(kept, read)}), ${number(made)} rows made of them`,
    ...columns([["", ...heads], ...spreads(statistics).map(([name, spread]) => [name, ...spreadCells(spread)])]).split(
      "\n"
    ),
    "tokens a row",
    ...columns(
      histogram.map(({ below, count }) => [
        `  below ${number(below)}`,
        number(count),
        "#".repeat(Math.ceil((BAR * count) / most))
      ])
    ).split("\n")
  ]
}

/**
 * The report as tables of a run's page.
 *
 * @example
 * const part = { figures: [], losses: [], sections: statisticsSections(statistics) }
 */
export const statisticsSections = (statistics: Statistics): ReadonlyArray<Section> => {
  const { kept, made, read } = statistics.rows
  const { count, histogram } = statistics.tokens
  return [
    {
      kind: "table",
      title: "Conversations",
      about: `${number(read)} were read, ${number(kept)} kept (${share(kept, read)}), and ${number(made)} rows made of them. Tokens are those of the text, without the prompt around it.`,
      columns: [{ name: "" }, ...heads.map((name) => ({ name, figures: true }))],
      rows: spreads(statistics).map(([name, spread]) => [name, ...spreadCells(spread)])
    },
    {
      kind: "table",
      title: "Tokens a row",
      columns: [
        { name: "below", figures: true },
        { name: "rows", figures: true }
      ],
      rows: histogram.map((bin) => [number(bin.below), { text: number(bin.count), share: bin.count / count }])
    }
  ]
}
