import { readFileSync } from "node:fs"
import sharp from "sharp"
import { describe, expect, it } from "vitest"
import { sampleFolder } from "../../../datasets/Dataset.ts"
import { parts } from "../../../datasets/generate/Parts.ts"
import { dice } from "../../../datasets/generate/Random.ts"
import { rasterise } from "../../../datasets/generate/Render.ts"
import { even, randomScene, type Scene } from "../../../datasets/generate/Scene.ts"
import { entriesOf } from "../Archive.ts"

/** Mean absolute difference, in levels of 255. */
const meanDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length)
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!)
  return sum / a.length
}

/** The slow reference: the scene drawn at eight times the size, then averaged over boxes of 8 x 8. */
const supersampled = (scene: Scene): Float64Array => {
  const { width, height } = scene.frame
  const big = rasterise({ ...scene, frame: { ...scene.frame, width: width * 8, height: height * 8 } })
  const out = new Float64Array(width * height * 3)
  for (let y = 0; y < big.height; y++) {
    for (let x = 0; x < big.width; x++) {
      for (let c = 0; c < 3; c++) {
        out[((y >> 3) * width + (x >> 3)) * 3 + c]! += big.pixels_HWC[(y * big.width + x) * 3 + c]! / 64
      }
    }
  }
  return out
}

describe("rasterise", () => {
  it("draws soft edges within half a level of eightfold supersampling", () => {
    const throws = dice(3, "render")
    for (let i = 0; i < 12; i++) {
      const scene = randomScene(throws, even)
      expect(meanDifference(rasterise(scene).pixels_HWC, supersampled(scene))).toBeLessThan(0.5)
    }
  })

  it("shows every thing in its own colour at its centre", () => {
    const throws = dice(4, "render")
    const seen = new Map<string, string>()
    for (let i = 0; i < 200; i++) {
      const scene = randomScene(throws, even)
      const { width, height, pixels_HWC } = rasterise(scene)
      const side = Math.min(width, height)
      for (const t of scene.things) {
        const x = Math.floor((width - side) / 2 + t.x * side)
        const y = Math.floor((height - side) / 2 + t.y * side)
        const colour = pixels_HWC.subarray((y * width + x) * 3, (y * width + x) * 3 + 3).join(" ")
        expect(seen.get(t.colour) ?? colour).toBe(colour)
        seen.set(t.colour, colour)
      }
    }
    expect(new Set(seen.values()).size).toBe(4)
  })

  it("is what the pictures that ship decode to, within what JPEG at quality 80 and half chroma loses", async () => {
    const all = parts(0)
    for (const [path, folder, pictures] of [
      ["cc595k/images.zip", "", all.captions.pictures],
      ["llava-instruct/train2017.zip", "train2017/", all.instruct.pictures],
      ["llava-instruct/heldout.zip", "val2017/", all.heldOut.pictures]
    ] as const) {
      const entries = entriesOf(readFileSync(new URL(path, sampleFolder)))
      expect(entries.size).toBe(pictures.filter((p) => p.treatment !== "missing").length)
      for (const picture of pictures.filter((p, i) => p.treatment === "plain" && i % 17 === 0)) {
        const { data, info } = await sharp(entries.get(folder + picture.name)!)
          .raw()
          .toBuffer({ resolveWithObject: true })
        const drawn = rasterise(picture.scene)
        expect([info.width, info.height, info.channels]).toEqual([drawn.width, drawn.height, 3])
        expect(meanDifference(drawn.pixels_HWC, data)).toBeLessThan(8)
      }
    }
  })
})
