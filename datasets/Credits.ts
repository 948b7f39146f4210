/**
 * Where the recipe's material is from and under which licence, in one line each: what a model card says of it.
 *
 * By the id of the source that reads it, so that a source of another id (somebody's own data) is never credited to an
 * original. Licences are those that the hosts state; read them there before a model is passed on.
 */
import { cc595k, cc595kSample } from "./cc595k.ts"
import type { Dataset } from "./Dataset.ts"
import { llavaInstruct, llavaInstructSample, mix665k } from "./llavaInstruct.ts"
import { shareGpt, shareGptSample } from "./shareGpt.ts"

type Credit = Pick<Dataset<any>, "licence" | "origin" | "title">

const of = ({ licence, origin, title }: Credit, named = title): Credit => ({ licence, origin, title: named })

const phi2: Credit = { title: "Phi-2", licence: "MIT", origin: "https://huggingface.co/microsoft/phi-2" }
const clip: Credit = {
  title: "CLIP ViT-L/14-336",
  licence: "MIT (its repository's; the hub's page states none)",
  origin: "https://huggingface.co/openai/clip-vit-large-patch14-336"
}
const seeded: Credit = { title: "drawn from a seed by this recipe", licence: "CC0-1.0", origin: "" }

/** Everything of the full presets but the instructions. */
const full = {
  "sources/sharegpt": of(shareGpt, "ShareGPT, one of its public copies"),
  "sources/captions": of(cc595k),
  "sources/caption-images": of(cc595k),
  extendTokenizer: phi2,
  "sources/phi-2": phi2,
  "sources/clip": clip
}

type Preset = "sample" | "paper" | "authors"
const known: Readonly<Record<Preset, Readonly<Record<string, Credit>>>> = {
  sample: {
    "sources/sharegpt": of(shareGptSample),
    "sources/captions": of(cc595kSample),
    "sources/caption-images": of(cc595kSample),
    "sources/instructions": of(llavaInstructSample),
    "sources/instruction-images": of(llavaInstructSample),
    "sources/tokenizer": of(shareGptSample),
    "sources/questions": of(llavaInstructSample),
    initLanguageModel: seeded,
    initVisionTower: seeded
  },
  paper: {
    ...full,
    "sources/instructions": of(llavaInstruct),
    "sources/instruction-images": of(llavaInstruct)
  },
  authors: { ...full, "sources/instructions": of(mix665k), "sources/instruction-images": of(mix665k) }
}

const line = ({ licence, origin, title }: Credit): string =>
  [title, licence, origin].filter((part) => part !== "").join("; ")

/** Credits of each preset's own sources, by instance id. */
export const credits: Readonly<Record<Preset, Readonly<Record<string, string>>>> = {
  sample: Object.fromEntries(Object.entries(known.sample).map(([id, one]) => [id, line(one)])),
  paper: Object.fromEntries(Object.entries(known.paper).map(([id, one]) => [id, line(one)])),
  authors: Object.fromEntries(Object.entries(known.authors).map(([id, one]) => [id, line(one)]))
}

/** What the hub reads of a model made from these: its licence, and what on the hub it is made from. */
export interface HubFields {
  /** One of the hub's identifiers; `other` where sources have several, or one that is not known here. */
  readonly license: string
  readonly baseModels: ReadonlyArray<string>
  readonly datasets: ReadonlyArray<string>
}

const onHub = (origin: string): { readonly dataset?: string; readonly model?: string } => {
  const found = /^https:\/\/huggingface\.co\/(datasets\/)?([\w.-]+\/[\w.-]+)/.exec(origin)
  return found === null ? {} : found[1] === undefined ? { model: found[2]! } : { dataset: found[2]! }
}

/**
 * The hub's fields for a model made from the sources of these ids.
 *
 * @example hubFields("sample", ["sources/captions", "initLanguageModel"]).license // "cc0-1.0"
 */
export const hubFields = (preset: Preset, ids: ReadonlyArray<string>): HubFields => {
  const found = ids.map((id) => known[preset][id])
  const licences = [...new Set(found.map((one) => (one?.licence ?? "other").split(" ")[0]!.toLowerCase()))]
  const places = found.flatMap((one) => (one === undefined ? [] : [onHub(one.origin)]))
  return {
    license: licences.length === 1 ? licences[0]! : "other",
    baseModels: [...new Set(places.flatMap(({ model }) => model ?? []))],
    datasets: [...new Set(places.flatMap(({ dataset }) => dataset ?? []))]
  }
}
