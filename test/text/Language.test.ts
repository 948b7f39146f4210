import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { detectLanguage, languageSample } from "../../src/text/Language.ts"

describe("detectLanguage", () => {
  it("names the language of a sentence", () => {
    const texts = {
      en: "What is the easiest way to learn how to cook a good meal?",
      de: "Wie komme ich am schnellsten von hier zum Bahnhof?",
      fr: "Quelle est la meilleure façon d'apprendre à cuisiner ?",
      es: "¿Cuál es la mejor manera de aprender a cocinar en casa?",
      ru: "Как лучше всего научиться готовить дома?",
      zh: "学习做饭最简单的方法是什么？",
      ja: "料理を学ぶ一番簡単な方法は何ですか",
      ko: "요리를 배우는 가장 쉬운 방법은 무엇입니까?"
    }
    for (const [language, text] of Object.entries(texts)) {
      expect(detectLanguage(text), text).toEqual({ language, reliable: true })
    }
  })

  it("says und where there is nothing to tell", () => {
    for (const text of ["", "12345 !!!", "```\n```"]) expect(detectLanguage(text).language).toBe("und")
  })

  it("judges by the whole text, not by its head, and by prose rather than code", () => {
    const english = "This answer explains how to prepare dinner for your friends in the evening. "
    const head = `${"Bonjour, je voudrais vous poser une question. ".repeat(8)}${english.repeat(60)}`
    expect(detectLanguage(head).language).toBe("en")
    const code = "```\nint donnees = lire_fichier(chemin, taille);\nretour(valeur_suivante);\n```\n".repeat(40)
    expect(detectLanguage(`${english}${code}${english}`).language).toBe("en")
  })
})

describe("languageSample", () => {
  it.prop("is the text itself when short, bounded and well formed when long", [Schema.String], ([value]) => {
    const text = value.toWellFormed().replaceAll("`", "'")
    expect(languageSample(text)).toBe(text)
    const long = `😀${text}`.repeat(2000)
    const sample = languageSample(long)
    expect(sample.length).toBeLessThanOrEqual(1203)
    expect(sample.isWellFormed()).toBe(true)
  })
})
