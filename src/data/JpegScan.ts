/**
 * Reads a JPEG's segments, and has its scans decoded by an engine: `Jpeg.ts` (plain) or `JpegWasm.ts` (fast).
 *
 * Sequential Huffman images of 8 bits only, grey or of three components whose sampling factors halve each other.
 * Everything else, and whatever is irregular, gives `undefined`: the caller asks another decoder, which has the
 * verdict. Pure; no I/O. What markers mean for colours is as libjpeg has it.
 *
 * Units: pixels, samples (a component's own pixels), blocks of 8 x 8 samples. Addresses count from the image's start.
 */
import type { Raster } from "./Resample.ts"

/** One component of an image. A sample covers `doubledX` x `doubledY` (1 or 2) pixels. */
export interface JpegComponent {
  readonly id: number
  /** Blocks a unit of an interleaved scan, across and down. */
  readonly h: number
  readonly v: number
  readonly doubledX: boolean
  readonly doubledY: boolean
  /** Samples that are of the image. */
  readonly width: number
  readonly height: number
  /** Samples with those that fill the last units: multiples of 8. */
  readonly planeWidth: number
  readonly planeHeight: number
  readonly quantTable: number
}

/** What the frame header says. */
export interface JpegFrame {
  readonly width: number
  readonly height: number
  readonly components: ReadonlyArray<JpegComponent>
  readonly colour: "grey" | "ycc" | "rgb"
  /** Units of an interleaved scan. */
  readonly unitsAcross: number
  readonly unitsDown: number
}

/** A Huffman table as it is in the file. */
export interface HuffmanTable {
  /** How many codes there are of 1 to 16 bits. */
  readonly counts: Uint8Array
  readonly symbols: Uint8Array
}

/** A scan's part of one component. */
export interface JpegPart {
  /** Its place among the frame's components. */
  readonly index: number
  readonly dc: HuffmanTable
  readonly ac: HuffmanTable
  /** 64 values in zigzag order. */
  readonly quant: Uint8Array
  /** Blocks a unit. One component alone has units of one block. */
  readonly h: number
  readonly v: number
}

/** What a scan header says. */
export interface JpegScan {
  readonly parts: ReadonlyArray<JpegPart>
  readonly unitsAcross: number
  readonly unitsDown: number
  /** Units between restart markers; 0 for none. */
  readonly restart: number
  /** The first entropy-coded byte. */
  readonly at: number
}

/** Decodes what the segments describe. One image at a time. */
export interface JpegEngine {
  readonly begin: (bytes: Uint8Array, frame: JpegFrame) => void
  /** The address of the marker behind the scan, or `undefined` where anything is irregular. */
  readonly scan: (scan: JpegScan) => number | undefined
  /** The image as RGB. */
  readonly finish: () => Raster
}

/** Place in a block by rows, by place in zigzag order. */
export const ZIGZAG: ReadonlyArray<number> = [
  ...[
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28
  ],
  ...[
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55
  ]
].concat(62, 63)

const SOI = 0xd8
const EOI = 0xd9
const SOF0 = 0xc0
const SOF1 = 0xc1
const DHT = 0xc4
const SOS = 0xda
const DQT = 0xdb
const DRI = 0xdd
const COM = 0xfe

/** What segments before a scan have said. */
interface State {
  readonly quants: Array<Uint8Array | undefined>
  readonly dc: Array<HuffmanTable | undefined>
  readonly ac: Array<HuffmanTable | undefined>
  restart: number
  jfif: boolean
  adobe: number | undefined
}

/** Thrown here and caught below: the image is for another decoder. */
class Irregular extends Error {}

const irregular = (): never => {
  throw new Irregular()
}

const quantTables = (segment: Uint8Array, state: State): void => {
  for (let at = 0; at < segment.length; at += 65) {
    const which = segment[at]!
    if (which > 3 || at + 65 > segment.length) irregular()
    state.quants[which] = segment.slice(at + 1, at + 65)
  }
}

const huffmanTables = (segment: Uint8Array, state: State): void => {
  for (let at = 0; at < segment.length; ) {
    const which = segment[at]!
    const counts = segment.slice(at + 1, at + 17)
    const codes = counts.reduce((sum, count) => sum + count, 0)
    const end = at + 17 + codes
    if ((which & 15) > 3 || which >> 4 > 1 || counts.length < 16 || codes > 256 || end > segment.length) irregular()
    const table = { counts, symbols: segment.slice(at + 17, end) }
    if (which >> 4 === 0) state.dc[which & 15] = table
    else state.ac[which & 15] = table
    at = end
  }
}

const starts = (segment: Uint8Array, text: string): boolean => {
  for (let i = 0; i < text.length; i++) if (segment[i] !== text.charCodeAt(i)) return false
  return true
}

/** libjpeg's guess: JFIF means YCbCr, else Adobe's marker decides, else component names. */
const colourOf = (ids: ReadonlyArray<number>, { jfif, adobe }: State): JpegFrame["colour"] => {
  if (ids.length === 1) return "grey"
  if (jfif) return "ycc"
  if (adobe !== undefined) return adobe === 0 ? "rgb" : adobe === 1 ? "ycc" : irregular()
  return ids[0] === 82 && ids[1] === 71 && ids[2] === 66 ? "rgb" : "ycc"
}

const frameOf = (segment: Uint8Array): Omit<JpegFrame, "colour"> => {
  const height = (segment[1]! << 8) | segment[2]!
  const width = (segment[3]! << 8) | segment[4]!
  const count = segment[5]!
  const known = segment[0] === 8 && (count === 1 || count === 3) && segment.length === 6 + count * 3
  if (!known || width === 0 || height === 0) irregular()
  const given = Array.from({ length: count }, (_, i) => {
    const factors = segment[7 + i * 3]!
    const [h, v] = [factors >> 4, factors & 15]
    if (h < 1 || v < 1 || h > 2 || v > 2) irregular()
    // One component alone has units of one block, whatever its factors.
    return { id: segment[6 + i * 3]!, h: count === 1 ? 1 : h, v: count === 1 ? 1 : v, quantTable: segment[8 + i * 3]! }
  })
  const mostH = Math.max(...given.map(({ h }) => h))
  const mostV = Math.max(...given.map(({ v }) => v))
  const unitsAcross = Math.ceil(width / (8 * mostH))
  const unitsDown = Math.ceil(height / (8 * mostV))
  const components = given.map((component): JpegComponent => {
    const { h, v, quantTable } = component
    const fits = (mostH === h || mostH === 2 * h) && (mostV === v || mostV === 2 * v)
    if (!fits || quantTable > 3) irregular()
    return {
      ...component,
      doubledX: mostH === 2 * h,
      doubledY: mostV === 2 * v,
      width: Math.ceil((width * h) / mostH),
      height: Math.ceil((height * v) / mostV),
      planeWidth: unitsAcross * h * 8,
      planeHeight: unitsDown * v * 8
    }
  })
  if (new Set(components.map(({ id }) => id)).size !== count) irregular()
  return { width, height, components, unitsAcross, unitsDown }
}

const scanOf = (segment: Uint8Array, frame: JpegFrame, state: State, at: number): JpegScan => {
  const count = segment[0]!
  if (count < 1 || count > 3 || segment.length !== 4 + count * 2) irregular()
  // All coefficients, at full precision.
  const [first, last, approximation] = segment.subarray(1 + count * 2)
  if (first !== 0 || last !== 63 || approximation !== 0) irregular()
  const alone = count === 1
  const parts = Array.from({ length: count }, (_, i): JpegPart => {
    const index = frame.components.findIndex(({ id }) => id === segment[1 + i * 2])
    const tables = segment[2 + i * 2]!
    const component = frame.components[index] ?? irregular()
    return {
      index,
      dc: state.dc[tables >> 4] ?? irregular(),
      ac: state.ac[tables & 15] ?? irregular(),
      quant: state.quants[component.quantTable] ?? irregular(),
      h: alone ? 1 : component.h,
      v: alone ? 1 : component.v
    }
  })
  for (let i = 1; i < count; i++) if (parts[i]!.index <= parts[i - 1]!.index) irregular()
  // The standard's limit, which libjpeg insists on.
  if (parts.reduce((blocks, { h, v }) => blocks + h * v, 0) > 10) irregular()
  const { width, height } = frame.components[parts[0]!.index]!
  return {
    parts,
    unitsAcross: alone ? Math.ceil(width / 8) : frame.unitsAcross,
    unitsDown: alone ? Math.ceil(height / 8) : frame.unitsDown,
    restart: state.restart,
    at
  }
}

/** Walks the segments. Throws `Irregular`. */
const walk = (bytes: Uint8Array, engine: JpegEngine, maxPixels: number): Raster => {
  const state: State = { quants: [], dc: [], ac: [], restart: 0, jfif: false, adobe: undefined }
  let frame: JpegFrame | undefined
  let bare: Omit<JpegFrame, "colour"> | undefined
  const seen = new Set<number>()
  if (bytes[0] !== 0xff || bytes[1] !== SOI) irregular()
  for (let at = 2; ; ) {
    if (bytes[at] !== 0xff) irregular()
    while (bytes[at + 1] === 0xff) at++
    const marker = bytes[at + 1]
    if (marker === EOI) {
      if (frame === undefined || seen.size !== frame.components.length) return irregular()
      return engine.finish()
    }
    const length = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)
    const end = at + 2 + length
    if (length < 2 || end > bytes.length) irregular()
    const segment = bytes.subarray(at + 4, end)
    at = end
    if (marker === SOF0 || marker === SOF1) {
      if (bare !== undefined) irregular()
      bare = frameOf(segment)
      if (bare.width * bare.height > maxPixels) irregular()
    } else if (marker === SOS) {
      if (bare === undefined) return irregular()
      if (frame === undefined) {
        frame = {
          ...bare,
          colour: colourOf(
            bare.components.map(({ id }) => id),
            state
          )
        }
        engine.begin(bytes, frame)
      }
      const scan = scanOf(segment, frame, state, at)
      for (const { index } of scan.parts) {
        if (seen.has(index)) irregular()
        seen.add(index)
      }
      at = engine.scan(scan) ?? irregular()
    } else if (marker === DHT) huffmanTables(segment, state)
    else if (marker === DQT) quantTables(segment, state)
    else if (marker === DRI && segment.length === 2) state.restart = (segment[0]! << 8) | segment[1]!
    else if (marker === 0xe0) state.jfif ||= segment.length >= 14 && starts(segment, "JFIF\0")
    else if (marker === 0xee && segment.length >= 12 && starts(segment, "Adobe")) state.adobe = segment[11]!
    else if (marker === undefined || ((marker < 0xe1 || marker > 0xef) && marker !== COM)) irregular()
  }
}

/**
 * Decodes a JPEG with `engine`, or gives `undefined` where it is not of the usual kind or not in order.
 *
 * @param maxPixels for more, `undefined`
 */
export const decodeJpegWith = (engine: JpegEngine, bytes: Uint8Array, maxPixels: number): Raster | undefined => {
  try {
    return walk(bytes, engine, maxPixels)
  } catch (cause) {
    if (cause instanceof Irregular) return undefined
    throw cause
  }
}
