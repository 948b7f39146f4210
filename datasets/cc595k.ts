/**
 * Captioned images for the projector: the sample that ships, and LLaVA's CC-595K.
 *
 * Not filtered further: a node does the filtering of LLaVA-Phi's "filtered subset".
 */
import { Schema } from "effect"
import { dataset, sampleFile, sampleFolder } from "./Dataset.ts"

/** A row of `chat.json`: one request with `<image>` before or after it, one caption. */
export const RawChatRow = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  conversations: Schema.Array(Schema.Struct({ from: Schema.String, value: Schema.String }))
})
export type RawChatRow = typeof RawChatRow.Type

/** A row of `metadata.json`; about one in ten has no BLIP caption. */
export const RawMetadataRow = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  caption: Schema.String,
  blip_caption: Schema.optionalKey(Schema.NullOr(Schema.String)),
  url: Schema.String
})
export type RawMetadataRow = typeof RawMetadataRow.Type

export const cc595kSample = dataset({
  name: "cc595k-sample",
  title: "Drawn scenes with captions in CC-595K's format",
  origin: "datasets/generate in this repository",
  licence: "CC0-1.0",
  about:
    "One to four flat shapes a picture; captions of uneven frequency, some too long, repetitive or copied; pictures " +
    "that are missing, misnamed or damaged; ledger.json names them.",
  rows: 1200,
  folder: sampleFolder,
  files: {
    chat: {
      path: "cc595k/chat.json",
      about: "One JSON array, indented",
      format: "json-array",
      row: RawChatRow,
      ...sampleFile("cc595k/chat.json")
    },
    metadata: {
      path: "cc595k/metadata.json",
      about: "Captions, machine captions and addresses",
      format: "json-array",
      row: RawMetadataRow,
      ...sampleFile("cc595k/metadata.json")
    },
    images: {
      path: "cc595k/images.zip",
      about: "Images without folders",
      format: "zip",
      ...sampleFile("cc595k/images.zip")
    }
  }
})

const origin = "https://huggingface.co/datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K"
const at = (path: string) => `${origin}/resolve/814894e93db9e12a1dee78b9669e20e8606fd590/${path}`

export const cc595k = dataset({
  name: "cc595k",
  title: "LLaVA CC3M Pretrain 595K",
  origin,
  licence: "other (CC-3M's terms; pictures belong to their owners)",
  about: "A subset of CC-3M with balanced noun phrases; raw captions as answers.",
  rows: 595_375,
  folder: undefined,
  files: {
    chat: {
      path: "chat.json",
      about: "Requests and captions",
      format: "json-array",
      row: RawChatRow,
      url: at("chat.json"),
      bytes: undefined,
      sha256: undefined,
      listedSize: "211 MB"
    },
    metadata: {
      path: "metadata.json",
      about: "Captions, BLIP captions and addresses",
      format: "json-array",
      row: RawMetadataRow,
      url: at("metadata.json"),
      bytes: undefined,
      sha256: undefined,
      listedSize: "199 MB"
    },
    images: {
      path: "images.zip",
      about: "Images without folders",
      format: "zip",
      url: at("images.zip"),
      bytes: undefined,
      sha256: undefined,
      listedSize: "6.46 GB"
    }
  }
})
