/**
 * How much the full presets train on, where the data itself is not here: rows as published, mean lengths of a row.
 *
 * Not measured. Lengths are derived from the files' sizes as their hosts show them (`listedSize`) by the two guesses
 * below. What rules are expected to take of CC-595K is `CaptionRules.ts`; of the other files all rows are counted.
 */
import { CC595K } from "./CaptionRules.ts"

/** Guess: bytes of a file that become a token of English text. */
const BYTES_A_TOKEN = 4.2
/** Guess: share of an instruction file's bytes that is text, not JSON and names. */
const TEXT = 0.62
/** Tokens of Vicuna's first sentences, once a row. */
const PROMPT = 36

const textOf = (bytes: number, rows: number): number => Math.round((bytes * TEXT) / BYTES_A_TOKEN / rows) + PROMPT

/** Guess: of the split copy's 604 MB, 90 % is text and 75 % of that English; parts of 900 tokens on average. */
const CONVERSATION = 900
const conversations = Math.round((604e6 * 0.9 * 0.75) / BYTES_A_TOKEN / CONVERSATION)

const sft = {
  examples: conversations,
  text: CONVERSATION,
  labels: 650,
  pictured: 0,
  source: `guess: ${Math.round((conversations * CONVERSATION) / 1e6)} M English tokens in the 604 MB of ShareGPT's split copy`
}
const pretrain = {
  examples: CC595K,
  text: 16,
  labels: 15,
  pictured: 1,
  source: "CC-595K's 595,375 rows, less what its rules are expected to take; 16 tokens a caption are a guess"
}
const text150 = textOf(229e6, 157_712)
const text665 = textOf(1.03e9, 665_298)

export const published = {
  paper: {
    "sft/train": sft,
    "pretrain/train": pretrain,
    "instruct/train": {
      examples: 157_712,
      text: text150,
      labels: 150,
      pictured: 1,
      source: `157,712 rows of LLaVA-Instruct-150K; ${text150} tokens of text a row from its 229 MB are a guess`
    }
  },
  authors: {
    "sft/train": sft,
    "pretrain/train": pretrain,
    "instruct/train": {
      examples: 665_298,
      text: text665,
      labels: 150,
      pictured: (665_298 - 40_688) / 665_298,
      source: `665,298 rows of the 665K mixture; ${text665} tokens of text a row from its 1.03 GB are a guess`
    }
  }
} as const

/** LLaVA-Phi's own figure. */
export const reported =
  "Beside it, as a comparison and no claim: LLaVA-Phi's authors report 1.5 h and 8 h on 8 A100 (76 A100-hours)"
