/**
 * Images with the sizes and the entropy of photographs: gradients, soft noise in four octaves, shapes, grain; as JPEG.
 *
 * Not scenes (`datasets/generate/Render.ts`), whose flat colours decode faster than photographs do. Baseline JPEG with
 * 4:2:0, as the originals. Pixels are equal on every machine; bytes depend on the installed sharp.
 *
 * Shapes: pixels_HWC u8, 3 channels.
 */
import sharp from "sharp"
import { type Dice, dice } from "../../datasets/generate/Random.ts"

// Several images are encoded at a time: no threads inside of one.
sharp.concurrency(1)
sharp.cache(false)

/** Which originals: CC-595K's small web images (10 to 15 KB), or COCO's photographs (640 x 480, 100 to 200 KB). */
export type PhotoKind = "cc" | "coco"

interface Look {
  readonly size: (throws: Dice) => readonly [width: number, height: number]
  /** Grain: amplitude of noise that differs from pixel to pixel. */
  readonly grain: readonly [low: number, high: number]
  /** Amplitude of the soft noise. */
  readonly soft: readonly [low: number, high: number]
  readonly quality: number
}

const looks: Readonly<Record<PhotoKind, Look>> = {
  cc: {
    // The shorter side is 224 to 256.
    size: (throws) => {
      const short = throws.range(224, 256)
      const long = Math.round(short * (1 + throws.unit() * 0.6))
      return throws.chance(0.7) ? [long, short] : [short, long]
    },
    grain: [4, 28],
    soft: [30, 90],
    quality: 80
  },
  coco: {
    size: (throws) => (throws.chance(0.75) ? [640, throws.pick([480, 480, 427, 426])] : [throws.pick([480, 427]), 640]),
    grain: [12, 36],
    soft: [40, 110],
    quality: 95
  }
}

/** A grid of noise, and for every column of pixels the cell it lies in and how far into it. */
interface Octave {
  readonly cell: number
  readonly across: number
  /** Weighted already. */
  readonly values: Float32Array
  readonly cells: Uint16Array
  readonly within: Float32Array
}

const octave = (throws: Dice, width: number, height: number, cell: number, weight: number): Octave => {
  const across = Math.ceil(width / cell) + 2
  const values = new Float32Array(across * (Math.ceil(height / cell) + 2))
  for (let i = 0; i < values.length; i++) values[i] = (throws.unit() - 0.5) * weight
  const cells = Uint16Array.from({ length: width }, (_, x) => Math.floor(x / cell))
  const within = Float32Array.from({ length: width }, (_, x) => x / cell - Math.floor(x / cell))
  return { cell, across, values, cells, within }
}

/** Adds row `y` of an octave to `light`: interpolated down first, once a cell, then across. */
const addRow = (
  { across, cell, cells, values, within }: Octave,
  y: number,
  light: Float32Array,
  line: Float32Array
) => {
  const at = Math.floor(y / cell) * across
  const down = y / cell - Math.floor(y / cell)
  for (let i = 0; i < across; i++) line[i] = values[at + i]! + (values[at + across + i]! - values[at + i]!) * down
  for (let x = 0; x < light.length; x++) {
    const left = line[cells[x]!]!
    light[x]! += left + (line[cells[x]! + 1]! - left) * within[x]!
  }
}

/** Draws one image. */
export const drawPhoto = (
  throws: Dice,
  kind: PhotoKind
): { readonly width: number; readonly height: number; readonly pixels_HWC: Uint8Array } => {
  const look = looks[kind]
  const [width, height] = look.size(throws)
  const between = ([low, high]: readonly [number, number]): number => low + throws.unit() * (high - low)
  const soft = between(look.soft)
  const grain = between(look.grain)
  const octaves = [64, 24, 9, 4].map((cell, i) => octave(throws, width, height, cell, soft / 1.6 ** i))
  const colour = (): readonly [number, number, number] => [throws.int(256), throws.int(256), throws.int(256)]
  const [from, to] = [colour(), colour()]
  const [slopeX, slopeY] = [throws.unit() / width, throws.unit() / height]
  const shapes = Array.from({ length: throws.range(2, 7) }, () => ({
    x: throws.int(width),
    y: throws.int(height),
    across: throws.range(10, width >> 1),
    down: throws.range(10, height >> 1),
    round: throws.chance(0.6),
    ink: colour(),
    cover: 0.5 + throws.unit() / 2
  }))
  const pixels_HWC = new Uint8Array(width * height * 3)
  const light = new Float32Array(width)
  const line = new Float32Array(width)
  // Grain is a fast generator of its own: dice a pixel would be most of the time.
  let state = throws.uint32() | 1
  for (let y = 0, at = 0; y < height; y++) {
    light.fill(0)
    // The stretch of each shape in this row.
    const here = shapes.flatMap(({ across, cover, down, ink, round, x, y: centre }) => {
      const v = (y - centre) / down
      if (Math.abs(v) > 1) return []
      const reach = round ? across * Math.sqrt(1 - v * v) : across
      return [{ cover, ink, from: x - reach, to: x + reach }]
    })
    for (const one of octaves) addRow(one, y, light, line)
    for (let x = 0; x < width; x++) {
      const t = x * slopeX + y * slopeY
      let r = from[0] + (to[0] - from[0]) * t
      let g = from[1] + (to[1] - from[1]) * t
      let b = from[2] + (to[2] - from[2]) * t
      for (const { cover, from: first, ink, to: last } of here) {
        if (x < first || x > last) continue
        r += (ink[0] - r) * cover
        g += (ink[1] - g) * cover
        b += (ink[2] - b) * cover
      }
      state = Math.imul(state, 1664525) + 1013904223
      const noise = light[x]! + ((state >>> 16) / 65536 - 0.5) * grain
      pixels_HWC[at++] = Math.min(255, Math.max(0, r + noise))
      pixels_HWC[at++] = Math.min(255, Math.max(0, g + noise * 0.9))
      pixels_HWC[at++] = Math.min(255, Math.max(0, b + noise * 1.1))
    }
  }
  return { width, height, pixels_HWC }
}

const encode = (picture: ReturnType<typeof drawPhoto>, quality: number): Promise<Buffer> =>
  sharp(picture.pixels_HWC, { raw: { width: picture.width, height: picture.height, channels: 3 } })
    .jpeg({ quality, chromaSubsampling: "4:2:0", progressive: false })
    .toBuffer()

/** Image `at` of a seed as JPEG. */
export const photo = (seed: number, kind: PhotoKind, at: number): Promise<Buffer> =>
  encode(drawPhoto(dice(seed, `photo/${kind}/${at}`), kind), looks[kind].quality)

/** An image of 8 to 23 pixels a side, some 400 bytes: it fills an archive to the original's number of entries. */
export const tinyPicture = (seed: number, at: number): Promise<Buffer> => {
  const throws = dice(seed, `tiny/${at}`)
  const [width, height] = [throws.range(8, 23), throws.range(8, 23)]
  const pixels_HWC = new Uint8Array(width * height * 3).fill(throws.int(256))
  return encode({ width, height, pixels_HWC }, 60)
}

/** Images `from` to `to` in order, some encoded at a time. */
export async function* photos(seed: number, kind: PhotoKind, from: number, to: number): AsyncGenerator<Buffer> {
  const ahead: Array<Promise<Buffer>> = []
  for (let at = from; at < to || ahead.length > 0; ) {
    while (ahead.length < 4 && at < to) ahead.push(photo(seed, kind, at++))
    yield await ahead.shift()!
  }
}
