import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import type { Conversation } from "../../src/text/Conversation.ts"
import {
  checkDigits,
  checkLists,
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

describe("checkLists and checkDigits", () => {
  const conversation = (reply: string): Conversation => ({
    id: "a",
    conversations: [
      { from: "human", value: "How?" },
      { from: "gpt", value: reply }
    ]
  })

  it("says which rule and which turn", () => {
    const list = checkLists(conversation("So:\n1. Mix\n1. Bake"))
    expect(Result.isFailure(list) && { ...list.failure }).toMatchObject({ reason: "RestartedList", id: "a", turn: 1 })
    const digits = checkDigits(9)(conversation("000000000"))
    expect(Result.isFailure(digits) && digits.failure.reason).toBe("RepeatedDigits")
  })

  it("pass a conversation on as it is", () => {
    const kept = conversation("So:\n1. Mix\n2. Bake 00000000")
    expect(Result.getOrThrow(checkLists(kept))).toBe(kept)
    expect(Result.getOrThrow(checkDigits(9)(kept))).toBe(kept)
  })
})

describe("makeSpecialTokenBreaker", () => {
  const tokens = ["<|endoftext|>", "<image>", "<pad>"]
  const breakTokens = Result.getOrThrow(makeSpecialTokenBreaker(tokens))

  it("breaks each token after its first character", () => {
    expect(breakTokens("a <image> b<|endoftext|><pad>")).toBe("a < image> b< |endoftext|>< pad>")
  })

  it("breaks tokens that overlap", () => {
    const result = Result.getOrThrow(makeSpecialTokenBreaker(["abab", "ba"]))
    expect(result("ababab")).toBe("a b a b ab")
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

  it.each([[["<"]], [[""]], [["<im age>"]], [["<image>", "😀"]]])("refuses tokens that could be left: %j", (bad) => {
    expect(Result.isFailure(makeSpecialTokenBreaker(bad))).toBe(true)
  })
})
