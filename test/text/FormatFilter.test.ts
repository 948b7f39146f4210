import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import type { Conversation } from "../../src/text/Conversation.ts"
import {
  checkFormat,
  defaultSpecialTokenOptions,
  hasRepeatedDigit,
  hasRestartedList,
  makeSpecialTokenBreaker
} from "../../src/text/FormatFilter.ts"

const pieces = (...of: ReadonlyArray<string>) =>
  Arbitrary.map(Arbitrary.array(Arbitrary.schema(Schema.Literals(of)), { maxLength: 14 }), (parts) => parts.join(""))

const runs = { arbitrary: { runs: 1_000 } }

describe("hasRestartedList", () => {
  it.prop(
    "finds what FastChat's regular expression finds",
    [pieces("\n1. ", "\n", "1. ", "2", "x", "\n2. ")],
    ([text]) => {
      expect(hasRestartedList(text)).toBe(/\n1\. [^2]*\n1\. /.test(text))
    },
    runs
  )

  it("is linear where the regular expression is not", () => {
    // The regular expression would run into the suite's limit here.
    expect(hasRestartedList("\n1. 2".repeat(200_000))).toBe(false)
  })
})

describe("hasRepeatedDigit", () => {
  it("wants the same digit, in a row", () => {
    expect(hasRepeatedDigit("0.999999999", 9)).toBe(true)
    expect(hasRepeatedDigit("0.99999999", 9)).toBe(false)
    expect(hasRepeatedDigit("99999 99999", 9)).toBe(false)
    expect(hasRepeatedDigit("123456789123456789", 9)).toBe(false)
    expect(hasRepeatedDigit("٣٣٣", 3)).toBe(true)
  })

  it.prop(
    "finds what FastChat's regular expression finds",
    [pieces("1", "11", "2", "22", "x", " ")],
    ([text]) => {
      expect(hasRepeatedDigit(text, 4)).toBe(/(\d)\1{3}/.test(text))
    },
    runs
  )
})

describe("checkFormat", () => {
  const conversation = (reply: string): Conversation => ({
    id: "a",
    conversations: [
      { from: "human", value: "How?" },
      { from: "gpt", value: reply }
    ]
  })

  it("says which rule and which turn", () => {
    const list = checkFormat(conversation("So:\n1. Mix\n1. Bake"))
    expect(Result.isFailure(list) && { ...list.failure }).toMatchObject({ reason: "RestartedList", id: "a", turn: 1 })
    const digits = checkFormat(conversation("000000000"), { repeatedDigits: 9 })
    expect(Result.isFailure(digits) && digits.failure.reason).toBe("RepeatedDigits")
  })

  it("drops no digits unless asked", () => {
    expect(Result.isSuccess(checkFormat(conversation("000000000")))).toBe(true)
  })
})

describe("makeSpecialTokenBreaker", () => {
  const breakTokens = Result.getOrThrow(makeSpecialTokenBreaker())
  const { tokens } = defaultSpecialTokenOptions

  it("breaks each token after its first character", () => {
    expect(breakTokens("a <image> b<|endoftext|><pad>")).toBe("a < image> b< |endoftext|>< pad>")
  })

  it("breaks tokens that overlap", () => {
    const result = Result.getOrThrow(makeSpecialTokenBreaker({ tokens: ["abab", "ba"], separator: "-" }))
    expect(result("ababab")).toBe("a-b-a-b-ab")
  })

  it.prop(
    "leaves no token, changes nothing else, and is idempotent",
    [pieces("<", "|", "endoftext", "|>", "<|endoftext|>", "image", ">", "<image>", "<pad>", " ", "x")],
    ([text]) => {
      const broken = breakTokens(text)
      expect(tokens.some((token) => broken.includes(token))).toBe(false)
      expect(breakTokens(broken)).toBe(broken)
      expect(broken.replaceAll(" ", "")).toBe(text.replaceAll(" ", ""))
      if (!tokens.some((token) => text.includes(token))) expect(broken).toBe(text)
    },
    runs
  )

  it.each([
    [["<image>"], ""],
    [["<"], " "],
    [["<im age>"], " "],
    [["<image>"], "<"]
  ])("refuses options that could leave a token: %j %j", (bad, separator) => {
    expect(Result.isFailure(makeSpecialTokenBreaker({ tokens: bad, separator }))).toBe(true)
  })
})
