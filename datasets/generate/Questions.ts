/**
 * Every unambiguous question about a scene, with its answer from a small closed vocabulary.
 *
 * Not a sampler of conversations: `choose` picks a few, the parts of the sample dress them. Pictures and described
 * scenes share these words, so that what a language model learns from text carries over to pictures.
 */
import type { Dice } from "./Random.ts"
import { colours, column, type Place, row, type Scene, shapes, type Thing } from "./Scene.ts"

export const questionTypes = ["colour", "shape", "count", "position", "presence", "size"] as const
export type QuestionType = (typeof questionTypes)[number]

export interface Question {
  readonly type: QuestionType
  readonly question: string
  readonly answer: string
  /** What a describer must have said for the answer to follow: absolute places, one axis, or sizes. */
  readonly needs: "nothing" | "places" | "columns" | "rows" | "sizes"
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
  "Centre.",
  "Yes.",
  "No.",
  "Large.",
  "Small."
]

export const capital = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}`
export const plural = (shape: string): string => (shape === "cross" ? "crosses" : `${shape}s`)
/** "at the top left", "in the centre". */
export const at = (place: Place): string => (place === "centre" ? "in the centre" : `at the ${place}`)

const yes = (truth: boolean): string => (truth ? "Yes." : "No.")

const relations = [
  ["left of", "columns", (a: Thing, b: Thing) => column(a.place) - column(b.place)],
  ["right of", "columns", (a: Thing, b: Thing) => column(b.place) - column(a.place)],
  ["above", "rows", (a: Thing, b: Thing) => row(a.place) - row(b.place)],
  ["below", "rows", (a: Thing, b: Thing) => row(b.place) - row(a.place)]
] as const

/**
 * Lists the questions that have exactly one right answer.
 *
 * Excluded as ambiguous: a colour asked of a shape that occurs twice, left or right of things in one column, above or
 * below of things in one row.
 */
export const questionsOf = (scene: Scene): ReadonlyArray<Question> => {
  const things = scene.things
  const out: Array<Question> = []
  const add = (type: QuestionType, question: string, answer: string, needs: Question["needs"] = "nothing") =>
    out.push({ type, question, answer, needs })
  const withShape = (shape: string) => things.filter((t) => t.shape === shape)
  const withColour = (colour: string) => things.filter((t) => t.colour === colour)

  for (const t of things) {
    if (withShape(t.shape).length === 1) {
      add("colour", `What colour is the ${t.shape}?`, `${capital(t.colour)}.`)
      add("position", `Where is the ${t.shape}?`, `${capital(t.place)}.`, "places")
    }
    if (withColour(t.colour).length === 1) add("shape", `Which shape is ${t.colour}?`, `${capital(t.shape)}.`)
    add("colour", `What colour is the shape ${at(t.place)}?`, `${capital(t.colour)}.`, "places")
    add("shape", `Which shape is ${at(t.place)}?`, `${capital(t.shape)}.`, "places")
    add("position", `Where is the ${t.colour} ${t.shape}?`, `${capital(t.place)}.`, "places")
    add("size", `Is the ${t.colour} ${t.shape} large or small?`, `${capital(t.size)}.`, "sizes")
  }
  add("count", "How many shapes are there?", numbers[things.length]!)
  for (const c of colours) add("count", `How many ${c} shapes are there?`, numbers[withColour(c).length]!)
  for (const s of shapes) add("count", `How many ${plural(s)} are there?`, numbers[withShape(s).length]!)
  for (const a of things) {
    for (const b of things) {
      if (a === b) continue
      for (const [relation, needs, side] of relations) {
        const difference = side(a, b)
        if (difference === 0) continue
        const short = withShape(a.shape).length === 1 && withShape(b.shape).length === 1
        const name = (t: Thing) => (short ? t.shape : `${t.colour} ${t.shape}`)
        add("position", `Is the ${name(a)} ${relation} the ${name(b)}?`, yes(difference < 0), needs)
      }
    }
  }
  for (const c of colours) {
    for (const s of shapes) {
      const here = things.some((t) => t.colour === c && t.shape === s)
      // A "no" asks about a colour or a shape that is there, so that it cannot be guessed from the words alone.
      if (here || withColour(c).length + withShape(s).length > 0) {
        add("presence", `Is there a ${c} ${s}?`, yes(here))
      }
    }
  }
  return out
}

/** One question of a type: yes and no weigh alike, and so do the answers of counts (none, one, more). */
const oneOf = (dice: Dice, questions: ReadonlyArray<Question>): Question => {
  const byAnswer = Map.groupBy(questions, (q) => q.answer)
  const yesNo = [...byAnswer.keys()].every((a) => a === "Yes." || a === "No.")
  return yesNo || questions[0]!.type === "count"
    ? dice.pick(byAnswer.get(dice.pick([...byAnswer.keys()]))!)
    : dice.pick(questions)
}

/**
 * Picks `count` different questions, walking through the types in a shuffled order.
 *
 * Position questions are half "where is", half yes/no. Fewer are returned when the scene has fewer.
 */
export const choose = (dice: Dice, questions: ReadonlyArray<Question>, count: number): ReadonlyArray<Question> => {
  const left = Map.groupBy(questions, (q) => q.type)
  const out: Array<Question> = []
  while (out.length < count && left.size > 0) {
    for (const type of dice.shuffle([...left.keys()])) {
      if (out.length === count) break
      const all = left.get(type)!
      const where = all.filter((q) => q.question.startsWith("Where"))
      const sides = all.filter((q) => !q.question.startsWith("Where"))
      const pool = type !== "position" || where.length === 0 || sides.length === 0 ? all : dice.pick([where, sides])
      const question = oneOf(dice, pool)
      out.push(question)
      const rest = all.filter((q) => q.question !== question.question)
      if (rest.length === 0) left.delete(type)
      else left.set(type, rest)
    }
  }
  return out
}
