/**
 * The scene model that every part of the sample shares: a few flat shapes, each in a place of its own.
 *
 * Not an image and not a text: `Render` draws a scene, `Words` and `Questions` speak about it.
 *
 * Units: all lengths are fractions of the central square of the frame (side = the shorter edge), so that a centre crop
 * keeps every thing whole; frames are nearly square, so that a pad to a square hardly moves one. Places are cells of a
 * grid of three by three: the corners, or the centre, which only a thing that is alone takes. A tower of three by three
 * patches sees each thing in one patch: seeded weights read a shape from one patch, not from its parts in four.
 */
import type { Dice } from "./Random.ts"

export const shapes = ["circle", "square", "triangle", "star"] as const
export const colours = ["red", "green", "blue", "yellow"] as const
export const sizes = ["small", "large"] as const
export const corners = ["top left", "top right", "bottom left", "bottom right"] as const
export const places = [...corners, "centre"] as const
export const backgrounds = ["white", "pale grey", "pale blue", "pale pink", "pale green", "light brown"] as const

export type Shape = (typeof shapes)[number]
export type Colour = (typeof colours)[number]
export type Size = (typeof sizes)[number]
export type Place = (typeof places)[number]
export type Background = (typeof backgrounds)[number]

/** One shape of a scene. No two things of a scene share shape and colour, or a place. */
export interface Thing {
  readonly shape: Shape
  readonly colour: Colour
  readonly size: Size
  readonly place: Place
  /** Centre in the central square, 0 to 1. */
  readonly x: number
  readonly y: number
  /** Half the thing's extent. */
  readonly radius: number
  /** Radians, clockwise; a few degrees only. */
  readonly turn: number
}

/** Image size in pixels, and its paper. */
export interface Frame {
  readonly width: number
  readonly height: number
  readonly background: Background
  /** How much the paper darkens from one side to the other, in levels of 255. */
  readonly shade: number
  /** Direction of the shade, radians. */
  readonly shadeTurn: number
}

export interface Scene {
  readonly things: ReadonlyArray<Thing>
  readonly frame: Frame
}

/**
 * Everything that a question, a board or a description can see of a scene: which things lie where.
 *
 * Sizes, jitter, paper and frame are left out, because no question asks about them. Two scenes with one signature have
 * equal questions and answers, so a held-out scene shares its signature with no scene of the training data.
 */
export const signature = (scene: Scene): string =>
  scene.things
    .map((t) => `${t.place}: ${t.colour} ${t.shape}`)
    .sort()
    .join(" | ")

/** -1, 0 or 1: left, middle or right column. */
export const column = (place: Place): number => (place.endsWith("left") ? -1 : place.endsWith("right") ? 1 : 0)
/** -1, 0 or 1: top, middle or bottom row. */
export const row = (place: Place): number => (place.startsWith("top") ? -1 : place.startsWith("bottom") ? 1 : 0)

/** From the centre of one cell to the next. */
const step = 1 / 3
/** So that nothing leaves its cell. */
const half = { small: 0.09, large: 0.135 } as const

const jitter = (dice: Dice, amount: number): number => (dice.unit() * 2 - 1) * amount

const thing = (dice: Dice, shape: Shape, colour: Colour, size: Size, place: Place): Thing => ({
  shape,
  colour,
  size,
  place,
  x: 0.5 + step * column(place) + jitter(dice, 0.01),
  y: 0.5 + step * row(place) + jitter(dice, 0.01),
  radius: half[size] * (0.95 + 0.1 * dice.unit()),
  turn: jitter(dice, 0.12)
})

/** A frame with a short edge of 96 to 144 pixels and a long one at most 8 % longer. */
export const randomFrame = (dice: Dice): Frame => {
  const short = dice.range(24, 36) * 4
  const long = Math.round(short * dice.pick([1, 1, 1.03, 1.05, 1.08]))
  const wide = dice.chance(0.6)
  return {
    width: wide ? long : short,
    height: wide ? short : long,
    background: dice.weighted([
      ["white", 8],
      ["pale grey", 5],
      ["pale blue", 3],
      ["pale pink", 2],
      ["pale green", 2],
      ["light brown", 1]
    ]),
    shade: dice.range(0, 14),
    shadeTurn: dice.unit() * 2 * Math.PI
  }
}

/** How often the kinds occur; the captions use uneven weights, the questions even ones. */
export interface Weights {
  readonly shapes: ReadonlyArray<readonly [Shape, number]>
  readonly colours: ReadonlyArray<readonly [Colour, number]>
  /** Weights of one, two, three and four things. */
  readonly counts: readonly [number, number, number, number]
}

/** Every shape and colour alike; one and two things most often. */
export const even: Weights = {
  shapes: shapes.map((s) => [s, 1] as const),
  colours: colours.map((c) => [c, 1] as const),
  counts: [4, 4, 2, 1]
}

/** The same without scenes of a single thing: what a text must have to teach which colour belongs to which shape. */
export const several: Weights = { ...even, counts: [0, 4, 4, 2] }

/**
 * The held-out scenes: fewer of a single thing, of which only 80 exist without their sizes, so that most of those are
 * left for training.
 */
export const heldOutWeights: Weights = { ...even, counts: [1, 4, 3, 2] }

/** Circles and red are common, stars and yellow rare: what a balance filter exists for. */
export const uneven: Weights = {
  shapes: [
    ["circle", 8],
    ["square", 6],
    ["triangle", 4],
    ["star", 2]
  ],
  colours: [
    ["red", 7],
    ["blue", 6],
    ["green", 4],
    ["yellow", 2]
  ],
  counts: [5, 5, 2, 1]
}

/** Whether there is something to ask about: no thing twice, a shape that only one thing has, and such a colour. */
const askable = (things: ReadonlyArray<Thing>): boolean => {
  const once = (names: ReadonlyArray<string>) => names.some((name) => names.filter((n) => n === name).length === 1)
  const kinds = new Set(things.map((t) => `${t.colour} ${t.shape}`))
  return kinds.size === things.length && once(things.map((t) => t.shape)) && once(things.map((t) => t.colour))
}

/**
 * Draws one scene of one to four things; one of its shapes and one of its colours occur once.
 *
 * @example
 * signature(randomScene(dice(0, "doc"), even)) // "top left: red circle | ..."
 */
export const randomScene = (dice: Dice, weights: Weights): Scene => {
  const count = dice.weighted(weights.counts.map((weight, i) => [i + 1, weight] as const))
  const where: ReadonlyArray<Place> = count === 1 ? [dice.pick(places)] : dice.shuffle(corners).slice(0, count)
  for (;;) {
    const things = where.map((place) =>
      thing(dice, dice.weighted(weights.shapes), dice.weighted(weights.colours), dice.pick(sizes), place)
    )
    if (askable(things)) return { things, frame: randomFrame(dice) }
  }
}

/** Draws a scene whose signature is not in `without`. */
export const freshScene = (dice: Dice, weights: Weights, without: ReadonlySet<string>): Scene => {
  for (;;) {
    const scene = randomScene(dice, weights)
    if (!without.has(signature(scene))) return scene
  }
}
