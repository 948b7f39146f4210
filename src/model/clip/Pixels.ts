/**
 * From stored pixels to what the tower takes: uint8 height-width-channel to normalised float32 channel-height-width.
 *
 * Not a decoder and no resize. Shapes: S pixels a side; `pixels_HWC` S * S * 3 bytes, `pixels_CSS` 3 * S * S floats.
 */
import { Schema } from "effect"

/** CLIP's mean and deviation of red, green, blue, after division by 255. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073] as const
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711] as const

/** Pixels of another size than the tower takes. */
export class PixelSizeMismatch extends Schema.TaggedError<PixelSizeMismatch>()("PixelSizeMismatch", {
  id: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

const table = CLIP_MEAN.map((mean, channel) =>
  Float32Array.from({ length: 256 }, (_, value) => (value / 255 - mean) / CLIP_STD[channel]!)
)

/**
 * Normalises one picture into `out` at `at`. Throws `PixelSizeMismatch` unless it has side * side * 3 bytes.
 *
 * @example
 * normalisePixels(row, 336, pixels_MCSS, image * 3 * 336 * 336)
 */
export const normalisePixels = (
  row: { readonly id: string; readonly pixels_HWC: Uint8Array },
  side: number,
  out: Float32Array,
  at: number
): void => {
  const { pixels_HWC } = row
  const plane = side * side
  if (pixels_HWC.length !== plane * 3)
    throw new PixelSizeMismatch({
      id: row.id,
      message: `${row.id} has ${pixels_HWC.length} bytes, the tower takes ${side} x ${side} x 3`,
      hint: "Set tokenizeImages' size to the vision tower's image_size."
    })
  const [red, green, blue] = table as [Float32Array, Float32Array, Float32Array]
  for (let i = 0, from = 0; i < plane; i++, from += 3) {
    out[at + i] = red[pixels_HWC[from]!]!
    out[at + plane + i] = green[pixels_HWC[from + 1]!]!
    out[at + 2 * plane + i] = blue[pixels_HWC[from + 2]!]!
  }
}
