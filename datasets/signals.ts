/**
 * Traffic lights with questions, in the forms in which people have their own data: LLaVA's JSON, a zip of images, and
 * questions a line.
 *
 * Not part of LLaVA-Phi's data: `pipelines/finetune.ts` tunes on it a model that has seen no traffic light.
 */
import { dataset, sampleFile, sampleFolder } from "./Dataset.ts"
import { RawInstructRow } from "./llavaInstruct.ts"
import { RawQuestionRow } from "./pope.ts"

export const signalsSample = dataset({
  name: "signals-sample",
  title: "Questions about traffic lights",
  origin: "datasets/generate in this repository",
  licence: "CC0-1.0",
  about: "400 drawn traffic lights with three questions each, and three questions about each of 60 others.",
  rows: 400,
  folder: sampleFolder,
  files: {
    rows: {
      path: "signals/train.json",
      about: "Rows as LLaVA's instruction data has them",
      format: "json-array",
      row: RawInstructRow,
      ...sampleFile("signals/train.json")
    },
    images: {
      path: "signals/images.zip",
      about: "Images of all rows and questions, names bare",
      format: "zip",
      ...sampleFile("signals/images.zip")
    },
    questions: {
      path: "signals/questions.jsonl",
      about: "Questions with labels, a line each",
      format: "json-lines",
      row: RawQuestionRow,
      ...sampleFile("signals/questions.jsonl")
    }
  }
})
