/**
 * Decodes a GIF's first frame to what PIL's `convert("RGB")` gives: the frame on its screen, transparent pixels in the
 * colour that the palette has for them.
 *
 * Not an animation player. Loaders that give RGBA (libnsgif in libvips, npm's omggif) write no colour at all under
 * pixels that are transparent, so that it cannot be had from them. A frame larger than the screen enlarges it; around a
 * smaller one lies the transparent colour, or colour 0 where there is none.
 *
 * Source: GIF89a; Pillow's `GifImagePlugin.py` and `GifDecode.c`. Shapes: pixels_HWC uint8, 3 channels. Pure.
 */
import type { Raster } from "./Resample.ts"

/** The first frame, as far as the file says before its pixels. */
export interface GifFrame {
  /** Of the image: the screen, enlarged to hold the frame. */
  readonly width: number
  readonly height: number
  readonly left: number
  readonly top: number
  readonly frameWidth: number
  readonly frameHeight: number
  readonly interlaced: boolean
  /** Colours as r, g, b; undefined where an index is the grey itself. */
  readonly palette: Uint8Array | undefined
  readonly transparent: number | undefined
  /** Where the coded pixels begin: their first byte is the size of a literal in bits. */
  readonly at: number
}

const EXTENSION = 0x21
const GRAPHIC_CONTROL = 0xf9
const IMAGE = 0x2c
const TRAILER = 0x3b
const MAX_CODES = 4096

/** A palette whose colours are their own numbers, in grey, is none: as Pillow has it. */
const unlessGrey = (palette: Uint8Array): Uint8Array | undefined =>
  palette.some((value, i) => value !== Math.floor(i / 3)) ? palette : undefined

/** Behind the sub-blocks that begin at `at`. */
const skipBlocks = (bytes: Uint8Array, at: number): number => {
  let next = at
  while (next < bytes.length && bytes[next] !== 0) next += bytes[next]! + 1
  return next + 1
}

/** Finds the first frame, or `undefined` where the file ends before one. */
export const gifFrame = (bytes: Uint8Array): GifFrame | undefined => {
  if (bytes.length < 13) return undefined
  const u16 = (at: number): number => bytes[at]! | (bytes[at + 1]! << 8)
  const paletteAt = (at: number, flags: number): Uint8Array => bytes.subarray(at, at + (6 << (flags & 7)))
  const screen = bytes[10]!
  const hasGlobal = (screen & 0x80) !== 0
  const global = hasGlobal ? unlessGrey(paletteAt(13, screen)) : undefined
  let transparent: number | undefined
  let at = 13 + (hasGlobal ? 6 << (screen & 7) : 0)
  while (at < bytes.length && bytes[at] !== TRAILER) {
    if (bytes[at] === EXTENSION) {
      // Label, size of the block, flags, two bytes of delay, transparent colour.
      if (bytes[at + 1] === GRAPHIC_CONTROL && bytes[at + 2]! >= 4 && (bytes[at + 3]! & 1) === 1) {
        transparent = bytes[at + 6]
      }
      at = skipBlocks(bytes, at + 2)
    } else if (bytes[at] === IMAGE) {
      if (at + 11 > bytes.length) return undefined
      const [left, top, frameWidth, frameHeight] = [u16(at + 1), u16(at + 3), u16(at + 5), u16(at + 7)]
      const flags = bytes[at + 9]!
      const isLocal = (flags & 0x80) !== 0
      return {
        width: Math.max(u16(6), left + frameWidth),
        height: Math.max(u16(8), top + frameHeight),
        left,
        top,
        frameWidth,
        frameHeight,
        interlaced: (flags & 0x40) !== 0,
        palette: isLocal ? (unlessGrey(paletteAt(at + 10, flags)) ?? global) : global,
        transparent,
        at: at + 10 + (isLocal ? 6 << (flags & 7) : 0)
      }
    } else at++
  }
  return undefined
}

/** Rows in the order in which they are coded. */
const rowOrder = (height: number, interlaced: boolean): Uint32Array => {
  const rows = new Uint32Array(height)
  let n = 0
  const passes: ReadonlyArray<readonly [first: number, step: number]> = interlaced
    ? [[0, 8], [4, 8], [2, 4], [1, 2]] // biome-ignore format: a table
    : [[0, 1]]
  for (const [first, step] of passes) for (let y = first; y < height; y += step) rows[n++] = y
  return rows
}

/** Codes of rising width, out of sub-blocks. */
class CodeReader {
  readonly #bytes: Uint8Array
  #at: number
  #left = 0
  #bits = 0
  #count = 0

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  /** The next code, or -1 where the data ends. */
  next(width: number): number {
    while (this.#count < width) {
      if (this.#left === 0) {
        const size = this.#bytes[this.#at]
        // A block that is cut is not begun.
        if (size === undefined || size === 0 || this.#at + size >= this.#bytes.length) return -1
        this.#left = size
        this.#at++
      }
      this.#bits |= this.#bytes[this.#at++]! << this.#count
      this.#count += 8
      this.#left--
    }
    const code = this.#bits & ((1 << width) - 1)
    this.#bits >>>= width
    this.#count -= width
    return code
  }
}

/** The frame's colour numbers in reading order. Throws where the data is damaged or ends too soon. */
const indices = (bytes: Uint8Array, { at, frameHeight, frameWidth }: GifFrame): Uint8Array => {
  const literalBits = bytes[at]!
  if (!(literalBits <= 12)) throw new Error(`codes of ${literalBits} bits`)
  const out = new Uint8Array(frameWidth * frameHeight)
  const reader = new CodeReader(bytes, at + 1)
  const clear = 1 << literalBits
  const links = new Uint16Array(MAX_CODES)
  const values = new Uint8Array(MAX_CODES)
  const stack = new Uint8Array(MAX_CODES)
  let [width, next, last, first] = [literalBits + 1, clear + 2, -1, 0]
  for (let n = 0; n < out.length; ) {
    const code = reader.next(width)
    if (code < 0 || code === clear + 1) throw new Error(`the data ends after ${n} of ${out.length} pixels`)
    if (code === clear) {
      width = literalBits + 1
      next = clear + 2
      last = -1
      continue
    }
    if (last < 0) {
      if (code > clear) throw new Error(`code ${code} before any other`)
      out[n++] = first = code
      last = code
      continue
    }
    if (code > next) throw new Error(`code ${code} is not defined yet`)
    let depth = 0
    let entry = code
    if (code === next) {
      stack[depth++] = first
      entry = last
    }
    while (entry >= clear) {
      if (depth >= MAX_CODES) throw new Error("codes lead in a circle")
      stack[depth++] = values[entry]!
      entry = links[entry]!
    }
    stack[depth++] = first = entry
    while (depth > 0 && n < out.length) out[n++] = stack[--depth]!
    if (next < MAX_CODES) {
      values[next] = first
      links[next] = last
      if (next === (1 << width) - 1 && width < 12) width++
      next++
    }
    last = code
  }
  return out
}

/** The image of a frame that `gifFrame` found. Throws where its data is cut or damaged. */
export const decodeGif = (bytes: Uint8Array, frame: GifFrame): Raster => {
  const { frameHeight, frameWidth, height, interlaced, left, palette, top, transparent, width } = frame
  const coded = indices(bytes, frame)
  // Beyond the palette's end an index is black, as Pillow has it; without a palette it is a grey.
  const colours = Uint8Array.from({ length: 768 }, (_, i) =>
    palette === undefined ? Math.floor(i / 3) : (palette[i] ?? 0)
  )
  const pixels_HWC = new Uint8Array(width * height * 3)
  if (frameWidth < width || frameHeight < height) {
    const around = (transparent ?? 0) * 3
    for (let i = 0; i < pixels_HWC.length; i += 3) pixels_HWC.set(colours.subarray(around, around + 3), i)
  }
  for (const [i, y] of rowOrder(frameHeight, interlaced).entries()) {
    let to = ((top + y) * width + left) * 3
    for (let from = i * frameWidth; from < (i + 1) * frameWidth; from++) {
      const colour = coded[from]! * 3
      pixels_HWC[to++] = colours[colour]!
      pixels_HWC[to++] = colours[colour + 1]!
      pixels_HWC[to++] = colours[colour + 2]!
    }
  }
  return { width, height, pixels_HWC }
}
