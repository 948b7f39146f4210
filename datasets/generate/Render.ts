/**
 * Draws a scene as RGB pixels: signed distances, one pixel of soft edge.
 *
 * Not an encoder (`Pictures` makes JPEGs) and not librsvg: the pixels are ours, so they do not change with a library.
 *
 * Shapes: `pixels_HWC` u8, three channels, row by row.
 */
import type { Background, Colour, Scene, Thing } from "./Scene.ts"

type Rgb = readonly [number, number, number]

const inks: Readonly<Record<Colour, Rgb>> = {
  red: [216, 28, 34],
  green: [24, 150, 62],
  blue: [28, 78, 214],
  yellow: [252, 204, 0]
}

const papers: Readonly<Record<Background, Rgb>> = {
  white: [250, 250, 248],
  "pale grey": [218, 219, 221],
  "pale blue": [212, 227, 243],
  "pale pink": [247, 222, 227],
  "pale green": [217, 238, 219],
  "light brown": [224, 207, 186]
}

type Point = readonly [x: number, y: number]

const around = (corners: number, radius: (i: number) => number): ReadonlyArray<Point> =>
  Array.from({ length: corners }, (_, i) => {
    const angle = -Math.PI / 2 + (i * 2 * Math.PI) / corners
    return [radius(i) * Math.cos(angle), radius(i) * Math.sin(angle)] as const
  })

/** Outlines in a box from -1 to 1; a circle has a closed form. */
const outlines: Readonly<Record<"square" | "triangle" | "star", ReadonlyArray<Point>>> = {
  square: [
    [-0.88, -0.88],
    [0.88, -0.88],
    [0.88, 0.88],
    [-0.88, 0.88]
  ],
  triangle: [
    [0, -1],
    [1.05, 0.85],
    [-1.05, 0.85]
  ],
  star: around(10, (i) => (i % 2 === 0 ? 1.08 : 0.44))
}

/** Signed distance from (x, y) to a closed polygon, negative inside (even-odd rule). */
const polygonDistance = (points: ReadonlyArray<Point>, x: number, y: number): number => {
  let nearest = Infinity
  let inside = false
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [ax, ay] = points[i]!
    const [bx, by] = points[j]!
    const ex = bx - ax
    const ey = by - ay
    const t = Math.min(1, Math.max(0, ((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)))
    const dx = x - ax - t * ex
    const dy = y - ay - t * ey
    nearest = Math.min(nearest, dx * dx + dy * dy)
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside
  }
  return inside ? -Math.sqrt(nearest) : Math.sqrt(nearest)
}

const distance = (thing: Thing, x: number, y: number): number => {
  if (thing.shape === "circle") return Math.sqrt(x * x + y * y) - 1
  return polygonDistance(outlines[thing.shape], x, y)
}

/**
 * Rasterises a scene to `pixels_HWC` (height x width x 3).
 *
 * @example
 * const { width, height, pixels_HWC } = rasterise(scene)
 */
export const rasterise = (scene: Scene): { width: number; height: number; pixels_HWC: Uint8Array } => {
  const { width, height, background, shade, shadeTurn } = scene.frame
  const side = Math.min(width, height)
  const left = (width - side) / 2
  const top = (height - side) / 2
  const paper = papers[background]
  const pixels_HWC = new Uint8Array(width * height * 3)
  const shadeX = Math.cos(shadeTurn) / width
  const shadeY = Math.sin(shadeTurn) / height
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const darker = shade * (0.5 + (x - width / 2) * shadeX + (y - height / 2) * shadeY)
      for (let c = 0; c < 3; c++) pixels_HWC[at++] = Math.min(255, Math.max(0, Math.round(paper[c]! - darker)))
    }
  }
  for (const thing of scene.things) {
    const ink = inks[thing.colour]
    const centreX = left + thing.x * side
    const centreY = top + thing.y * side
    const radius = thing.radius * side
    const cos = Math.cos(thing.turn)
    const sin = Math.sin(thing.turn)
    const reach = Math.ceil(radius * 1.5) + 1
    for (let y = Math.max(0, Math.floor(centreY - reach)); y < Math.min(height, centreY + reach); y++) {
      for (let x = Math.max(0, Math.floor(centreX - reach)); x < Math.min(width, centreX + reach); x++) {
        const u = (x + 0.5 - centreX) / radius
        const v = (y + 0.5 - centreY) / radius
        const cover = Math.min(1, Math.max(0, 0.5 - distance(thing, u * cos + v * sin, v * cos - u * sin) * radius))
        if (cover === 0) continue
        const at = (y * width + x) * 3
        for (let c = 0; c < 3; c++) {
          pixels_HWC[at + c] = Math.round(pixels_HWC[at + c]! * (1 - cover) + ink[c]! * cover)
        }
      }
    }
  }
  return { width, height, pixels_HWC }
}
