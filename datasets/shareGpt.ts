/**
 * ShareGPT conversations: the sample that ships, and the two public copies of the original.
 *
 * Not cleaned: values are HTML as scraped (or markdown where a copy was converted before).
 */
import { RawConversation } from "../src/text/Conversation.ts"
import { dataset, sampleFile, sampleFolder } from "./Dataset.ts"

export const shareGptSample = dataset({
  name: "sharegpt-sample",
  title: "Made-up conversations in ShareGPT's format",
  origin: "datasets/generate in this repository",
  licence: "CC0-1.0",
  about:
    "Boards and described scenes with questions (English and seven other languages), small talk, and rows " +
    "that break each cleaning rule; ledger.json names those rows.",
  rows: 1615,
  folder: sampleFolder,
  files: {
    rows: {
      path: "sharegpt/sharegpt.json",
      about: "One JSON array, one row a line",
      format: "json-array",
      row: RawConversation,
      group: "sharegpt",
      ...sampleFile("sharegpt/sharegpt.json")
    },
    tokenizer: {
      path: "tokenizer.json",
      about: "Byte-level BPE trained on the English text of the whole sample",
      format: "json",
      ...sampleFile("tokenizer.json")
    }
  }
})

const ryoko = "https://huggingface.co/datasets/RyokoAI/ShareGPT52K"
const ryokoRevision = "a2daa8003cceebf94fa335edf016ec74942da09f"

/** The raw scrape, HTML in every reply: the input of FastChat's clean step. */
export const shareGpt = dataset({
  name: "sharegpt",
  title: "ShareGPT 90K",
  origin: ryoko,
  licence: "CC0-1.0",
  about: "About 90,000 conversations scraped before the site's interface closed; replies are HTML.",
  rows: undefined,
  folder: undefined,
  files: {
    part1: {
      path: "sg_90k_part1.json",
      about: "First half",
      format: "json-array",
      row: RawConversation,
      group: "sharegpt",
      url: `${ryoko}/resolve/${ryokoRevision}/sg_90k_part1.json`,
      bytes: undefined,
      sha256: undefined,
      listedSize: "922 MB"
    },
    part2: {
      path: "sg_90k_part2.json",
      about: "Second half",
      format: "json-array",
      row: RawConversation,
      group: "sharegpt",
      url: `${ryoko}/resolve/${ryokoRevision}/sg_90k_part2.json`,
      bytes: undefined,
      sha256: undefined,
      listedSize: "932 MB"
    }
  }
})

const anon = "https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered"

/**
 * The copy most Vicuna-style runs used: cleaned to markdown and split already, so only the later rules apply. Its ids
 * are `{conversation}_{first turn}`, as FastChat's split writes them.
 */
export const shareGptVicuna = dataset({
  name: "sharegpt-vicuna",
  title: "ShareGPT Vicuna unfiltered",
  origin: anon,
  licence: "Apache-2.0",
  about: "The same conversations after FastChat's clean and split steps; values are markdown.",
  rows: undefined,
  folder: undefined,
  files: {
    rows: {
      path: "ShareGPT_unfiltered_cleaned_split.json",
      about: "Cleaned and split",
      format: "json-array",
      row: RawConversation,
      group: "sharegpt",
      url: `${anon}/resolve/071fe5d0da36778ed2ee0f673d649d8cf6f566e7/ShareGPT_unfiltered_cleaned_split.json`,
      bytes: undefined,
      sha256: undefined,
      listedSize: "604 MB"
    }
  }
})
