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

const credit = ({ licence, origin, title }: Pick<Dataset<any>, "licence" | "origin" | "title">): string =>
  `${title}; ${licence}; ${origin}`

const phi2 = credit({ title: "Phi-2", licence: "MIT", origin: "https://huggingface.co/microsoft/phi-2" })
const clip = credit({
  title: "CLIP ViT-L/14-336",
  licence: "MIT (its repository's; the hub's page states none)",
  origin: "https://huggingface.co/openai/clip-vit-large-patch14-336"
})
const seeded = "drawn from a seed by this recipe; CC0-1.0"

/** Everything of the full presets but the instructions. */
const full = {
  "sources/sharegpt": credit({ ...shareGpt, title: "ShareGPT, one of its public copies" }),
  "sources/captions": credit(cc595k),
  "sources/caption-images": credit(cc595k),
  extendTokenizer: phi2,
  "sources/phi-2": phi2,
  "sources/clip": clip
}

/** Credits of each preset's own sources, by instance id. */
export const credits: Readonly<Record<"sample" | "paper" | "authors", Readonly<Record<string, string>>>> = {
  sample: {
    "sources/sharegpt": credit(shareGptSample),
    "sources/captions": credit(cc595kSample),
    "sources/caption-images": credit(cc595kSample),
    "sources/instructions": credit(llavaInstructSample),
    "sources/instruction-images": credit(llavaInstructSample),
    "sources/tokenizer": credit(shareGptSample),
    initLanguageModel: seeded,
    initVisionTower: seeded
  },
  paper: {
    ...full,
    "sources/instructions": credit(llavaInstruct),
    "sources/instruction-images": credit(llavaInstruct)
  },
  authors: { ...full, "sources/instructions": credit(mix665k), "sources/instruction-images": credit(mix665k) }
}
