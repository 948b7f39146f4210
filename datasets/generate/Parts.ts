/**
 * All rows and images of the sample as one value, before anything is encoded or written.
 *
 * Pure: a function of the seed alone, the same on every machine. `Write` turns it into files.
 */
import { type CaptionPart, captions } from "./Captions.ts"
import { type HeldOutPart, heldOut, type InstructPart, instruct } from "./Instruct.ts"
import { type ShareGptPart, shareGpt } from "./ShareGpt.ts"
import { type SignalPart, signals } from "./Signals.ts"

export interface Parts {
  readonly heldOut: HeldOutPart
  readonly shareGpt: ShareGptPart
  readonly captions: CaptionPart
  readonly instruct: InstructPart
  /** For fine-tuning: no part of the recipe's data. */
  readonly signals: SignalPart
}

/** Draws the held-out scenes first; every other part avoids their signatures. */
export const parts = (seed: number): Parts => {
  const held = heldOut(seed)
  return {
    heldOut: held,
    shareGpt: shareGpt(seed, held.signatures),
    captions: captions(seed, held.signatures),
    instruct: instruct(seed, held.signatures),
    signals: signals(seed)
  }
}

const lines = (rows: ReadonlyArray<unknown>): string => `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`

/** The JSON files by path; the originals differ in layout, so these do: a row a line, indented, all on one line. */
export const jsonFiles = (all: Parts): Readonly<Record<string, string>> => ({
  "sharegpt/sharegpt.json": lines(all.shareGpt.rows),
  "cc595k/chat.json": JSON.stringify(all.captions.chat, null, 2),
  "cc595k/metadata.json": JSON.stringify(all.captions.metadata),
  "llava-instruct/llava_instruct.json": JSON.stringify(all.instruct.rows),
  "llava-instruct/heldout.json": lines(all.heldOut.rows),
  "signals/train.json": `${JSON.stringify(all.signals.rows, null, 1)}\n`,
  "signals/questions.jsonl": all.signals.questions.map((row) => `${JSON.stringify(row)}\n`).join(""),
  "ledger.json": `${JSON.stringify(
    {
      sharegpt: all.shareGpt.ledger.rules(),
      cc595k: all.captions.ledger.rules(),
      "llava-instruct": all.instruct.ledger.rules()
    },
    null,
    1
  )}\n`
})

const system =
  "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and " +
  "polite answers to the user's questions. USER:"

/** What the sample's tokenizer learns from: the English text as a model will read it, prompt words included. */
export const corpus = function* (all: Parts): Generator<string> {
  for (let i = 0; i < 100; i++) yield system
  for (const plain of [all.shareGpt.plain, all.instruct.plain]) {
    for (let i = 0; i + 1 < plain.length; i += 2) yield ` ${plain[i]} ASSISTANT: ${plain[i + 1]}`
  }
  for (const row of all.captions.chat) yield ` ${row.conversations[1]!.value}\n`
}
