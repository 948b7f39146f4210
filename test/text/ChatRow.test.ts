/**
 * One reader for the chat formats in use: the same talk in any of them is the same row, and the rest is refused by
 * name.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { type Row, readChat } from "../../src/text/ChatRow.ts"

const turns = Arbitrary.array(
  Arbitrary.all([Arbitrary.schema(Schema.Literals(["human", "gpt", "system"])), Arbitrary.schema(Schema.String)]),
  { minLength: 1, maxLength: 6 }
)
const OPENAI = { human: "user", gpt: "assistant", system: "system" } as const

describe("readChat", () => {
  it.prop("gives the same turns for every spelling of a conversation", [turns], ([turns]) => {
    const expected = turns.map(([from, value]) => ({ from, value }))
    const openAi = turns.map(([from, value]) => ({ role: OPENAI[from], content: value }))
    const spellings: ReadonlyArray<Row> = [
      { conversations: expected },
      { conversations: turns.map(([from, value]) => ({ from: OPENAI[from], value })) },
      { messages: openAi },
      { conversation: openAi, messages: null },
      { messages: turns.map(([from, value]) => ({ role: OPENAI[from], content: [{ type: "text", text: value }] })) },
      { messages: openAi.map((turn) => ({ ...turn, tool_calls: null, weight: turn.role === "assistant" ? 1 : null })) },
      {
        conversations: {
          from: turns.map(([from]) => from),
          value: turns.map(([, value]) => value)
        }
      }
    ]
    for (const row of spellings) {
      expect(readChat(row)).toEqual(Result.succeed({ turns: expected, images: [] }))
    }
  })

  it.prop("parts are their text, and a picture among them is a mark and a picture of the row", [turns], ([turns]) => {
    const messages = turns.map(([from, value]) => ({
      role: OPENAI[from],
      content: [{ type: "image", image: "a.jpg" }, { type: "text", text: value }, "."]
    }))
    expect(readChat({ messages })).toEqual(
      Result.succeed({
        turns: turns.map(([from, value]) => ({ from, value: `<image>\n${value}.` })),
        images: turns.map(() => ({ path: "a.jpg" }))
      })
    )
  })

  const says = (turn: object): Row => ({ messages: [{ role: "user", content: "Hi" }, turn] })
  const refused: ReadonlyArray<readonly [string, Row, string, string]> = [
    ["a tool's role", says({ role: "tool", content: "{}" }), "role", '"tool"'],
    ["a function's role", says({ role: "function", content: "{}" }), "role", '"function"'],
    ["a name of a model for a role", { conversations: [{ from: "bing", value: "Hi" }] }, "role", '"bing"'],
    ["a role of Object's own", says({ role: "toString", content: "x" }), "role", '"toString"'],
    ["calls", says({ role: "assistant", content: "", tool_calls: [{ name: "f" }] }), "tools", "tool_calls"],
    ["tools of the row", { ...says({ role: "assistant", content: "x" }), tools: '[{"name":"f"}]' }, "tools", "tools"],
    ["an answer without loss", says({ role: "assistant", content: "x", weight: 0 }), "loss", "weight 0"],
    ["a question with loss", says({ role: "user", content: "x", train: true }), "loss", "train true"],
    [
      "a weight by another name",
      says({ role: "assistant", content: "x", loss_weight: 0 }),
      "turn-key",
      "loss_weight 0"
    ],
    ["reasoning beside the answer", says({ role: "assistant", content: "x", thinking: "y" }), "turn-key", "thinking"],
    ["a video part", says({ role: "user", content: [{ type: "video", video: "a.mp4" }] }), "part", '"video"'],
    [
      "a sound part",
      says({ role: "user", content: [{ type: "input_audio", input_audio: {} }] }),
      "part",
      "input_audio"
    ],
    [
      "an image at an address",
      says({ role: "user", content: [{ type: "image_url", image_url: { url: "https://x.org/a.png" } }] }),
      "media",
      "address"
    ],
    ["media beside a turn's text", says({ role: "user", content: "x", images: ["a.jpg"] }), "media", "image"],
    ["a turn with a film", says({ role: "user", content: "x", clip: "a.mp4" }), "media", "clip"],
    ["no list", { text: "Hi" }, "shape", "conversations"],
    ["two lists", { messages: [], conversations: [] }, "shape", "differ"],
    ["two texts", says({ role: "user", content: "a", value: "b" }), "shape", "differ"],
    ["no text", says({ role: "assistant", content: null }), "shape", "null"],
    ["a turn that is none", { messages: ["Hi"] }, "shape", "Hi"],
    ["columns of other lengths", { conversations: { from: ["human"], value: [] } }, "shape", "no list"]
  ]
  for (const [what, row, reason, names] of refused)
    it(`refuses ${what} by name`, () => {
      const result = readChat(row)
      expect(Result.isFailure(result) && result.failure.reason).toBe(reason)
      expect(Result.isFailure(result) && result.failure.message).toContain(names)
      expect(Result.isFailure(result) && result.failure.hint).not.toBe("")
    })

  it("takes facts about a turn, and keys that are named in ignore", () => {
    const turn = { role: "user", content: "Hi", name: "bob", timestamp: 3, markdown: "Hi", refusal: null, mask: 1 }
    expect(readChat({ messages: [turn] }, ["mask"])).toEqual(
      Result.succeed({ turns: [{ from: "human", value: "Hi" }], images: [] })
    )
    expect(readChat({ messages: [turn] })._tag).toBe("Failure")
  })

  it("a system beside the list is its first turn", () => {
    const messages = [{ role: "user", content: "Hi" }]
    const read = (row: Row) => Result.map(readChat(row), ({ turns }) => turns.map(({ from, value }) => [from, value]))
    const expected = Result.succeed([
      ["system", "Be brief."],
      ["human", "Hi"]
    ])
    expect(read({ system: "Be brief.", messages })).toEqual(expected)
    expect(read({ system: "", messages: [{ role: "system", content: "Be brief." }, ...messages] })).toEqual(expected)
    const other = read({ system: "Be long.", messages: [{ role: "system", content: "Be brief." }, ...messages] })
    expect(Result.isFailure(other) && other.failure.reason).toBe("shape")
  })
})
