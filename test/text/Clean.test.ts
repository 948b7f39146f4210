import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { CleanOptions, cleanConversation as clean, Dropped, duplicateKeys } from "../../src/text/Clean.ts"
import { type Conversation, decodeRow, type RawConversation } from "../../src/text/Conversation.ts"

const load = (name: string): ReadonlyArray<unknown> =>
  JSON.parse(readFileSync(new URL(`../golden/sharegpt/${name}.json`, import.meta.url), "utf8"))

const cleanConversation = (raw: RawConversation, rules: Partial<CleanOptions> = {}) =>
  clean(raw, CleanOptions.make({ values: "html", humanTurns: "reference", ...rules }))

const talk = (...values: ReadonlyArray<string>): RawConversation => ({
  id: "a",
  conversations: values.map((value, i) => ({ from: i % 2 === 0 ? "human" : "gpt", value }))
})
const from = (...roles: ReadonlyArray<string>): RawConversation => ({
  id: "a",
  conversations: roles.map((role, i) => ({ from: role, value: `a long enough value ${i}` }))
})
const reason = (raw: RawConversation, options: Partial<CleanOptions> = {}): string => {
  const result = cleanConversation(raw, options)
  return Result.isFailure(result) ? result.failure.reason : "kept"
}
const values = (raw: RawConversation, options: Partial<CleanOptions> = {}): ReadonlyArray<string> =>
  Result.getOrThrow(cleanConversation(raw, options)).conversations.map((turn) => turn.value)

const question = "What colour is the kettle?"

describe("cleanConversation", () => {
  it("makes of the dirty golden file what the reference makes of it, duplicates dropped", () => {
    const seen = new Set<string>()
    const kept: Array<Conversation> = []
    for (const [row, value] of load("input").entries()) {
      const cleaned = Result.flatMap(decodeRow(value, row), (raw) => cleanConversation(raw))
      if (Result.isFailure(cleaned)) continue
      const { id, opening } = duplicateKeys(cleaned.success)
      if (seen.has(`id ${id}`) || seen.has(`opening ${opening}`)) continue
      seen.add(`id ${id}`).add(`opening ${opening}`)
      kept.push(cleaned.success)
    }
    expect(kept).toEqual(load("expected"))
    expect(kept.length).toBe(94)
  })

  it.each([
    ["HasPlugins", { ...talk(question, "It is red."), plugins: [] }],
    ["kept", { ...talk(question, "It is red."), plugins: null }],
    ["TooFewTurns", talk()],
    ["TooFewTurns", talk(question)],
    ["TooFewTurns", from("gpt", "human")],
    ["TooFewTurns", from("gpt", "human", "human")],
    ["kept", from("system", "human", "gpt", "human")],
    ["RolesOutOfOrder", from("human", "human", "gpt")],
    ["RolesOutOfOrder", from("system", "gpt", "human", "gpt")],
    ["RolesOutOfOrder", from("human", "bing")],
    ["BannedWord", talk("Are you from OpenAI?", "<p>No.</p>")],
    ["BannedWord", talk(question, '<p class="chatGPT">It is red.</p>')],
    ["SiteNotice", talk(question, "Too many requests in 1 hour. Try again later.")],
    ["SiteNotice", talk(question, "!Too many requests in 1 hour. Try again later.")],
    ["kept", talk("Too many requests in 1 hour. Try again later.", "I shall wait.")],
    ["SiteNotice", talk(question, "<p>Too many requests in 1 hour. Try again later.</p>")],
    ["SiteNotice", talk(question, "<div><p>!Too many requests in 1 hour. Try again later.</p></div>")],
    ["SiteNotice", talk(question, " \n\u00a0Too many requests in 1 hour. Try again later.")],
    ["SiteNotice", talk(question, "1 / 2Too many requests in 1 hour. Try again later. And more.")],
    ["SiteNotice", talk(question, "<p>Too many requests in 1&#32;hour. Try again later.</p>")],
    ["kept", talk(question, "Too many requests in 1 hour is what the site says when it is busy.")],
    ["kept", talk(question, "<b>Too many requests in 1 hour. Try again later.</b>")],
    ["kept", talk(question, "It said: Too many requests in 1 hour. Try again later.")],
    ["MarkupRejected", talk(question, "<![foo]>")],
    ["NothingLeft", talk("<p> </p>", "It is red and stands there.")],
    ["NothingLeft", talk("\u0007What colour is it?", "It is red.")],
    ["TooShort", talk("hi", "yo")]
  ])("%s", (expected, raw) => {
    expect(reason(raw)).toBe(expected)
  })

  const Letters = Schema.Array(
    Schema.Literals([
      ..."openaiOPENAIchatgptCHATGPTK",
      "\u0130",
      "\u0131",
      "\u212a",
      "\u017f",
      "ß",
      " ",
      "OpenAI",
      "Kiosk"
    ])
  )
  const Words = Schema.Array(
    Schema.Literals(["openai", "ChatGPT", "k", "i", "kiosk", "gpt c", "ß", "s", "", "a.i", "İ"])
  )
  it.prop(
    "bans what stands in the lower-cased text, and names the first such word",
    [Letters, Words],
    ([letters, words]) => {
      const text = `Is it ${letters.join("")}?`
      const lower = text.toLowerCase()
      const word = words.find((banned) => lower.includes(banned.toLowerCase()))
      const result = cleanConversation(talk(text, "Yes, it really is."), { bannedWords: words })
      if (word === undefined) expect(Result.isSuccess(result)).toBe(true)
      else
        expect(Result.isFailure(result) && result.failure).toMatchObject({
          reason: "BannedWord",
          detail: `contains ${JSON.stringify(word)}`
        })
    }
  )

  it("counts code points up to the least length, over all turns", () => {
    const options = { minCharacters: 6 }
    expect(values(talk("😀😀😀", "😀😀😀"), options)).toEqual(["😀😀😀", "😀😀😀"])
    const short = cleanConversation(talk("😀😀😀", "😀😀"), options)
    expect(Result.isFailure(short) && short.failure.detail).toBe("5 characters of 6")
  })

  it("ends a conversation at a turn without text and keeps whole pairs", () => {
    expect(values(talk(question, "It is red.", "And this one?", "<p></p>", "Hello?", "Yes"))).toEqual([
      question,
      "It is red."
    ])
  })

  it("looks at nothing after the turn where a conversation ends, as the reference does", () => {
    expect(reason(talk(question, "It is red.", "", "OpenAI"))).toBe("kept")
  })

  it("says which turn broke which rule", () => {
    const result = cleanConversation({ ...talk(question, "I am ChatGPT"), id: "row7" })
    expect(Result.isFailure(result) && { ...result.failure }).toMatchObject({
      reason: "BannedWord",
      id: "row7",
      turn: 1,
      detail: 'contains "chatgpt"'
    })
    const error = Result.isFailure(result) ? result.failure : undefined
    expect(Schema.encodeUnknownSync(Schema.toCodecJson(Dropped))(error)).toMatchObject({ _tag: "Dropped", turn: 1 })
  })

  it("damages code in a human turn as the reference does, unless told to leave it", () => {
    const raw = talk("if (a<b && c>d) x = '*'", "That loop looks right.")
    expect(values(raw)[0]).toBe("if (a**d) x = '\\*'**")
    expect(values(raw, { humanTurns: "verbatim" })[0]).toBe("if (a<b && c>d) x = '*'")
  })

  it("only strips values that are markdown already", () => {
    expect(values(talk(question, " a < b *c*\n\n\n&amp; "), { values: "markdown" })[1]).toBe("a < b *c*\n\n\n&amp;")
  })

  it("takes its rules from its options", () => {
    expect(reason(talk(question, "The tide returns."), { bannedWords: ["TIDE"] })).toBe("BannedWord")
    expect(reason(talk("Who is OpenAI?", "A company."), { bannedWords: [] })).toBe("kept")
    expect(reason(talk("hi", "yo"), { minCharacters: 4 })).toBe("kept")
    expect(reason(talk("hi", "yo"), { minCharacters: 5 })).toBe("TooShort")
  })

  const Raw = Schema.Struct({
    from: Schema.Literals(["human", "gpt"]),
    value: Schema.Union([
      Schema.Literals(["<p>a</p>", "", "\n", "A tide of some length.", "<b>x", "&#"]),
      Schema.String
    ])
  })
  const raws = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Raw), { maxLength: 8 }), (conversations) => ({
    id: "a",
    conversations
  }))

  it.prop("keeps whole pairs, in order, with text, and never throws", [raws], ([raw]) => {
    const result = cleanConversation(raw)
    if (Result.isFailure(result)) return
    const turns = result.success.conversations
    expect(turns.length).toBeGreaterThan(0)
    expect(turns.length % 2).toBe(0)
    turns.forEach((turn, i) => {
      expect(turn.from).toBe(i % 2 === 0 ? "human" : "gpt")
      expect(turn.value).not.toBe("")
    })
  })
})

describe("duplicateKeys", () => {
  const cleaned = (...texts: ReadonlyArray<string>): Conversation =>
    Result.getOrThrow(cleanConversation(talk(...texts)))

  it("tells openings apart by the whole first pair only", () => {
    const one = duplicateKeys(cleaned(question, "It is red.", "More?", "No."))
    expect(one.opening).toBe(duplicateKeys(cleaned(question, "It is red.")).opening)
    expect(one.opening).not.toBe(duplicateKeys(cleaned(question, "It is blue.")).opening)
    expect(one.id).toBe("a")
  })
})
