/** The exported chat template writes what training has seen, in transformers as here, and refuses the rest. */

import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Template } from "@huggingface/jinja"
import { Effect, Result, Schema } from "effect"
import { chatTemplate } from "../../src/nodes/ChatTemplate.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import type { ConversationTurn } from "../../src/text/Conversation.ts"
import { promptFor, render, tokenizeExample } from "../../src/text/Template.ts"

const Part = Schema.Struct({ type: Schema.String, text: Schema.optional(Schema.String) })
const Message = Schema.Struct({ role: Schema.String, content: Schema.Unknown })
const Fixture = Schema.Struct({
  template: Schema.String,
  cases: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      messages: Schema.Array(Message),
      text: Schema.optional(Schema.String),
      prompt: Schema.optional(Schema.String),
      error: Schema.optional(Schema.String),
      ids: Schema.optional(Schema.Array(Schema.Int)),
      mask: Schema.optional(Schema.Array(Schema.Int))
    })
  )
})
const fixture = Schema.decodeUnknownSync(Fixture)(
  JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/chat-template.json"), "utf8"))
)
const tokenizerFile = join(import.meta.dirname, "fixtures/chat-tokenizer.json")
const jinja = new Template(chatTemplate)
const written = (messages: ReadonlyArray<unknown>, add_generation_prompt = false): string =>
  jinja.render({
    messages: [...messages],
    add_generation_prompt
  })

type Message = typeof Message.Type
const parts = ({ content }: Message): ReadonlyArray<typeof Part.Type> =>
  typeof content === "string"
    ? [{ type: "text", text: content }]
    : Schema.decodeUnknownSync(Schema.Array(Part))(content)
const hasPicture = (message: Message) =>
  parts(message).some(({ text, type }) => type === "image" || text?.includes("<image>"))

/** Messages as the training data has them. */
const turnsOf = (messages: ReadonlyArray<Message>): ReadonlyArray<ConversationTurn> =>
  messages.map((message) => ({
    from: message.role === "user" ? ("human" as const) : ("gpt" as const),
    value: parts(message)
      .map(({ text }) => text ?? "")
      .join("")
  }))

const IMAGE_ID = 7
const ours = Effect.fnUntraced(function* (messages: ReadonlyArray<Message>) {
  const tokenizer = yield* loadTokenizer({ path: tokenizerFile })
  const options = {
    template: "v1",
    imageTokens: 1,
    imageTokenId: tokenizer.tokenToId("<image>") ?? IMAGE_ID,
    eosId: tokenizer.tokenToId("<|endoftext|>")!
  } as const
  const conversation = { turns: turnsOf(messages), image: messages.some(hasPicture) }
  return { conversation, options, tokenizer }
})

it("the outputs that are compared are of this template", () => {
  expect(fixture.template, "run scripts/chat_template.py again").toBe(chatTemplate)
})

for (const { error, ids, mask, messages, name, prompt, text } of fixture.cases)
  describe(name, () => {
    if (error !== undefined) {
      it("is refused, with the reason that transformers gives", () => {
        // transformers itself refuses an empty list; here it is a prompt of nothing but the system's text.
        if (messages.length > 0) expect(() => written(messages)).toThrow(error)
        else expect(error).toContain("empty conversation")
      })
      return
    }
    it("gives the text that transformers gives", () => {
      expect(written(messages)).toBe(text)
      expect(written(messages, true)).toBe(prompt)
    })

    if (messages[0]?.role !== "system")
      it.effect("gives the text and the tokens that training has seen", () =>
        Effect.gen(function* () {
          const { conversation, options, tokenizer } = yield* ours(messages)
          if (ids === undefined) {
            const made = Result.getOrThrow(promptFor(tokenizer, conversation, options))
            expect(prompt).toBe(made.text)
            return
          }
          expect(text).toBe(Result.getOrThrow(render(conversation, "v1")).text)
          const example = Result.getOrThrow(tokenizeExample(tokenizer, conversation, { ...options, maxTokens: 4096 }))
          expect([...example.ids]).toEqual(ids)
          expect([...example.labels].map((label) => (label === -100 ? 0 : 1))).toEqual(mask)
        })
      )
  })

const Words = Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(20))
const Said = Schema.Struct({ question: Words, answer: Words, split: Schema.Boolean })

it.effect.prop(
  "any conversation, in text or in parts, with an image or without, is written as training renders it",
  [Schema.NonEmptyArray(Said), Schema.Boolean],
  ([said, image]) =>
    Effect.sync(() => {
      const safe = (value: string) => value.replaceAll("<image>", "image")
      const content = (value: string, split: boolean) =>
        split
          ? [
              { type: "text", text: value.slice(0, 1) },
              { type: "text", text: value.slice(1) }
            ]
          : value
      const messages = said.flatMap(({ answer, question, split }, i) => [
        {
          role: "user",
          content:
            image && i === 0
              ? [{ type: "image" }, { type: "text", text: safe(question) }]
              : content(safe(question), split)
        },
        { role: "assistant", content: content(safe(answer), split) }
      ])
      const turns = said.flatMap(
        ({ answer, question }): ReadonlyArray<ConversationTurn> => [
          { from: "human", value: safe(question) },
          { from: "gpt", value: safe(answer) }
        ]
      )
      expect(written(messages)).toBe(Result.getOrThrow(render({ turns, image }, "v1")).text)
    })
)

it.effect.prop("a message of any role but the three is refused by its name", [Schema.String], ([name]) =>
  Effect.sync(() => {
    const role = `role_${name}`
    expect(() => written([{ role, content: "x" }])).toThrow(`a message of ${role} cannot stand here`)
    expect(() =>
      written([
        { role: "user", content: "x" },
        { role, content: "x" }
      ])
    ).toThrow(role)
  })
)
