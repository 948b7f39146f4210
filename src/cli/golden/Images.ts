/**
 * Holds our decoder and resampler to what PIL made of the same pictures: no pixel may differ.
 *
 * CMYK and 16-bit sources are shown and not counted: decoders disagree on them before anything is resampled.
 */
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { Effect } from "effect"
import { imageHeader } from "../../data/ImageHeader.ts"
import { decodeImage, fitImage } from "../../data/Images.ts"
import type { ImageCase } from "./Files.ts"
import { counting, GoldenError, type Line } from "./Line.ts"

const bytesOf = (path: string) =>
  Effect.try({
    try: () => new Uint8Array(readFileSync(path)),
    catch: (cause) => new GoldenError({ path, message: String(cause), hint: "Copy the golden file again.", cause })
  })

/** Bits a sample of a PNG, from its header chunk (byte 24). */
const isDeep = (bytes: Uint8Array): boolean => bytes[0] === 0x89 && bytes[24] === 16

const differing = (ours: Uint8Array, theirs: Uint8Array): { readonly pixels: number; readonly largest: number } => {
  if (ours.length !== theirs.length) return { pixels: Math.max(ours.length, theirs.length) / 3, largest: 255 }
  let pixels = 0
  let largest = 0
  for (let i = 0; i < ours.length; i += 3) {
    const most = Math.max(
      Math.abs(ours[i]! - theirs[i]!),
      Math.abs(ours[i + 1]! - theirs[i + 1]!),
      Math.abs(ours[i + 2]! - theirs[i + 2]!)
    )
    if (most > 0) pixels++
    if (most > largest) largest = most
  }
  return { pixels, largest }
}

/** One line a source and fit: differing pixels of the expected picture's. */
export const checkImages = (cases: ReadonlyArray<ImageCase>): Effect.Effect<ReadonlyArray<Line>, GoldenError> =>
  Effect.forEach(cases, ({ expected, fit, source }) =>
    Effect.gen(function* () {
      const bytes = yield* bytesOf(source)
      const wanted = yield* decodeImage(yield* bytesOf(expected), { name: basename(expected) }).pipe(
        Effect.mapError((cause) => new GoldenError({ path: expected, message: cause.message, hint: cause.hint, cause }))
      )
      const quantity = `${basename(source)} ${fit}, differing pixels`
      const pixels = wanted.width * wanted.height
      const known = imageHeader(bytes)?.samples === "usual" && !isDeep(bytes)
      const note = known ? undefined : "CMYK or 16 bits: not counted"
      // The source is part of the golden: one that we refuse is an error of ours, not of the file.
      const built = yield* Effect.result(decodeImage(bytes, { name: basename(source) }))
      if (built._tag === "Failure")
        return { ...counting(quantity, pixels, pixels, note ?? built.failure.message), counted: known }
      const ours = fitImage(built.success, { size: wanted.width, fit })
      const { largest, pixels: wrong } = differing(ours.pixels_HWC, wanted.pixels_HWC)
      const text = note ?? (wrong === 0 ? undefined : `largest difference ${largest} of 255`)
      return { ...counting(quantity, wrong, pixels, text), counted: known }
    })
  )
