/**
 * Every unambiguous question about a scene, with its answer from a small closed vocabulary.
 *
 * Not a sampler of conversations: `choose` picks a few, the parts of the sample dress them. Images and described
 * scenes share these words, so that what a language model learns from text carries over to images.
 */
import type { Dice } from "./Random.ts"
import { colours, type Place, type Scene, shapes } from "./Scene.ts"

export const questionTypes = ["colour", "shape", "count", "position"] as const
export type QuestionType = (typeof questionTypes)[number]

export interface Question {
  readonly type: QuestionType
  readonly question: string
  readonly answer: string
}

const numbers = ["None.", "One.", "Two.", "Three.", "Four."] as const

/** All answers that can occur. */
export const answers: ReadonlyArray<string> = [
  ...colours.map((c) => `${c[0]!.toUpperCase()}${c.slice(1)}.`),
  ...shapes.map((s) => `${s[0]!.toUpperCase()}${s.slice(1)}.`),
  ...numbers,
  "Top left.",
  "Top right.",
  "Bottom left.",
  "Bottom right.",
  "Centre."
]

export const capital = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}`
/** "at the top left", "in the centre". */
export const at = (place: Place): string => (place === "centre" ? "in the centre" : `at the ${place}`)

/**
 * Lists the questions that have exactly one right answer.
 *
 * Excluded as ambiguous: a colour or place asked of a shape that occurs twice, a shape asked of such a colour. A scene
 * has at least one question of each type (`Scene` sees to that).
 */
export const questionsOf = (scene: Scene): ReadonlyArray<Question> => {
  const things = scene.things
  const out: Array<Question> = []
  const add = (type: QuestionType, question: string, answer: string) => out.push({ type, question, answer })
  const withShape = (shape: string) => things.filter((t) => t.shape === shape)
  const withColour = (colour: string) => things.filter((t) => t.colour === colour)

  for (const t of things) {
    if (withShape(t.shape).length === 1) {
      add("colour", `What colour is the ${t.shape}?`, `${capital(t.colour)}.`)
      add("position", `Where is the ${t.shape}?`, `${capital(t.place)}.`)
    }
    if (withColour(t.colour).length === 1) add("shape", `Which shape is ${t.colour}?`, `${capital(t.shape)}.`)
  }
  add("count", "How many shapes are there?", numbers[things.length]!)
  for (const c of colours) add("count", `How many ${c} shapes are there?`, numbers[withColour(c).length]!)
  for (const s of shapes) add("count", `How many ${s} shapes are there?`, numbers[withShape(s).length]!)
  return out
}

/** One question of a type; the answers of counts (none, one, more) weigh alike. */
const oneOf = (dice: Dice, questions: ReadonlyArray<Question>): Question => {
  if (questions[0]!.type !== "count") return dice.pick(questions)
  const byAnswer = Map.groupBy(questions, (q) => q.answer)
  return dice.pick(byAnswer.get(dice.pick([...byAnswer.keys()]))!)
}

/**
 * Picks `count` different questions, walking through the types in a shuffled order.
 *
 * Fewer are returned when the scene has fewer.
 */
export const choose = (dice: Dice, questions: ReadonlyArray<Question>, count: number): ReadonlyArray<Question> => {
  const left = Map.groupBy(questions, (q) => q.type)
  const out: Array<Question> = []
  while (out.length < count && left.size > 0) {
    for (const type of dice.shuffle([...left.keys()])) {
      if (out.length === count) break
      const all = left.get(type)!
      const question = oneOf(dice, all)
      out.push(question)
      const rest = all.filter((q) => q !== question)
      if (rest.length === 0) left.delete(type)
      else left.set(type, rest)
    }
  }
  return out
}
