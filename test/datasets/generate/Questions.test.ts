import { it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { describe, expect } from "vitest"
import { board } from "../../../datasets/generate/Board.ts"
import { answers, at, choose, questionsOf } from "../../../datasets/generate/Questions.ts"
import { dice } from "../../../datasets/generate/Random.ts"
import { corners, even, randomScene, type Scene, signature, uneven } from "../../../datasets/generate/Scene.ts"
import { caption, describe as describeScene } from "../../../datasets/generate/Words.ts"

const whole = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const scene = Arbitrary.map(whole(0, 1e9), (n) => randomScene(dice(n, "test"), n % 2 ? even : uneven))

/** Answers a question by reading its words, without the generator's code. */
const oracle = (question: string, { things }: Scene): ReadonlyArray<string> => {
  const capital = (text: string) => `${text[0]!.toUpperCase()}${text.slice(1)}.`
  const words = question.replace("?", "").split(" ")
  const named = things.filter((t) => {
    const kinds = words.filter((w) => w === t.colour || w === t.shape)
    const others = words.filter((w) => things.some((o) => w === o.colour || w === o.shape))
    return kinds.length > 0 && kinds.length === others.length
  })
  if (question.startsWith("How many ")) {
    const kind = words[2]!
    const counted = things.filter((t) => kind === "shapes" || kind === t.colour || kind === t.shape)
    return [["None.", "One.", "Two.", "Three.", "Four."][counted.length]!]
  }
  if (question.startsWith("Where ")) return named.map((t) => capital(t.place))
  if (question.startsWith("What colour ")) return named.map((t) => capital(t.colour))
  return named.map((t) => capital(t.shape))
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

describe("boards", () => {
  it.prop("say the scene, a word a thing, each in its place", [scene], ([s]) => {
    const tiles = board(s).split(" ")
    const rows = ["top", "", "bottom"]
    const columns = ["left", "", "right"]
    const read = tiles.flatMap((word, i) => {
      const [colour, shape] = word.split(/(?=[A-Z])/)
      const place = `${rows[Math.floor(i / 3)]} ${columns[i % 3]}`.trim() || "centre"
      return word === "-" ? [] : [`${place} ${colour!.toLowerCase()} ${shape!.toLowerCase()}`]
    })
    expect(tiles.length).toBe(9)
    expect(read.sort()).toEqual(s.things.map((t) => `${t.place} ${t.colour} ${t.shape}`).sort())
  })
})

describe("choose", () => {
  it.prop("picks different questions, as many as asked for", [scene, whole(1, 6)], ([s, n]) => {
    const chosen = choose(dice(n, "choose"), questionsOf(s), n)
    expect(new Set(chosen.map((q) => q.question)).size).toBe(n)
  })
})

describe("descriptions", () => {
  it.prop("name every thing of the scene, with its place where they claim to know places", [scene], ([s]) => {
    const { saysPlaces, text } = describeScene(dice(1, "words"), s)
    for (const t of s.things) expect(text).toContain(`${t.colour} ${t.shape}${saysPlaces ? ` ${at(t.place)}` : ""}`)
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
    for (const kind of ["colour", "shape"] as const) {
      expect(things.some((t) => things.filter((o) => o[kind] === t[kind]).length === 1)).toBe(true)
    }
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
