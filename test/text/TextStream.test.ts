/** Streamed text is the text of all ids, cut before the first stop text; no character is ever given out in halves. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { textStream } from "../../src/text/TextStream.ts"
import { LLAVA_TOKENS, phi2 } from "../../src/text/Tokenizer.ts"

const tokenizer = phi2({ extra: LLAVA_TOKENS })
const end = 50256

const streamed = (ids: Iterable<number>, stops: ReadonlyArray<string> = []) => {
  const text = textStream(tokenizer, stops)
  const pieces: Array<string> = []
  for (const id of ids) {
    if (text.stopped()) break
    pieces.push(text.push(id))
  }
  pieces.push(text.end())
  return { pieces, text: pieces.join(""), stopped: text.stopped() }
}

/** The definition: the stop text that ends first, the longest of those. */
const cutBefore = (text: string, stops: ReadonlyArray<string>): string => {
  for (let at = 0; at <= text.length; at++) {
    const found = stops.filter((stop) => stop !== "" && text.slice(0, at).endsWith(stop))
    if (found.length > 0) return text.slice(0, at - Math.max(...found.map((stop) => stop.length)))
  }
  return text
}

const id = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50300 }))
const ids = Schema.Array(id)
/** Few letters, so that stop texts and beginnings of them are everywhere. */
const letters = (maxLength: number) =>
  Arbitrary.map(
    Arbitrary.array(Arbitrary.schema(Schema.Literals(["a", "b", "c", "é", "😀", "\n"])), { maxLength }),
    (parts) => parts.join("")
  )
/** A text as single bytes: the borders of tokens where they hurt most. */
const bytesOf = (text: string): ReadonlyArray<number> => {
  const byte = new Map<number, number>()
  for (let one = 0; one < 256; one++) byte.set(tokenizer.bytesOf(one)[0]!, one)
  return [...new TextEncoder().encode(text)].map((code) => byte.get(code)!)
}

describe("textStream", () => {
  it.prop("any ids: the pieces joined are decode of the whole", [ids], ([ids]) => {
    expect(streamed(ids).text).toBe(tokenizer.decode(ids, { skipSpecial: true }))
  })

  it.prop("text in bytes: every piece is whole characters", [letters(40)], ([text]) => {
    const { pieces } = streamed(bytesOf(text))
    expect(pieces.join("")).toBe(text)
    for (const piece of pieces) expect(piece.isWellFormed() && !piece.includes("\ufffd")).toBe(true)
  })

  it.prop(
    "nothing is given out from a stop text on, wherever tokens end",
    [letters(40), Arbitrary.array(letters(4), { maxLength: 3 })],
    ([text, stops]) => {
      const expected = cutBefore(text, stops)
      for (const ids of [bytesOf(text), tokenizer.encode(text)]) {
        const got = streamed(ids, stops)
        expect(got.text).toBe(expected)
        expect(got.stopped).toBe(expected !== text)
      }
    }
  )

  it("holds back no more than may become a stop text", () => {
    const text = textStream(tokenizer, ["\nUSER:"])
    const pieces = bytesOf("Hi\nUS!\nUSER: no").map((id) => text.push(id))
    expect(pieces).toEqual(["H", "i", "", "", "", "\nUS!", "", "", "", "", "", "", "", "", ""])
    expect([text.stopped(), text.end()]).toEqual([true, ""])
  })

  it("what was held back comes at the end, an unfinished character as U+FFFD", () => {
    expect(streamed(bytesOf("a\nUS"), ["\nUSER:"])).toEqual({
      pieces: ["a", "", "", "", "\nUS"],
      text: "a\nUS",
      stopped: false
    })
    expect(streamed(bytesOf("😀").slice(0, 2)).text).toBe("\ufffd")
  })

  it("control tokens give no text", () => {
    expect(streamed([...tokenizer.encode("yes"), end, LLAVA_TOKENS["<image>"]]).text).toBe("yes")
  })
})

describe("bytesOf", () => {
  it("the bytes of ids joined are decode's, and an id without a token has none", () => {
    const ids = tokenizer.encode("naïve 😀 text")
    const bytes = [...ids].flatMap((id) => [...tokenizer.bytesOf(id)])
    expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(tokenizer.decode(ids))
    expect(tokenizer.bytesOf(51_199).length).toBe(0)
    expect(tokenizer.bytesOf(end).length).toBe("<|endoftext|>".length)
    expect(tokenizer.bytesOf(end, { skipSpecial: true }).length).toBe(0)
  })
})
