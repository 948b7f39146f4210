/** What a folder says of its images is computed as it is said, or refused by name. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { imageProcessorJson, processorJson } from "../../src/nodes/ExportFiles.ts"
import { readFit } from "../../src/nodes/ProcessorFile.ts"
import { tinyLlava } from "../model/support.ts"

const side = tinyLlava.vision.imageSize
const exported = imageProcessorJson(tinyLlava)

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "processor-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)
const read = (json: object, name = "preprocessor_config.json") =>
  Effect.gen(function* () {
    const into = yield* folder
    writeFileSync(join(into, name), JSON.stringify(json))
    return yield* readFit(into, side)
  }).pipe(Effect.scoped)

describe("preprocessor_config.json", () => {
  it.effect("as it is exported pads; of CLIP's class, or without do_pad, it crops", () =>
    Effect.gen(function* () {
      expect(yield* read(exported)).toBe("pad")
      expect(yield* read({ ...exported, do_pad: false })).toBe("crop")
      expect(yield* read({ ...exported, image_processor_type: "CLIPImageProcessor" })).toBe("crop")
      const { image_processor_type: _, ...old } = exported
      const clip = { ...old, feature_extractor_type: "CLIPFeatureExtractor", size: side, crop_size: side }
      expect(yield* read(clip)).toBe("crop")
      const nested = { ...processorJson(tinyLlava), image_processor: exported }
      expect(yield* read(nested, "processor_config.json")).toBe("pad")
    })
  )

  for (const [field, value] of [
    ["image_processor_type", "SiglipImageProcessor"],
    ["image_processor_type", "LlavaNextImageProcessor"],
    ["resample", 2],
    ["do_resize", false],
    ["do_center_crop", false],
    ["do_normalize", false],
    ["do_rescale", false],
    ["rescale_factor", 1 / 127.5],
    ["size", { shortest_edge: side + 1 }],
    ["size", { height: side, width: side }],
    ["crop_size", { height: side, width: 2 * side }],
    ["image_mean", [0.5, 0.5, 0.5]],
    ["image_std", [0.5, 0.5, 0.5]],
    ["image_grid_pinpoints", [[336, 672]]]
  ] as const)
    it.effect(`${field} ${JSON.stringify(value)} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(read({ ...exported, [field]: value }))
        expect(error).toMatchObject({ _tag: "ModelFileError", message: expect.stringContaining(`${field} `) })
      })
    )

  it.effect.prop(
    "with a field that is not known is refused by its name",
    [Schema.Struct({ name: Schema.String, value: Schema.Union([Schema.Boolean, Schema.Finite, Schema.String]) })],
    ([{ name, value }]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(read({ ...exported, [`new_${name}`]: value }))
        expect(error.message).toContain(`the field new_${name} is not known here`)
      }),
    { arbitrary: { runs: 20 } }
  )
})
