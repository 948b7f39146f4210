import { it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { describe, expect } from "vitest"
import { answers, choose, questionsOf } from "../../../datasets/generate/Questions.ts"
import { dice } from "../../../datasets/generate/Random.ts"
import { corners, even, places, randomScene, type Scene, signature, uneven } from "../../../datasets/generate/Scene.ts"
import { caption, describe as describeScene } from "../../../datasets/generate/Words.ts"

const whole = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const scene = Arbitrary.map(whole(0, 1e9), (n) => randomScene(dice(n, "test"), n % 2 ? even : uneven))

/** Answers a question by reading its words, without the generator's code. */
const oracle = (question: string, { things }: Scene): ReadonlyArray<string> => {
  const words = question.replace(/[?]/g, "").split(" ")
  const text = words.join(" ")
  const spot = (place: string) => ({
    x: place.endsWith("left") ? 0 : place.endsWith("right") ? 2 : 1,
    y: place.startsWith("top") ? 0 : place.startsWith("bottom") ? 2 : 1
  })
  const fits = (t: Scene["things"][number], name: string) =>
    name.split(" ").every((w) => w === t.colour || w === t.shape || w === t.size)
  const where = [...places].find((p) => text.endsWith(p))
  const between = /^Is the (.+) (left of|right of|above|below) the (.+)$/.exec(text)
  const size = /^Is the (.+) large or small$/.exec(text)
  if (between) {
    return things
      .filter((a) => fits(a, between[1]!))
      .flatMap((a) =>
        things
          .filter((b) => fits(b, between[3]!))
          .map((b) => {
            const [p, q] = [spot(a.place), spot(b.place)]
            const side = { "left of": q.x - p.x, "right of": p.x - q.x, above: q.y - p.y, below: p.y - q.y }
            const difference = side[between[2] as keyof typeof side]
            return difference === 0 ? "unclear" : difference > 0 ? "Yes." : "No."
          })
      )
  }
  if (size) return things.filter((t) => fits(t, size[1]!)).map((t) => (t.size === "large" ? "Large." : "Small."))
  if (text.startsWith("Where is the ")) {
    return things
      .filter((t) => fits(t, text.slice("Where is the ".length)))
      .map((t) => `${t.place[0]!.toUpperCase()}${t.place.slice(1)}.`)
  }
  if (text.startsWith("Is there a ")) return [things.some((t) => fits(t, text.slice(11))) ? "Yes." : "No."]
  if (text.startsWith("How many ")) {
    const kind = text.slice(9).replace(" are there", "")
    const counted = things.filter(
      (t) => kind === "shapes" || kind === `${t.colour} shapes` || kind === `${t.shape}s` || kind === `${t.shape}es`
    )
    return [["None.", "One.", "Two.", "Three.", "Four."][counted.length]!]
  }
  const found = where
    ? things.filter((t) => t.place === where)
    : things.filter((t) => t.shape === words.at(-1) || t.colour === words.at(-1))
  return found.map((t) => {
    const name = text.startsWith("What colour") ? t.colour : t.shape
    return `${name[0]!.toUpperCase()}${name.slice(1)}.`
  })
}

describe("questionsOf", () => {
  it.prop("has one right answer for each question, as an independent reader finds it", [scene], ([s]) => {
    for (const q of questionsOf(s)) expect([q.question, oracle(q.question, s)]).toEqual([q.question, [q.answer]])
  })

  it.prop("never asks one question twice, and answers from the closed vocabulary", [scene], ([s]) => {
    const questions = questionsOf(s)
    expect(new Set(questions.map((q) => q.question)).size).toBe(questions.length)
    for (const q of questions) expect(answers).toContain(q.answer)
  })

  it.prop("has a colour, shape, count and position question for every scene", [scene], ([s]) => {
    const types = new Set(questionsOf(s).map((q) => q.type))
    for (const type of ["colour", "shape", "count", "position"] as const) expect(types.has(type)).toBe(true)
  })
})

describe("choose", () => {
  it.prop("picks different questions, as many as asked for", [scene, whole(1, 5)], ([s, n]) => {
    const chosen = choose(dice(n, "choose"), questionsOf(s), n)
    expect(new Set(chosen.map((q) => q.question)).size).toBe(n)
  })
})

describe("descriptions", () => {
  it.prop("name every thing of the scene, with its place where they claim to know places", [scene], ([s]) => {
    const { text, knows } = describeScene(dice(1, "words"), s)
    // One sentence a thing, or one sentence for all: a thing's words stand together, in any order.
    const sentences = text.toLowerCase().split(/(?<=[.])/)
    for (const t of s.things) {
      const words = [
        t.colour,
        t.shape,
        ...(knows.has("sizes") ? [t.size] : []),
        ...(knows.has("places") ? [t.place] : [])
      ]
      expect(sentences.some((sentence) => words.every((word) => sentence.includes(word)))).toBe(true)
    }
  })

  it.prop("captions name every thing too", [scene], ([s]) => {
    const text = caption(dice(2, "captions"), s)
    for (const t of s.things) expect(text).toContain(`${t.colour} ${t.shape}`)
  })
})

describe("scenes", () => {
  it.prop("keep things apart, inside the central square, one a place", [scene], ([{ things }]) => {
    expect(new Set(things.map((t) => t.place)).size).toBe(things.length)
    expect(new Set(things.map((t) => `${t.colour} ${t.shape}`)).size).toBe(things.length)
    if (things.length > 1) for (const t of things) expect(corners).toContain(t.place)
    for (const t of things) {
      const reach = t.radius * 1.08
      expect(Math.min(t.x, t.y) - reach).toBeGreaterThan(0)
      expect(Math.max(t.x, t.y) + reach).toBeLessThan(1)
      // In its cell of three by three: what a tower of as many patches sees in one of them.
      for (const at of [t.x, t.y]) expect(Math.floor(3 * (at - reach))).toBe(Math.floor(3 * (at + reach)))
      for (const other of things) {
        if (other === t) continue
        const gap = Math.max(Math.abs(t.x - other.x), Math.abs(t.y - other.y))
        expect(gap).toBeGreaterThan((t.radius + other.radius) * 1.05)
      }
    }
  })

  it.prop("have equal signatures exactly when they show the same", [scene, scene], ([a, b]) => {
    const shown = (s: Scene) =>
      JSON.stringify(s.things.map((t) => [t.place, t.size, t.colour, t.shape]).sort((x, y) => (x[0]! < y[0]! ? -1 : 1)))
    expect(signature(a) === signature(b)).toBe(shown(a) === shown(b))
  })
})
