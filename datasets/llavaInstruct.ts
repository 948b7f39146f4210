/**
 * Visual instruction data: the sample in this repository, LLaVA-Instruct-150K, the 665K mixture, and COCO's images.
 *
 * Not an evaluation harness: `heldOut` only describes its rows.
 */
import { Schema } from "effect"
import { dataset, sampleFile, sampleFolder } from "./Dataset.ts"

/** A row: several questions and answers about one image. Text-only rows (mixture) have no `image`. */
export const RawInstructRow = Schema.Struct({
  id: Schema.String,
  image: Schema.optionalKey(Schema.String),
  model: Schema.optionalKey(Schema.NullOr(Schema.String)),
  conversations: Schema.Array(Schema.Struct({ from: Schema.String, value: Schema.String }))
})
export type RawInstructRow = typeof RawInstructRow.Type

/** A held-out image with one labelled question of each type; an answer is one phrase with a full stop. */
export const HeldOutRow = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  /** What the image shows, as text; no training row of the sample shows the same. */
  signature: Schema.String,
  questions: Schema.Array(
    Schema.Struct({
      type: Schema.Literals(["colour", "shape", "count", "position"]),
      question: Schema.String,
      answer: Schema.String
    })
  )
})
export type HeldOutRow = typeof HeldOutRow.Type

export const llavaInstructSample = dataset({
  name: "llava-instruct-sample",
  title: "Questions about drawn scenes in LLaVA-Instruct's format",
  origin: "datasets/generate in this repository",
  licence: "CC0-1.0",
  about:
    "Four to six questions a row with short answers from a closed vocabulary; a few text-only rows as in the 665K " +
    "mixture; 300 held-out scenes with labelled questions.",
  rows: 2810,
  folder: sampleFolder,
  files: {
    rows: {
      path: "llava-instruct/llava_instruct.json",
      about: "One JSON array on one line",
      format: "json-array",
      row: RawInstructRow,
      ...sampleFile("llava-instruct/llava_instruct.json")
    },
    images: {
      path: "llava-instruct/train2017.zip",
      about: "Images under train2017/, as COCO packs them; rows name them without the folder",
      format: "zip",
      folder: "train2017/",
      ...sampleFile("llava-instruct/train2017.zip")
    },
    heldOut: {
      path: "llava-instruct/heldout.json",
      about: "Scenes that no training row shows",
      format: "json-array",
      row: HeldOutRow,
      ...sampleFile("llava-instruct/heldout.json")
    },
    heldOutImages: {
      path: "llava-instruct/heldout.zip",
      about: "Their images under val2017/; rows name them without the folder",
      format: "zip",
      folder: "val2017/",
      ...sampleFile("llava-instruct/heldout.zip")
    }
  }
})

const origin = "https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K"
const at = (path: string) => `${origin}/resolve/011f884bcf152693aca1d531d067f31e748bea02/${path}`

/** COCO's training pictures: 118,287 under `train2017/`. */
const train2017 = {
  path: "train2017.zip",
  about: "COCO 2017 training pictures under train2017/; rows name them bare",
  format: "zip",
  folder: "train2017/",
  url: "http://images.cocodataset.org/zips/train2017.zip",
  bytes: undefined,
  sha256: undefined,
  listedSize: "18 GB"
} as const

export const llavaInstruct = dataset({
  name: "llava-instruct",
  title: "LLaVA Visual Instruct 150K",
  origin,
  licence: "CC-BY-4.0 (pictures: COCO's terms)",
  about: "Conversations, descriptions and reasoning about COCO pictures, several turns a row.",
  rows: 157_712,
  folder: undefined,
  files: {
    rows: {
      path: "llava_instruct_150k.json",
      about: "Rows with bare train2017 names",
      format: "json-array",
      row: RawInstructRow,
      url: at("llava_instruct_150k.json"),
      bytes: undefined,
      sha256: undefined,
      listedSize: "229 MB"
    },
    images: train2017
  }
})

/** The 665K mixture of LLaVA-1.5; its rows name images with folders (`coco/train2017/...`). */
export const mix665k = dataset({
  name: "mix665k",
  title: "LLaVA v1.5 mix 665K",
  origin,
  licence: "CC-BY-4.0 (pictures: the terms of COCO, GQA, OCR-VQA, TextVQA and Visual Genome)",
  about: "Instructions over five picture collections, 40,688 of the rows text only.",
  rows: 665_298,
  folder: undefined,
  files: {
    rows: {
      path: "llava_v1_5_mix665k.json",
      about: "Rows with folder paths, or without a picture; those without are ShareGPT's, split, under its ids",
      format: "json-array",
      row: RawInstructRow,
      group: "sharegpt",
      url: at("llava_v1_5_mix665k.json"),
      bytes: undefined,
      sha256: undefined,
      listedSize: "1.03 GB"
    },
    images: train2017
  }
})
