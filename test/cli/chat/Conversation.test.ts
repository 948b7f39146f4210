/** A conversation holds what was said and answered; a typed line means one thing. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { ask, fresh, readLine } from "../../../src/cli/chat/Conversation.ts"
import { settings, wordModel } from "./support.ts"

const silent = { write: () => undefined, stop: () => false }

describe("ask", () => {
  it.effect("the next question comes with all that was said, and its answer has a number of its own", () =>
    Effect.gen(function* () {
      const model = wordModel(["A ", "", "mill. ", ""])
      const pieces: Array<string> = []
      const listener = { ...silent, write: (text: string) => pieces.push(text) }
      const first = yield* ask(model, fresh("p"), "What is it?", settings, listener)
      expect(first.answer).toMatchObject({ prompt: "What is it?", answer: "A mill.", tokens: 4, stopped: "end" })
      expect(pieces).toEqual(["A ", "mill. "])
      const second = yield* ask(model, first.next, "And now?", settings, silent)
      expect(model.asked).toEqual([
        { turns: [{ from: "human", value: "What is it?" }], picture: "p", number: 0 },
        {
          turns: [
            { from: "human", value: "What is it?" },
            { from: "gpt", value: "A mill." },
            { from: "human", value: "And now?" }
          ],
          picture: "p",
          number: 1
        }
      ])
      expect(second.next.turns.length).toBe(4)
    })
  )

  it.effect("an answer that is stopped ends there, and what was said of it is kept", () =>
    Effect.gen(function* () {
      let words = 0
      const listener = { write: () => undefined, stop: () => ++words === 2 }
      const { answer, next } = yield* ask(wordModel(["one ", "two ", "three"]), fresh(), "Count", settings, listener)
      expect(answer).toMatchObject({ answer: "one two", tokens: 2, stopped: "interrupted" })
      expect(next.turns.at(-1)).toEqual({ from: "gpt", value: "one two" })
    })
  )

  it.effect("an answer without text is not kept, and its number is used up", () =>
    Effect.gen(function* () {
      const { answer, next } = yield* ask(wordModel([" ", "\n"]), fresh(), "Hm?", settings, silent)
      expect([answer.answer, next.turns, next.answers]).toEqual(["", [], 1])
    })
  )
})

describe("readLine", () => {
  it("commands, their aliases, and questions that begin with a slash", () => {
    expect(readLine("  /image  a b.png ")).toEqual({ kind: "image", path: "a b.png" })
    expect(readLine("/image 'a b.png'")).toEqual({ kind: "image", path: "a b.png" })
    expect(readLine("/image")).toEqual({ kind: "image", path: "" })
    expect(["/reset", "/help", "/exit", "/quit", " "].map((line) => readLine(line).kind)).toEqual([
      "reset",
      "help",
      "leave",
      "leave",
      "nothing"
    ])
    expect(readLine("/imag x")).toEqual({ kind: "unknown", command: "/imag" })
    expect(readLine("//etc?")).toEqual({ kind: "question", text: "/etc?" })
  })

  it.prop("what does not begin with a slash is a question, as typed", [Schema.String], ([text]) => {
    const line = readLine(`x${text}`)
    expect(line).toEqual({ kind: "question", text: `x${text}`.trim() })
  })
})
