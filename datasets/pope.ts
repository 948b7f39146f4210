/**
 * Questions that evaluations ask about pictures: POPE's, and those of LLaVA's own evaluation in the same form.
 *
 * Not used for training, and not part of this repository. Rows stand one a line, also where a file's name ends in
 * `.json`.
 */
import { Schema } from "effect"
import { dataset } from "./Dataset.ts"

/** A row of POPE: whether the image shows an object. Each of the three files counts its ids from its own start. */
export const RawPopeRow = Schema.Struct({
  question_id: Schema.Number,
  image: Schema.String,
  text: Schema.String,
  label: Schema.Literals(["yes", "no"])
})
export type RawPopeRow = typeof RawPopeRow.Type

/** A row of LLaVA's `question.jsonl`. `text` ends with how to answer; labels, where there are any, stand elsewhere. */
export const RawQuestionRow = Schema.Struct({
  question_id: Schema.Union([Schema.Number, Schema.String]),
  image: Schema.String,
  text: Schema.String,
  category: Schema.optionalKey(Schema.String)
})
export type RawQuestionRow = typeof RawQuestionRow.Type

const origin = "https://github.com/AoiDragon/POPE"
/** The revision that LLaVA's evaluation names. */
const revision = "e3e39262c85a6a83f26cf5094022a782cb0df58d"

/**
 * Objects that are not there are drawn at random, from the most frequent, or from those often seen beside what is
 * there.
 */
const part = <const Kind extends "random" | "popular" | "adversarial">(kind: Kind) =>
  ({
    path: `coco_pope_${kind}.json`,
    about: `Three questions to answer yes and three to answer no a picture, the latter ${kind}`,
    format: "json-lines",
    row: RawPopeRow,
    url: `https://raw.githubusercontent.com/AoiDragon/POPE/${revision}/output/coco/coco_pope_${kind}.json`,
    bytes: undefined,
    sha256: undefined
  }) as const

/** COCO's validation images of 2014, of which the questions name 500. */
const val2014 = {
  path: "val2014.zip",
  about: "COCO 2014 validation pictures under val2014/; rows name them bare",
  format: "zip",
  folder: "val2014/",
  url: "http://images.cocodataset.org/zips/val2014.zip",
  bytes: undefined,
  sha256: undefined,
  listedSize: "6 GB"
} as const

export const pope = dataset({
  name: "pope",
  title: "POPE: polling-based object probing",
  origin,
  licence: "MIT (pictures: COCO's terms)",
  about: "Whether a thing is in a picture, yes or no: three files that differ in how absent things were chosen.",
  rows: undefined,
  folder: undefined,
  files: { random: part("random"), popular: part("popular"), adversarial: part("adversarial"), images: val2014 }
})

export const llavaEvaluation = dataset({
  name: "llava-evaluation",
  title: "Question files of LLaVA-1.5's evaluation",
  origin: "https://github.com/haotian-liu/LLaVA/blob/main/docs/Evaluation.md",
  licence: "those of the benchmarks",
  about: "Questions in the form that LLaVA's model_vqa scripts read; its page names the archive that they are in.",
  rows: undefined,
  folder: undefined,
  files: {
    pope: {
      path: "pope/llava_pope_test.jsonl",
      about: "POPE's three files in one, with their names as categories, asking for a single word or phrase; no labels",
      format: "json-lines",
      row: RawQuestionRow,
      bytes: undefined,
      sha256: undefined
    },
    images: val2014
  }
})
