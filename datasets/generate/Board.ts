/**
 * Writes a scene as a board of three by three tiles in reading order, a word a tile:
 * `- RedCircle - - - - GreenStar - -`.
 *
 * Not a description in sentences (`Words`). A board is text built like a picture: nine positions, each thing one word,
 * which the sample's tokenizer knows as one token, like the one patch of an image that a thing lies in. What a language
 * model learns on boards (which colour belongs to which shape) it finds again in images; from sentences it does not
 * learn it in the minutes that the sample has (docs/LOG.md, 2026-11-23).
 */
import { capital } from "./Questions.ts"
import { type Colour, column, row, type Scene, type Shape } from "./Scene.ts"

/** The word of a thing: "RedCircle". */
export const tile = (thing: { readonly colour: Colour; readonly shape: Shape }): string =>
  `${capital(thing.colour)}${capital(thing.shape)}`

/** Nine words with blanks between them; "-" where nothing lies. */
export const board = (scene: Scene): string => {
  const tiles = Array.from({ length: 9 }, () => "-")
  for (const t of scene.things) tiles[3 * (row(t.place) + 1) + column(t.place) + 1] = tile(t)
  return tiles.join(" ")
}
