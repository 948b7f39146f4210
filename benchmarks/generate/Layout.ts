/**
 * `npm run bench -- generate DIR`: data of the originals' shape under the originals' names, for the full presets.
 *
 *     npm run bench -- generate data --size full && npx tsx pipelines/llava-phi.ts --preset paper --until sft/holdOut
 *
 * Not the originals: see `docs/benchmarks.md`. No weights: everything up to tokens and pixels runs on it, training does
 * not. The tokenizer is Phi-2's own, and CLIP's config is its config; both are known without a download.
 */
import { mkdirSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Effect, Stream } from "effect"
import { writeZip } from "../../src/bytes/ZipWriter.ts"
import { phi2 } from "../../src/text/Tokenizer.ts"
import type { Size } from "../Row.ts"
import { type CaptionPlan, chatRow, heldOutRow, instructRow, isDistinct, metadataRow } from "./Llava.ts"
import { photoName, pictureName } from "./Names.ts"
import { photo, photos, tinyPicture } from "./Photos.ts"
import { shareGptRow, writeJsonArray } from "./ShareGpt.ts"

/** How much of each part. */
export interface Amounts {
  readonly conversations: number
  /** Rows of chat.json and entries of images.zip; rows that are not distinct repeat a caption and have a tiny image. */
  readonly captions: CaptionPlan
  readonly instructions: number
  readonly photos: number
  readonly heldOut: number
}

export const amounts: Readonly<Record<Exclude<Size, "tiny">, Amounts>> = {
  quick: {
    conversations: 2000,
    captions: { rows: 12_000, distinct: 400 },
    instructions: 200,
    photos: 100,
    heldOut: 20
  },
  full: {
    conversations: 54_000,
    captions: { rows: 595_375, distinct: 20_000 },
    instructions: 4000,
    photos: 2000,
    heldOut: 100
  }
}

/** The fields of CLIP ViT-L/14-336's `config.json` that say its shapes. */
const clipConfig = {
  architectures: ["CLIPVisionModel"],
  model_type: "clip_vision_model",
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  num_channels: 3,
  image_size: 336,
  patch_size: 14,
  hidden_act: "quick_gelu",
  layer_norm_eps: 1e-5,
  projection_dim: 768
}

/** Number of tiny images; archive entries share them. */
const TINY = 64

async function* captionPictures(seed: number, plan: CaptionPlan) {
  const tiny = await Promise.all(Array.from({ length: TINY }, (_, at) => tinyPicture(seed, at)))
  const large = photos(seed, "cc", 0, plan.distinct)
  for (let at = 0; at < plan.rows; at++) {
    const data = isDistinct(plan, at) ? (await large.next()).value : tiny[at % TINY]
    yield { name: pictureName(at), data: data as Buffer }
  }
}

async function* instructPictures(seed: number, count: number) {
  let at = 0
  for await (const data of photos(seed, "coco", 0, count)) yield { name: `train2017/${photoName(at++)}`, data }
}

const zip = (path: string, entries: AsyncIterable<{ readonly name: string; readonly data: Uint8Array }>) =>
  Effect.runPromise(
    writeZip(
      path,
      Stream.fromAsyncIterable(entries, (cause) => cause)
    )
  )

/** Writes all parts under `dir`; `say` gets a line a file. Equal seeds and amounts give equal JSON and equal pixels. */
export const generateParts = async (
  dir: string,
  parts: Amounts,
  seed: number,
  say: (what: string) => void
): Promise<void> => {
  const { captions, conversations, heldOut, instructions } = parts
  const file = async (name: string, make: (path: string) => unknown): Promise<void> => {
    const path = join(dir, name)
    mkdirSync(dirname(path), { recursive: true })
    await make(path)
    say(`${String(statSync(path).size).padStart(12)}  ${name}`)
  }
  const array = (name: string, rows: number, row: (at: number) => unknown): Promise<void> =>
    file(name, (path) => writeJsonArray(path, row, (so) => so.rows === rows))
  const half = Math.ceil(conversations / 2)
  await array("sharegpt/sg_90k_part1.json", half, (at) => shareGptRow(seed, at))
  await array("sharegpt/sg_90k_part2.json", conversations - half, (at) => shareGptRow(seed, half + at))
  await array("cc595k/chat.json", captions.rows, (at) => chatRow(seed, captions, at))
  await array("cc595k/metadata.json", captions.rows, (at) => metadataRow(seed, captions, at))
  await file("cc595k/images.zip", (path) => zip(path, captionPictures(seed, captions)))
  await array("llava-instruct/llava_instruct_150k.json", instructions, (at) => instructRow(seed, parts.photos, at))
  await file("llava-instruct/train2017.zip", (path) => zip(path, instructPictures(seed, parts.photos)))
  await array("held-out/heldout.json", heldOut, (at) => heldOutRow(seed, at))
  for (let at = 0; at < heldOut; at++)
    await file(`held-out/images/held-out-${at}.jpg`, async (path) =>
      writeFileSync(path, await photo(seed + 1, "coco", at))
    )
  await file("phi-2/tokenizer.json", (path) => writeFileSync(path, phi2().json()))
  await file("clip-vit-large-patch14-336/config.json", (path) =>
    writeFileSync(path, `${JSON.stringify(clipConfig, undefined, 2)}\n`)
  )
}

/** The parts of a size. */
export const generate = (
  dir: string,
  size: Exclude<Size, "tiny">,
  seed: number,
  say: (what: string) => void
): Promise<void> => generateParts(dir, amounts[size], seed, say)
