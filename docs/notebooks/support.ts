/**
 * Shared by the notebooks: showing tables and images, finding the newest export in a store, asking a model.
 *
 * Not part of the framework, and not tied to one kernel: shown things carry the symbol that Jupyter kernels for
 * JavaScript look for. Images are uint8, height x width x 3.
 */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Layer, Schema } from "effect"
import sharp from "sharp"
import { storeLayer } from "../../src/cli/RunRecorder.ts"
import type { Refused } from "../../src/dag/Refusals.ts"
import type { PixelRow } from "../../src/data/UniformRows.ts"
import { openCheckpoint } from "../../src/model/Checkpoint.ts"
import { patchCount } from "../../src/model/clip/Config.ts"
import { type PixelSizeMismatch, pixelBytes, putPixels } from "../../src/model/clip/Pixels.ts"
import { greedyLlava } from "../../src/model/Generate.ts"
import { decodeLlavaConfig } from "../../src/model/llava/Config.ts"
import { llavaSources } from "../../src/model/llava/Names.ts"
import { hasHeadBias } from "../../src/model/phi/Names.ts"
import { segmentsOfLengths } from "../../src/model/TokenBatch.ts"
import { Checkpoint } from "../../src/nodes/Artifacts.ts"
import { controlIds, loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { loadWeights, readJsonFile } from "../../src/nodes/ModelFiles.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { Store } from "../../src/store/Store.ts"
import { promptFor } from "../../src/text/Template.ts"

const display = Symbol.for("Jupyter.display")

/** Something a notebook shows: its content by media type. */
export interface Shown {
  readonly [display]: () => Readonly<Record<string, string>>
}
const shown = (bundle: Readonly<Record<string, string>>): Shown => ({ [display]: () => bundle })

/** Markdown; front ends without it show the text. */
export const markdown = (text: string): Shown => shown({ "text/markdown": text, "text/plain": text })

const cell = (value: unknown): string => String(value).replaceAll("|", "\\|").replace(/\s+/g, " ")

/** A table of rows that have the same fields. */
export const table = (rows: ReadonlyArray<Readonly<Record<string, string | number>>>): Shown => {
  const names = Object.keys(rows[0] ?? { nothing: "" })
  const line = (cells: ReadonlyArray<unknown>) => `| ${cells.map(cell).join(" | ")} |`
  return markdown(
    [line(names), line(names.map(() => "---")), ...rows.map((row) => line(names.map((name) => row[name])))].join("\n")
  )
}

/** Refused rows with their reasons. `first` is the number of the first row in its file. */
export const refusals = (refused: ReadonlyArray<Refused>, first = 0): Shown =>
  table(
    refused.map(({ error, reason, row }) => ({
      row: first + row,
      reason,
      hint: String((error as { readonly hint?: unknown }).hint ?? "")
    }))
  )

/** Square images side by side, enlarged without smoothing, as one PNG. */
export const pictures = async (
  rows: ReadonlyArray<{ readonly pixels_HWC: Uint8Array }>,
  enlarge = 2
): Promise<Shown> => {
  const side = Math.sqrt((rows[0]?.pixels_HWC.length ?? 3) / 3)
  const gap = 2
  const width = rows.length * (side + gap) - gap
  const sheet = await sharp({ create: { width, height: side, channels: 3, background: "white" } })
    .composite(
      rows.map(({ pixels_HWC }, i) => ({
        input: Buffer.from(pixels_HWC),
        raw: { width: side, height: side, channels: 3 },
        left: i * (side + gap),
        top: 0
      }))
    )
    .removeAlpha() // composing adds one
    .raw()
    .toBuffer()
  const png = await sharp(sheet, { raw: { width, height: side, channels: 3 } })
    .resize(width * enlarge, side * enlarge, { kernel: "nearest" })
    .png()
    .toBuffer()
  return shown({ "image/png": png.toString("base64"), "text/plain": `${rows.length} pictures of ${side} x ${side}` })
}

/** The store that the recipes fill by default; `MILLRACE_STORE` names another. */
export const storeFolder = process.env["MILLRACE_STORE"] ?? fileURLToPath(new URL("../../.millrace", import.meta.url))

/** No run of the store has exported a model. */
export class NoExport extends Schema.TaggedError<NoExport>()("NoExport", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Key and code of a node in a run's record. */
const Ended = Schema.Struct({ key: Schema.String, code: Schema.String })

/** The folder of the model that the newest run exported. Reads the store, changes nothing. */
export const newestExport = (root: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      for (const run of yield* RunLog.list(store.root))
        for (const node of Object.values(run.nodes)) {
          const ended = Schema.decodeUnknownOption(Ended)(node)
          if (ended._tag === "None") continue
          for (const found of yield* store.find(ended.value.key, ended.value.code))
            for (const [port, output] of Object.entries(found.manifest.outputs))
              if (output.tag === Checkpoint.tag) return (yield* store.open(found, port, Checkpoint)).path
        }
      return yield* new NoExport({
        path: root,
        message: `${root} holds no exported model`,
        hint: "Run the recipe once: npx tsx pipelines/llava-phi.ts"
      })
    })
  ).pipe(Effect.provide(Layer.provideMerge(storeLayer(root, { readOnly: true }), NodeFileSystem.layer)))

/** Opens an exported model for questions; its weights are freed with the scope. */
export const openModel = Effect.fnUntraced(function* (path: string) {
  const tokenizer = yield* loadTokenizer({ path })
  const { eosId, imageId } = yield* controlIds(tokenizer, path)
  const checkpoint = yield* openCheckpoint(path)
  const headBias = hasHeadBias(checkpoint)
  const config = yield* decodeLlavaConfig(yield* readJsonFile(join(path, "config.json")), { headBias })
  const weights = yield* loadWeights(yield* llavaSources(checkpoint, config))
  const { imageSize } = config.vision
  const imageTokens = patchCount(config.vision)

  /** The greedy answer to a question about an image of the size that the model sees. */
  const ask = Effect.fnUntraced(function* (picture: PixelRow, question: string) {
    const pixels = new Uint8Array(pixelBytes(imageSize))
    yield* Effect.try({
      try: () => putPixels(picture, imageSize, pixels, 0),
      catch: (cause) => cause as PixelSizeMismatch
    })
    const { ids } = yield* Effect.fromResult(
      promptFor(
        tokenizer,
        { turns: [{ from: "human", value: question }], image: true },
        { template: "v1", imageTokens, imageTokenId: imageId, eosId }
      )
    )
    const time = ids.length
    const [answer] = yield* greedyLlava(
      weights,
      config,
      {
        rows: 1,
        time,
        ids_BT: ids,
        segments_BT: segmentsOfLengths([time], time),
        labels_BT: new Int32Array(time).fill(-100),
        images: 1,
        pixels
      },
      [time],
      { maxNewTokens: 32, endToken: eosId }
    )
    return tokenizer.decode(answer!, { skipSpecial: true }).trim()
  })
  const parameters = Object.values(weights).reduce((sum, { size }) => sum + size, 0)
  return { ask, config, parameters, patches: imageTokens }
})
