/** The rows of `npm run bench -- data`, in the order in which they are printed. */
import type { Benchmark } from "../Row.ts"
import { arrowWrite } from "./ArrowWrite.ts"
import { clean } from "./Clean.ts"
import { graphPage } from "./GraphPage.ts"
import { json, jsonMemory } from "./Json.ts"
import { language } from "./Language.ts"
import { parquet } from "./Parquet.ts"
import { cropCc, cropCoco, zipToShards } from "./Pictures.ts"
import { tokenizer } from "./Tokenizer.ts"
import { zipOpen } from "./ZipOpen.ts"

export const dataRows: ReadonlyArray<Benchmark> = [
  clean,
  json,
  jsonMemory,
  cropCoco,
  cropCc,
  zipToShards,
  zipOpen,
  arrowWrite,
  parquet,
  language,
  tokenizer,
  graphPage
]
