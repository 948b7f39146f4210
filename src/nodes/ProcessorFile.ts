/**
 * How a model's folder says that images become the tower's squares: `preprocessor_config.json`, or the part of
 * `processor_config.json` where transformers 5 keeps it.
 *
 * Not a preprocessor (`data/Images.ts`). What is accepted is LLaVA's and CLIP's own way, cropped or padded to a square
 * of the tower's size, bicubic, normalised as CLIP; every other value and field is refused by name.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { type Accepts, type Fields, fieldsOf, listed, only, refusedField } from "../model/ConfigFields.ts"
import { CLIP_MEAN, CLIP_STD } from "../model/clip/Pixels.ts"
import { ModelFileError, readJsonFile } from "./ModelFiles.ts"

/** Three numbers, to what Python writes of float32. */
const near =
  (...ours: ReadonlyArray<number>): Accepts =>
  (given) =>
    given === null ||
    (Array.isArray(given) && given.length === ours.length && given.every((one, i) => Math.abs(one - ours[i]!) < 1e-6))

/** A size as a number, or as an object whose numbers are all this one. */
const sized =
  (side: number, ...names: ReadonlyArray<string>): Accepts =>
  (given) =>
    given === null ||
    given === side ||
    (Object.keys(fieldsOf(given)).length > 0 &&
      Object.entries(fieldsOf(given)).every(([name, one]) => names.includes(name) && (one === side || one === null)))

const kinds = ["LlavaImageProcessor", "CLIPImageProcessor"].flatMap((name) => [name, `${name}Fast`, `${name}Pil`])

/** Fields of an image processor and the values that are computed for a tower of `side` pixels. */
const fieldsFor = (side: number): Fields => ({
  ...listed("processor_class", "_valid_processor_keys", "disable_grouping", "do_pad"),
  image_processor_type: only(...kinds),
  feature_extractor_type: only("CLIPFeatureExtractor"),
  do_resize: only(true),
  do_center_crop: only(true),
  do_rescale: only(true),
  do_normalize: only(true),
  do_convert_rgb: only(true),
  default_to_square: only(false),
  resample: only(3),
  rescale_factor: (value) => value === null || (typeof value === "number" && Math.abs(value - 1 / 255) < 1e-9),
  size: sized(side, "shortest_edge"),
  crop_size: sized(side, "height", "width"),
  image_mean: near(...CLIP_MEAN),
  image_std: near(...CLIP_STD),
  data_format: only("channels_first")
})

/**
 * Whether images are cropped or padded to a square. Fails with `ModelFileError`, which names the field, for another
 * way.
 *
 * @example const fit = yield* readFit("llava-phi", 336)
 */
export const readFit = Effect.fnUntraced(function* (
  folder: string,
  side: number
): Effect.fn.Return<"crop" | "pad", ModelFileError> {
  const own = join(folder, "preprocessor_config.json")
  const nested = join(folder, "processor_config.json")
  const inside =
    existsSync(own) || !existsSync(nested) ? undefined : fieldsOf(yield* readJsonFile(nested))["image_processor"]
  const path = inside === undefined ? own : nested
  const json = fieldsOf(inside ?? (yield* readJsonFile(own)))
  const refused = refusedField(json, fieldsFor(side))
  if (refused !== undefined)
    return yield* new ModelFileError({
      path,
      message: refused.message,
      hint: "It says how images become the tower's squares; export the model again, or copy it from the original."
    })
  // CLIP's class crops, whatever do_pad says.
  const isClip = /^CLIP/.test(String(json["image_processor_type"] ?? json["feature_extractor_type"] ?? ""))
  return json["do_pad"] === true && !isClip ? "pad" : "crop"
})
