/**
 * Says a scene in English: descriptions for text conversations, captions for images.
 *
 * Not questions (`Questions`), not boards (`Board`) and not other languages (`Languages`). Sizes are never mentioned:
 * they are variation to ignore, like the background's colour.
 */
import { at } from "./Questions.ts"
import type { Dice } from "./Random.ts"
import { column, row, type Scene, type Thing } from "./Scene.ts"

export interface Description {
  readonly text: string
  /** The same facts as a caption: what a good reply to one of `requests` is. */
  readonly caption: string
  /** Whether it says where things are: only then are questions about places asked. */
  readonly saysPlaces: boolean
}

/** Requests for a caption, of images and of described scenes. */
export const requests = [
  "Describe this picture in a few words.",
  "What does the image show, in short?",
  "Give a brief caption for the picture.",
  "Say concisely what can be seen here.",
  "Write one short sentence about the image.",
  "Sum up what is in this picture.",
  "What is in the image? Be brief.",
  "Provide a compact description of the photo.",
  "Name the things in the picture, briefly.",
  "State in one line what the image contains."
] as const

/** Reading order: rows from the top, each from the left. */
const reading = (things: ReadonlyArray<Thing>): Array<Thing> =>
  [...things].sort((a, b) => row(a.place) - row(b.place) || column(a.place) - column(b.place))

/** Mostly in reading order, at times in any. */
const ordered = (dice: Dice, things: ReadonlyArray<Thing>): Array<Thing> =>
  dice.chance(0.8) ? reading(things) : dice.shuffle(things)

/** "a red circle". */
export const phrase = (thing: Thing): string => `a ${thing.colour} ${thing.shape}`

/** "a red circle at the top left". */
const placed = (thing: Thing): string => `${phrase(thing)} ${at(thing.place)}`

/** "A", "A and B", "A, B and C". */
export const listed = (parts: ReadonlyArray<string>, comma = ", "): string =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(comma)} and ${parts.at(-1)}`

const counted = ["no shapes", "one shape", "two shapes", "three shapes", "four shapes"] as const

/** The relation of `a` to `b` along one axis, or undefined when they share it. */
const related = (a: Thing, b: Thing, axis: "columns" | "rows"): string | undefined => {
  const d = axis === "columns" ? column(a.place) - column(b.place) : row(a.place) - row(b.place)
  if (d === 0) return undefined
  return axis === "columns" ? (d < 0 ? "left of" : "right of") : d < 0 ? "above" : "below"
}

/** A sentence that describes the scene. */
export const describe = (dice: Dice, scene: Scene): Description => {
  const things = ordered(dice, scene.things)
  const [first, second] = things
  if (things.length === 2 && first && second && dice.chance(0.4)) {
    const axis = dice.shuffle(["columns", "rows"] as const).find((x) => related(first, second, x) !== undefined)!
    const pair = `${phrase(first)} ${related(first, second, axis)} ${phrase(second)}`
    return {
      text: `${dice.pick(["The picture shows", "There is", "I see"])} ${pair}.`,
      caption: pair,
      saysPlaces: false
    }
  }
  const list = listed(things.map(placed))
  const text = dice.pick([
    `The picture shows ${list}.`,
    `The picture shows ${list}.`,
    `There is ${list}.`,
    `I see ${list}.`,
    `In the picture there ${things.length === 1 ? "is" : "are"} ${counted[things.length]}: ${list}.`
  ])
  return { text, caption: list, saysPlaces: true }
}

/** The whole scene in reading order with positions: the answer to a request about an image. */
export const fullCaption = (scene: Scene): string => listed(reading(scene.things).map(placed))

/** Tails of web captions with Zipf weights: the common ones swamp a plain sample, the rare ones a filter drops. */
const tails: ReadonlyArray<string> = [
  "stock illustration",
  "vector image",
  "flat design",
  "on plain paper",
  "for a school poster",
  "in a drawing lesson",
  "with soft light",
  "for young children",
  "geometry worksheet",
  "a simple pattern",
  "wall decoration",
  "greeting card",
  "board game piece",
  "sticker sheet",
  "paper cut out",
  "wooden toy set",
  "museum shop print",
  "tablecloth design",
  "kite festival banner",
  "ferry company logo",
  "bakery window sign",
  "harbour warning flag",
  "puppet theatre curtain",
  "lighthouse keeper's notebook",
  "tram ticket from last summer",
  "quilt made by a neighbour",
  "garden gate ornament",
  "clock tower stencil",
  "carnival float sketch",
  "chess club newsletter"
]

const tail = (dice: Dice): string => dice.weighted(tails.map((text, i) => [text, 1 / (i + 1) ** 1.35] as const))

/**
 * One caption: most name everything with its place, some only shapes and colours, as web captions do.
 *
 * `spaced` sets blanks before commas, like the tokenised captions of CC-3M.
 */
export const caption = (dice: Dice, scene: Scene): string => {
  const things = ordered(dice, scene.things)
  const comma = dice.chance(0.25) ? " , " : ", "
  const [first, second] = things
  const axis = first && second ? (related(first, second, "columns") === undefined ? "rows" : "columns") : "columns"
  const kind = dice.unit()
  const full = listed(things.map(placed), comma)
  const bare = listed(things.map(phrase), comma)
  let text = full
  if (kind < 0.12 && first && second && things.length === 2) {
    text = `${phrase(first)} ${related(first, second, axis)} ${phrase(second)}`
  } else if (kind < 0.24) text = bare
  else if (kind < 0.34) text = `${counted[things.length]} : ${full}`
  else if (kind < 0.42) text = `a picture of ${full}`
  const paper = dice.chance(0.12) ? ` on a ${scene.frame.background} background` : ""
  return `${text}${paper}${dice.chance(0.2) ? `${comma}${tail(dice)}` : ""}`
}

/** What a captioning model would say: plain, without places, at times wrong about the number. */
export const machineCaption = (dice: Dice, scene: Scene): string => {
  const bare = listed(scene.things.map(phrase))
  return dice.pick([
    `${bare} on a white background`,
    `a close up of ${bare}`,
    bare,
    `there are many shapes in this image`
  ])
}
