import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import type { ConversationTurn } from "../../src/text/Conversation.ts"
import {
  type BadExample,
  END_MARK,
  NO_LOSS,
  promptFor,
  render,
  type TemplateInput,
  tokenizeExample,
  VICUNA_SYSTEM
} from "../../src/text/Template.ts"
import { LLAVA_TOKENS, phi2 } from "../../src/text/Tokenizer.ts"

const tokenizer = phi2({ extra: LLAVA_TOKENS })
const base = { imageTokens: 4, imageTokenId: 50295, eosId: 50256, maxTokens: 100_000 } as const
const v1 = { ...base, template: "v1" } as const
const plain = { ...base, template: "plain" } as const

const talk = (image: boolean, ...values: ReadonlyArray<string>): TemplateInput => ({
  image,
  turns: values.map((value, i): ConversationTurn => ({ from: i % 2 === 0 ? "human" : "gpt", value }))
})

const Piece = Schema.Union([
  Schema.Literals([" ", "  ", "\n", "\t", "Hello", " world", "ASSISTANT:", "<|endoftext|>", "<image>", "😀", "é", "."]),
  Schema.String
])
const text = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Piece), { maxLength: 8 }), (parts) =>
  parts.join("").toWellFormed()
)
const answer = Arbitrary.filter(text, (value) => value.length > 0)
const pairs = Arbitrary.array(Arbitrary.all([text, answer]), { minLength: 1, maxLength: 4 })

const get = <A>(result: Result.Result<A, BadExample>): A => Result.getOrThrow(result)
const reason = (result: Result.Result<unknown, BadExample>): string | undefined =>
  Result.isFailure(result) ? result.failure.reason : undefined

/** Runs of consecutive labelled ids. */
const learnedRuns = (labels: Int32Array): ReadonlyArray<ReadonlyArray<number>> => {
  const runs: Array<Array<number>> = []
  for (const [i, label] of labels.entries()) {
    if (label === NO_LOSS) continue
    if (i === 0 || labels[i - 1] === NO_LOSS) runs.push([])
    runs.at(-1)!.push(label)
  }
  return runs
}

describe("v1", () => {
  it("is Vicuna's prompt to the letter", () => {
    const { text } = get(render(talk(false, "Hi", "Hello.", "Bye", "See you"), "v1"))
    expect(text).toBe(
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, " +
        "and polite answers to the user's questions. USER: Hi ASSISTANT: Hello.<|endoftext|>USER: Bye ASSISTANT: " +
        "See you<|endoftext|>"
    )
  })

  it("moves the image to the front of the first question, from wherever its mark is", () => {
    for (const first of ["<image>\nWhat?", "What?\n<image>", "What?"]) {
      const { text } = get(render(talk(true, first, "A dog."), "v1"))
      expect(text).toBe(`${VICUNA_SYSTEM} USER: <image>\nWhat? ASSISTANT: A dog.<|endoftext|>`)
    }
  })

  it.prop("puts loss on the answers and their ends, and on nothing else", [pairs], ([turns]) => {
    const { ids, labels, truncated } = get(tokenizeExample(tokenizer, talk(false, ...turns.flat()), v1))
    expect(truncated).toBe(false)
    const runs = learnedRuns(labels)
    expect(runs.length).toBe(turns.length)
    for (const [i, run] of runs.entries()) {
      expect(run.at(-1)).toBe(50256)
      // The space behind `ASSISTANT:` is the model's to write, whether or not it is part of the answer's first token.
      expect(tokenizer.decode(run.slice(0, -1))).toBe(` ${turns[i]![1]}`)
    }
    for (const [i, label] of labels.entries()) if (label !== NO_LOSS) expect(label).toBe(ids[i])
    expect(ids.filter((id) => id === 50256).length).toBe(turns.length)
    expect(ids.includes(50295)).toBe(false)
  })

  it.prop("says the same text to the model as it renders", [pairs], ([turns]) => {
    const conversation = talk(false, ...turns.flat())
    const { ids } = get(tokenizeExample(tokenizer, conversation, v1))
    expect(tokenizer.decode(ids)).toBe(get(render(conversation, "v1")).text)
  })

  it("gives the ids that the whole text has with control tokens read from it", () => {
    const conversation = talk(true, "<image>\nWhat is  it?", "A dog.\n\nReally.", "Sure?", " Yes")
    const { ids, imageAt } = get(tokenizeExample(tokenizer, conversation, { ...v1, imageTokens: 1 }))
    const { text } = get(render(conversation, "v1"))
    expect(ids).toEqual(tokenizer.encode(text, { allowSpecial: "all" }))
    expect(ids[imageAt]).toBe(50295)
  })
})

describe("plain", () => {
  it("is image, caption and newline, with loss on the caption and its newline and no end of text", () => {
    const { ids, imageAt, labels } = get(tokenizeExample(tokenizer, talk(true, "Describe.\n<image>", "a cat"), plain))
    expect(imageAt).toBe(0)
    expect([...ids]).toEqual([50295, 50295, 50295, 50295, ...tokenizer.encode("a cat\n")])
    expect([...labels]).toEqual([NO_LOSS, NO_LOSS, NO_LOSS, NO_LOSS, ...tokenizer.encode("a cat\n")])
  })
})

describe("the cut", () => {
  it.prop("comes after the image is expanded, and is said", [pairs, Schema.Int], ([turns, draw]) => {
    const conversation = talk(true, ...turns.flat())
    const whole = get(tokenizeExample(tokenizer, conversation, v1))
    const maxTokens = 1 + (Math.abs(draw) % (whole.ids.length + 3))
    const result = tokenizeExample(tokenizer, conversation, { ...v1, maxTokens })
    if (Result.isFailure(result)) {
      const imageCut = whole.imageAt + 4 > maxTokens
      expect(result.failure.reason).toBe(imageCut ? "ImageDoesNotFit" : "NothingToLearn")
      return
    }
    const { fullLength, ids, labels, truncated } = result.success
    expect(truncated).toBe(whole.ids.length > maxTokens)
    expect(fullLength).toBe(whole.ids.length)
    expect(ids).toEqual(whole.ids.slice(0, maxTokens))
    expect(labels).toEqual(whole.labels.slice(0, maxTokens))
  })
})

describe("a bad conversation", () => {
  it("is refused with its reason", () => {
    const tried = (conversation: TemplateInput) => reason(tokenizeExample(tokenizer, conversation, v1))
    expect(tried(talk(false))).toBe("RolesOutOfOrder")
    expect(tried(talk(false, "Hi"))).toBe("RolesOutOfOrder")
    expect(tried({ image: false, turns: [{ from: "gpt", value: "Hi" }] })).toBe("RolesOutOfOrder")
    expect(tried(talk(false, "Hi", ""))).toBe("EmptyAnswer")
    expect(tried(talk(false, "", "Hi"))).toBe(undefined)
  })
})

describe("promptFor", () => {
  it("ends where the model is to speak", () => {
    const { ids, imageAt, text } = get(promptFor(tokenizer, talk(true, "What?", "A dog.", "Sure? <image>"), v1))
    expect(text).toBe(`${VICUNA_SYSTEM} USER: <image>\nWhat? ASSISTANT: A dog.${END_MARK}USER: Sure? ASSISTANT:`)
    expect([...ids.slice(imageAt, imageAt + 4)]).toEqual([50295, 50295, 50295, 50295])
    expect(reason(promptFor(tokenizer, talk(false, "Hi", "Hello"), v1))).toBe("RolesOutOfOrder")
  })

  it.prop(
    "leads to each answer: all that follows it up to the end carries loss, white space too",
    [pairs],
    ([turns]) => {
      const { ids, labels } = get(tokenizeExample(tokenizer, talk(false, ...turns.flat()), v1))
      for (const i of turns.keys()) {
        const asked = turns.flat().slice(0, 2 * i + 1)
        const prompt = get(promptFor(tokenizer, talk(false, ...asked), v1)).ids
        expect(ids.slice(0, prompt.length)).toEqual(prompt)
        const end = ids.indexOf(50256, prompt.length)
        expect(labels.slice(prompt.length, end + 1)).toEqual(ids.slice(prompt.length, end + 1))
      }
    }
  )

  it("gives loss to the space before an answer that begins with white space, as a token of its own", () => {
    for (const value of ["\nYes.", "\tx", "\u00a0Yes.", "\r\n"]) {
      const { ids, labels } = get(tokenizeExample(tokenizer, talk(false, "Hi", value), v1))
      const first = labels.findIndex((label) => label !== NO_LOSS)
      expect([value, tokenizer.decode([ids[first]!])]).toEqual([value, " "])
    }
  })

  it("is a prefix of the example it leads to", () => {
    const prompt = get(promptFor(tokenizer, talk(true, "What?"), v1)).ids
    const { ids, labels } = get(tokenizeExample(tokenizer, talk(true, "What?", "A dog."), v1))
    expect(ids.slice(0, prompt.length)).toEqual(prompt)
    expect(labels.findIndex((label) => label !== NO_LOSS)).toBe(prompt.length)
  })
})
