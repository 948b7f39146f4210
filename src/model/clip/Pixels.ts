/**
 * From stored pixels to what the tower takes: uint8 height-width-channel to normalised float32 channel-height-width.
 *
 * Not a decoder and no resize. Shapes: M images, S pixels a side; `pixels_HWC` S * S * 3 bytes.
 */
import { Schema } from "effect"
import type { Tensor } from "../../tensor/Ops.ts"
import type { Compute } from "../../tensor/Tensors.ts"

/** CLIP's mean and deviation of red, green, blue, after division by 255. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073] as const
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711] as const

/** Pixels of another size than the tower takes. */
export class PixelSizeMismatch extends Schema.TaggedError<PixelSizeMismatch>()("PixelSizeMismatch", {
  id: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** What each value of a channel is normalised to, in float32. */
const levels = CLIP_MEAN.map((mean, channel) =>
  Float32Array.from({ length: 256 }, (_, value) => (value / 255 - mean) / CLIP_STD[channel]!)
)

/** Bytes of one image. */
export const pixelBytes = (side: number): number => side * side * 3

/**
 * Puts one image's bytes into `out` at `at`. Throws `PixelSizeMismatch` unless it has side * side * 3 of them.
 *
 * @example
 * putPixels(row, 336, bytes_MSSC, image * pixelBytes(336))
 */
export const putPixels = (
  row: { readonly id: string; readonly pixels_HWC: Uint8Array },
  side: number,
  out: Uint8Array,
  at: number
): void => {
  const { pixels_HWC } = row
  if (pixels_HWC.length !== pixelBytes(side))
    throw new PixelSizeMismatch({
      id: row.id,
      message: `${row.id} has ${pixels_HWC.length} bytes, the tower takes ${side} x ${side} x 3`,
      hint: "Set tokenizeImages' size to the vision tower's image_size."
    })
  out.set(pixels_HWC, at)
}

/**
 * The same numbers on this side of the engine: `bytes_MSSC` -> `pixels_MCSS`, flat.
 *
 * @example
 * normalisedPixels(fitted.pixels_HWC, 336).length // 3 * 336 * 336
 */
export const normalisedPixels = (bytes_MSSC: Uint8Array, side: number): Float32Array => {
  const plane = side * side
  const out = new Float32Array(bytes_MSSC.length)
  for (let at = 0; at < bytes_MSSC.length; at++) {
    const [image, pixel, channel] = [Math.floor(at / (3 * plane)), Math.floor(at / 3) % plane, at % 3]
    out[(image * 3 + channel) * plane + pixel] = levels[channel]![bytes_MSSC[at]!]!
  }
  return out
}

/**
 * The normalised pixels of M images on the engine: `bytes_MSSC` -> `pixels_MCSS`.
 *
 * @example
 * const pixels_MCSS = clipPixels(c, bytes_MSSC, 336)
 */
export const clipPixels = (c: Compute, bytes_MSSC: Uint8Array, side: number): Tensor =>
  c.pixels(bytes_MSSC, [bytes_MSSC.length / pixelBytes(side), side, side, 3], levels)
