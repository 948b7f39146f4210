/** Cleaning keeps or refuses every row, once, in order, and what it keeps it would keep again. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { WiringError } from "../../src/dag/Node.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { source } from "../../src/dag/Source.ts"
import { ShareGptFile } from "../../src/nodes/Artifacts.ts"
import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"

const tokens = ["<|endoftext|>", "<image>", "<pad>"]
const params = {
  values: "html",
  humanTurns: "reference",
  bannedWords: ["openai", "chatgpt"],
  specialTokens: tokens
} as const

const Piece = Schema.Literals([
  "Hello there, friend. ",
  "<p>",
  "</p>",
  "<b>bold</b>",
  "<div class=x>",
  "<pre><code>a = 1</code></pre>",
  "&lt;|endoftext|&gt;",
  "<|endoftext|>",
  "&lt;image&gt;",
  "<pad>",
  "OpenAI",
  "1 / 2",
  "Copy12 chars / 3 words",
  "\n\n\n",
  "*",
  "Too many requests in 1 hour. Try again later.",
  "Too many requests in 1 hour"
])
const Turn = Schema.Struct({
  from: Schema.Literals(["human", "gpt", "human", "gpt", "system"]),
  value: Schema.Array(Piece).check(Schema.isMaxLength(5))
})
const rows = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Schema.Array(Turn).check(Schema.isMaxLength(6))), { maxLength: 20 }),
  (all) =>
    all.map((turns, i) => ({
      id: `r${i}`,
      // Mostly in turn, so that many rows get past the first rules.
      conversations: turns.map(({ from, value }, t) => ({
        from: from === "system" ? from : t % 2 === 0 ? "human" : "gpt",
        value: value.join("")
      }))
    }))
)

describe("cleanShareGpt", () => {
  it.effect.prop(
    "keeps or refuses every row once, in order, with a reason, and leaves no control token in what it keeps",
    [rows],
    ([given]) =>
      Effect.gen(function* () {
        const { out, refused } = yield* Node.run(cleanShareGpt, { rows: given }, params)
        const kept = out.rows.map((row) => row.id)
        const gone = refused.map((one) => given[one.row]!.id)
        expect([...kept, ...gone].sort()).toEqual(given.map((row) => row.id).sort())
        expect(kept).toEqual(given.map((row) => row.id).filter((id) => !gone.includes(id)))
        for (const one of refused) expect(one.reason).toMatch(/^Dropped: [A-Z]\w+$/)
        for (const row of out.rows) {
          expect(row.conversations.length).toBeGreaterThan(1)
          row.conversations.forEach(({ from, value }, i) => {
            expect(from).toBe(i % 2 === 0 ? "human" : "gpt")
            for (const token of tokens) expect(value).not.toContain(token)
          })
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  // Banned words are looked for in raw text, as the reference does: one that only cleaning lays bare, and a row whose
  // length was that of a question that went, are found by a second pass alone.
  const secondPass = /^Dropped: (BannedWord|TooShort)$/
  it.effect.prop(
    "gives back its own output when that is read as markdown, but for what only then begins a reply",
    [rows],
    ([given]) =>
      Effect.gen(function* () {
        const once = yield* Node.run(cleanShareGpt, { rows: given }, params)
        const markdown = { ...params, values: "markdown" } as const
        const again = yield* Node.run(cleanShareGpt, { rows: once.out.rows }, markdown)
        const gone = new Set(again.refused.map(({ row }) => row))
        for (const { reason } of again.refused) expect(reason).toMatch(secondPass)
        expect(again.out.rows).toEqual(once.out.rows.filter((_, i) => !gone.has(i)))
        const thrice = yield* Node.run(cleanShareGpt, { rows: again.out.rows }, markdown)
        expect(thrice).toEqual({ out: again.out, refused: [] })
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("drops the site's notices as they come, and keeps an answer that only begins alike", () =>
    Effect.gen(function* () {
      const notice = "Too many requests in 1 hour. Try again later."
      const replies = [notice, `<p>${notice}</p>`, `<p>!${notice}</p>`, ` ${notice}`, `<div><p>${notice}</p></div>`]
      const answer =
        "<p>Too many requests in 1 hour. Try again later, it says, when the limit of the hour is reached.</p>"
      const given = [...replies, answer].map((value, i) => ({
        id: `n${i}`,
        conversations: [
          { from: "human", value: "What does the site say?" },
          { from: "gpt", value }
        ]
      }))
      const { out, refused } = yield* Node.run(cleanShareGpt, { rows: given }, params)
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual(replies.map((_, i) => [i, "Dropped: SiteNotice"]))
      expect(out.rows.map(({ id }) => id)).toEqual(["n5"])
    })
  )

  it.effect("takes FastChat's notices and least length unless told otherwise", () =>
    Effect.gen(function* () {
      const rows = [
        {
          id: "short",
          conversations: [
            { from: "human", value: "hi" },
            { from: "gpt", value: "yo" }
          ]
        },
        {
          id: "sorry",
          conversations: [
            { from: "human", value: "Are you there?" },
            { from: "gpt", value: "<p>Sorry, busy.</p>" }
          ]
        }
      ]
      expect((yield* Node.run(cleanShareGpt, { rows }, params)).out.rows.map(({ id }) => id)).toEqual(["sorry"])
      const own = { ...params, minCharacters: 4, notices: ["Sorry"] }
      expect((yield* Node.run(cleanShareGpt, { rows }, own)).out.rows.map(({ id }) => id)).toEqual(["short"])
    })
  )

  it("refuses control tokens that cannot be broken up while the recipe is put together", () => {
    const file = source(ShareGptFile, { id: "file", location: "/nowhere.json" }).out.files
    const raw = readShareGpt({ file }, { shardRows: 8 })
    expect(() => cleanShareGpt({ rows: raw.out.rows }, { ...params, specialTokens: ["<a b>"] })).toThrow(WiringError)
    expect(() => readShareGpt.named("again")({ file }, { shardRows: 0 })).toThrow(WiringError)
  })
})
