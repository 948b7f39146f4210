import { describe, expect, it } from "@effect/vitest"
import { nounPhrases } from "../../src/text/NounPhrases.ts"

const expected: Readonly<Record<string, ReadonlyArray<string>>> = {
  "A black and white photo of a man's hat on the old wooden table": [
    "black and white photo",
    "man's hat",
    "old wooden table"
  ],
  "two young women in red t-shirts are playing with their dogs near the Golden Gate Bridge": [
    "young women",
    "red t-shirts",
    "dogs",
    "golden gate bridge"
  ],
  "an aerial view of a city at night with the running water": ["aerial view", "city", "night", "running water"],
  "actor attends the premiere of movie at film festival": ["actor", "premiere", "movie", "film festival"],
  "3d illustration of a glass of orange juice isolated on white background": [
    "3d illustration",
    "glass",
    "orange juice",
    "white background"
  ],
  "the best places to eat in new york, usa .": ["best places", "new york", "usa"],
  "a broken window, blue and white": ["broken window"],
  "close up of hand holding a mobile phone .": ["hand", "mobile phone"],
  "a man-made lake": ["man-made lake"]
}

describe("nounPhrases", () => {
  it("finds the phrases of captions, lower case, without determiners and numbers", () => {
    for (const [caption, phrases] of Object.entries(expected)) expect(nounPhrases(caption), caption).toEqual(phrases)
  })

  it("names a phrase once and finds none where there is none", () => {
    expect(nounPhrases("the dog and the dog")).toEqual(["dog"])
    for (const caption of ["", "   ", "12 34", "it is red"]) expect(nounPhrases(caption)).toEqual([])
  })
})
