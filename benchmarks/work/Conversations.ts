/**
 * The conversations that ship, as the sample recipe trains on them: cleaned, split, and tokenised.
 *
 * Not the recipe: languages and lists are not filtered, nothing is stored. Packing and padding are the caller's.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { Node } from "../../src/dag/index.ts"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"
import { dropDuplicates } from "../../src/nodes/DropDuplicates.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { splitConversations } from "../../src/nodes/SplitConversations.ts"
import { tokenizeConversations } from "../../src/nodes/TokenizeText.ts"
import { shuffledOrder } from "../../src/training/Order.ts"
import { packRows, plannedRow, planPacking, type TokenisedExample } from "../../src/training/Packing.ts"

const sample = (path: string): string => fileURLToPath(new URL(`../../datasets/sample/${path}`, import.meta.url))
const tokenizer = sample("tokenizer.json")
const shardRows = 2048

/** Ids of the sample's tokenizer. */
export const vocabSize = (): Promise<number> =>
  Effect.runPromise(Effect.map(loadTokenizer({ path: tokenizer }), (loaded) => loaded.vocabSize))

/** Every conversation of the sample, at most `maxTokens` each, in a seeded order. */
export const sampleConversations = async (maxTokens: number): Promise<ReadonlyArray<TokenisedExample>> => {
  const all = await Effect.runPromise(
    Effect.gen(function* () {
      const raw = yield* Node.run(readShareGpt, { file: sample("sharegpt/sharegpt.json") }, { shardRows })
      const rules = { values: "html", humanTurns: "reference", bannedWords: ["openai", "chatgpt"] } as const
      const clean = yield* Node.run(
        cleanShareGpt,
        { rows: raw.out.rows },
        { ...rules, specialTokens: ["<|endoftext|>", "<image>", "<pad>"] }
      )
      const distinct = yield* Node.run(dropDuplicates, { rows: clean.out.rows }, { shardRows })
      const split = yield* Node.run(
        splitConversations,
        { rows: distinct.out.rows, tokenizer },
        { maxTokens, perMessage: 6 }
      )
      return yield* Node.run(tokenizeConversations, { rows: split.out.rows, tokenizer }, { maxTokens })
    })
  )
  const rows = all.out.rows
  return [...shuffledOrder({ rows: rows.length, seed: 0 }).epoch(0)].map((row) => rows[row]!)
}

/** As the trainer lays them out: packed to `tokens`, at most `microBatch` rows at a time. */
export const packed = (
  examples: ReadonlyArray<TokenisedExample>,
  { microBatch, padId, tokens }: { readonly tokens: number; readonly microBatch: number; readonly padId: number }
): ReadonlyArray<TokenBatch> => {
  const plan = planPacking(
    examples.map(({ ids }) => ids.length),
    { tokens }
  )
  const rows = Array.from({ length: plan.rows }, (_, row) => [...plannedRow(plan, row)].map((i) => examples[i]!))
  return Array.from(
    { length: Math.ceil(rows.length / microBatch) },
    (_, i) => packRows(rows.slice(i * microBatch, (i + 1) * microBatch), { tokens, padId }).batch
  )
}
