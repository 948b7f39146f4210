/**
 * What an exported checkpoint answers here, written into its folder, so that whoever opens it elsewhere can compare.
 *
 * Not a test and no benchmark: inputs, our logits for them, and the greedy continuation of the first. The model is read
 * back from the folder, so rounding to the folder's element type is in the figures; they are computed in float32
 * whatever the recipe computes in. Two images are drawn, so nothing of anybody's data is in it.
 *
 * Shapes: B 2 rows, T tokens (no padding: the second row is cut to the first one's length), V vocabulary, S pixels a
 * side.
 */

import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { encodePng } from "../bytes/Png.ts"
import { fitImage } from "../data/Images.ts"
import type { Raster } from "../data/Resample.ts"
import { patchCount } from "../model/clip/Config.ts"
import { normalisedPixels } from "../model/clip/Pixels.ts"
import { openLlava } from "../model/Folder.ts"
import { embedLlava, greedyLlava } from "../model/Generate.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import { phiHidden, phiLogits } from "../model/phi/Model.ts"
import { type TensorSource, writeSafetensors } from "../model/Safetensors.ts"
import { positionsOf } from "../model/TokenBatch.ts"
import { under } from "../model/Weights.ts"
import * as Engine from "../tensor/Engine.ts"
import { tf } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import type { ConversationTurn } from "../text/Conversation.ts"
import { promptFor } from "../text/Template.ts"
import type { Tokenizer } from "../text/Tokenizer.ts"
import type { ControlIds } from "./LoadTokenizer.ts"
import { loadWeights, ModelFileError } from "./ModelFiles.ts"

/** Names in the folder. */
export const PARITY_FILE = "parity.safetensors"
export const PARITY_IMAGE = "parity.png"

/** Tokens of the continuation at most. */
const NEW_TOKENS = 16

/** What the first row asks; its image is the one that lies beside. */
export const PARITY_QUESTION = "What is in this picture?"
const otherTurns: ReadonlyArray<ConversationTurn> = [
  { from: "human", value: "Is this a drawing, and which colours has it?" },
  {
    from: "gpt",
    value: "Yes, it is a drawing with a disc and a bar on a shaded ground, red and green for the most part."
  },
  { from: "human", value: "Where is the disc, and how large is it beside the bar?" }
]

/** A shaded ground with a disc and a bar; no two pixels in a row are alike, so that any resampling shows. */
const drawn = (width: number, height: number, turn: number): Raster => {
  const pixels_HWC = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3
      const disc = (x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
      const bar = x > (2 * width) / 3 && x < (3 * width) / 4
      const grain = (x * 7 + y * 13 + turn * 29) % 23
      pixels_HWC[at] = disc ? 200 + grain : Math.floor((x * 160) / width) + grain
      pixels_HWC[at + 1] = bar ? 190 + grain : Math.floor((y * 160) / height) + grain
      pixels_HWC[at + 2] = turn === 0 ? 90 + grain : 200 - grain
    }
  return { width, height, pixels_HWC }
}

const int64 = (name: string, shape: ReadonlyArray<number>, values: ArrayLike<number>): TensorSource => ({
  name,
  dtype: "I64",
  shape,
  bytes: Effect.sync(
    () => new Uint8Array(BigInt64Array.from({ length: values.length }, (_, i) => BigInt(values[i]!)).buffer)
  )
})

const float32 = (name: string, shape: ReadonlyArray<number>, values: Float32Array): TensorSource => ({
  name,
  dtype: "F32",
  shape,
  bytes: Effect.sync(() => new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
})

/** The two prompts, of equal length. The image's tokens come early, so cutting the second leaves them whole. */
const prompts = Effect.fnUntraced(function* (
  tokenizer: Tokenizer,
  config: LlavaConfig,
  { eosId, imageId }: ControlIds
) {
  const ids = (turns: ReadonlyArray<ConversationTurn>) =>
    Effect.map(
      Effect.fromResult(
        promptFor(
          tokenizer,
          { turns, image: true },
          { template: "v1", imageTokens: patchCount(config.vision), imageTokenId: imageId, eosId }
        )
      ),
      (prompt) => prompt.ids
    )
  const first = yield* ids([{ from: "human", value: PARITY_QUESTION }])
  const second = (yield* ids(otherTurns)).subarray(0, first.length)
  return { time: first.length, ids_BT: Int32Array.from([...first, ...second]) }
})

/** The engine that stands for `tensors` where numbers are compared: float32, of the same kind. */
const inFloat32 = (tensors: Tensors["Service"]) =>
  tensors.fingerprint.precision === "f32" ? Layer.succeed(Tensors, tensors) : Engine.layer("torch")

/**
 * Adds `parity.safetensors` and `parity.png` to a checkpoint's folder that holds everything else.
 *
 * Tensors: `input_ids` and `attention_mask` i64 [B, T], `pixel_values` f32 [B, 3, S, S], `logits` f32 [B, T, V],
 * `greedy` i64 [up to 16], `pixels` f32 [1, 3, S, S]: what our preprocessing makes of the image, the first of
 * `pixel_values`.
 */
export const writeParity = (folder: string, tokenizer: Tokenizer, control: ControlIds) =>
  Effect.gen(function* () {
    const { config, sources } = yield* openLlava(folder)
    const { ids_BT, time } = yield* prompts(tokenizer, config, control)
    const side = config.vision.imageSize
    const image = drawn(240, 160, 0)
    const bytes_SSC = [image, drawn(90, 150, 1)].map((one) =>
      fitImage(one, { size: side, fit: "pad" }).pixels_HWC.slice()
    )
    const pixels = normalisedPixels(Buffer.concat(bytes_SSC), side)
    const rows = bytes_SSC.length
    const segments_BT = new Int32Array(rows * time).fill(1)
    const batch = {
      rows,
      time,
      ids_BT,
      segments_BT,
      labels_BT: new Int32Array(rows * time).fill(-100),
      images: rows,
      pixels
    }
    const figures = Effect.gen(function* () {
      const tensors = yield* Tensors
      const weights = yield* loadWeights(sources)
      const language = under(weights, "language.")
      const made = yield* tensors.run((c) => {
        const shape: [number, number] = [rows, time]
        const layout = {
          segments_BT: tf.tensor2d(segments_BT, shape, "int32"),
          positions_BT: tf.tensor2d(positionsOf(segments_BT, rows, time), shape, "int32")
        }
        const hidden_BTD = phiHidden(c, language, config.text, embedLlava(weights, config, batch)(c), layout)
        return phiLogits(c, language, hidden_BTD)
      })
      const logits = (yield* tensors.read(made)) as Float32Array
      yield* tensors.free(made)
      const one = {
        ...batch,
        rows: 1,
        images: 1,
        ids_BT: ids_BT.subarray(0, time),
        segments_BT: segments_BT.subarray(0, time),
        labels_BT: batch.labels_BT.subarray(0, time),
        pixels: pixels.subarray(0, pixels.length / rows)
      }
      const [greedy] = yield* greedyLlava(weights, config, one, [time], {
        maxNewTokens: NEW_TOKENS,
        endToken: control.eosId
      })
      return { logits, greedy: greedy! }
    }).pipe(Effect.scoped)
    const { greedy, logits } = yield* figures.pipe(Effect.provide(inFloat32(yield* Tensors)))
    const square = [3, side, side]
    yield* writeSafetensors(
      join(folder, PARITY_FILE),
      [
        int64("input_ids", [rows, time], ids_BT),
        int64("attention_mask", [rows, time], segments_BT),
        float32("pixel_values", [rows, ...square], pixels),
        float32("logits", [rows, time, config.text.vocabSize], logits),
        int64("greedy", [greedy.length], greedy),
        float32("pixels", [1, ...square], pixels.subarray(0, pixels.length / rows))
      ],
      { format: "pt", image: PARITY_IMAGE, question: PARITY_QUESTION }
    )
    const path = join(folder, PARITY_IMAGE)
    yield* Effect.tryPromise({
      try: () => writeFile(path, encodePng(image)),
      catch: (cause) =>
        new ModelFileError({
          path,
          message: cause instanceof Error ? cause.message : String(cause),
          hint: "Check the folder, its permissions and the free space.",
          cause
        })
    })
  }).pipe(Effect.scoped)
