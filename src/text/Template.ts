/**
 * Conversation formats: which text a model sees, and which characters of it carry loss.
 *
 * Not a cleaner and no packer. Loss is decided by character offsets and lengths, never by comparing ids: Phi-2's end of
 * text is its padding too. The space before an answer carries loss: a prompt ends with `ASSISTANT:`, so the model has
 * to write it. Mostly it is part of the answer's first token; before white space it is a token of its own.
 *
 * Shapes: T tokens. `ids_T` i32, `labels_T` i32 (-100 = no loss; aligned with ids, the loss shifts them by one).
 * Spans are UTF-16 code units.
 *
 * Source: Vicuna v1.1 (FastChat's two-separator style) and LLaVA's `plain` pretraining format.
 */
import { Result, Schema } from "effect"
import type { ConversationTurn } from "./Conversation.ts"
import type { Tokenizer } from "./Tokenizer.ts"

/**
 * What is rendered: turns that alternate from `human` to `gpt`, and whether an image belongs to them. `<image>` in a
 * human value marks its place.
 */
export interface TemplateInput {
  readonly turns: ReadonlyArray<ConversationTurn>
  readonly image: boolean
}

/** `v1`: Vicuna v1.1 with questions and answers. `plain`: image, caption and newline; the question is discarded. */
export type TemplateName = "v1" | "plain"

/** Label of a token that carries no loss. */
export const NO_LOSS = -100

/** The text that marks an image in the data. */
export const IMAGE_MARK = "<image>"

/**
 * How often a text has the mark of an image.
 *
 * @example
 * marksIn("<image>\nWhat is it?") // 1
 */
export const marksIn = (text: string): number => text.split(IMAGE_MARK).length - 1

/** The end of text as it is shown in rendered prompts; in ids it is `eosId`. */
export const END_MARK = "<|endoftext|>"

/** Vicuna v1.1's system prompt. */
export const VICUNA_SYSTEM =
  "A chat between a curious user and an artificial intelligence assistant. " +
  "The assistant gives helpful, detailed, and polite answers to the user's questions."

/** A conversation that cannot become a training example. */
export class BadExample extends Schema.TaggedError<BadExample>()("BadExample", {
  reason: Schema.Literals(["RolesOutOfOrder", "EmptyAnswer", "ImageDoesNotFit", "NothingToLearn"]),
  message: Schema.String,
  hint: Schema.String
}) {}

/** [start, end) in code units. */
export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * A rendered conversation. `loss`: spans that carry loss, ascending. `controls`: where `text` shows a mark that stands
 * for a control token; the same characters anywhere else are ordinary text.
 */
export interface Rendered {
  readonly text: string
  readonly loss: ReadonlyArray<Span>
  readonly controls: ReadonlyArray<Span & { readonly kind: "image" | "end" }>
}

/** Appends text and remembers what it is. */
const writer = () => {
  let text = ""
  const loss: Array<Span> = []
  const controls: Array<Span & { readonly kind: "image" | "end" }> = []
  const plain = (part: string): void => {
    text += part
  }
  const control = (kind: "image" | "end"): void => {
    const start = text.length
    text += kind === "image" ? IMAGE_MARK : END_MARK
    controls.push({ start, end: text.length, kind })
  }
  /** Everything that `write` appends carries loss. */
  const learned = (write: () => void): void => {
    const start = text.length
    write()
    loss.push({ start, end: text.length })
  }
  return { plain, control, learned, done: (): Rendered => ({ text, loss, controls }) }
}

/** Questions as LLaVA writes them: with an image, the mark is taken out and the text trimmed. */
const question = (value: string, image: boolean): string =>
  image && value.includes(IMAGE_MARK) ? value.replaceAll(IMAGE_MARK, "").trim() : value

const fail = (reason: BadExample["reason"], message: string, hint: string): Result.Result<never, BadExample> =>
  Result.fail(new BadExample({ reason, message, hint }))

const checkRoles = (turns: ReadonlyArray<ConversationTurn>, needsAnswer: boolean): Result.Result<void, BadExample> => {
  const misplaced = turns.findIndex(({ from }, i) => from !== (i % 2 === 0 ? "human" : "gpt"))
  if (misplaced >= 0) {
    return fail(
      "RolesOutOfOrder",
      `turn ${misplaced} is from ${turns[misplaced]!.from}, out of order`,
      "Turns must alternate human, gpt, human, ...; clean the conversation first."
    )
  }
  if (turns.length === 0 || (turns.length % 2 === 1) === needsAnswer) {
    return fail(
      "RolesOutOfOrder",
      `${turns.length} turns, the last ${needsAnswer ? "is not an answer" : "is not a question"}`,
      needsAnswer ? "Drop the trailing question." : "A prompt ends with the question to answer."
    )
  }
  const empty = turns.findIndex(({ from, value }) => from === "gpt" && value.length === 0)
  return empty < 0
    ? Result.succeed(undefined)
    : fail("EmptyAnswer", `turn ${empty} is an empty answer`, "Truncate the conversation before it.")
}

const renderVicuna = ({ image, turns }: TemplateInput): Rendered => {
  const { control, done, learned, plain } = writer()
  plain(`${VICUNA_SYSTEM} `)
  for (const [i, turn] of turns.entries()) {
    if (turn.from === "gpt") {
      plain("ASSISTANT:")
      learned(() => {
        plain(` ${turn.value}`)
        control("end")
      })
      continue
    }
    const text = question(turn.value, image)
    plain("USER: ")
    if (image && i === 0) {
      control("image")
      if (text.length > 0) plain("\n")
    }
    plain(`${text} `)
  }
  if (turns.length % 2 === 1) plain("ASSISTANT:")
  return done()
}

const renderPlain = ({ image, turns }: TemplateInput): Rendered => {
  const { control, done, learned, plain } = writer()
  if (image) control("image")
  for (const turn of turns) if (turn.from === "gpt") learned(() => plain(`${turn.value}\n`))
  return done()
}

const RENDER: Readonly<Record<TemplateName, (conversation: TemplateInput) => Rendered>> = {
  v1: renderVicuna,
  plain: renderPlain
}

/**
 * Renders a whole conversation: text, spans with loss (answers and their end in `v1`, caption and newline in `plain`)
 * and control tokens. With an image its mark moves to the front of the first question.
 *
 * Fails with `BadExample` when roles do not alternate from a question to an answer, or an answer is empty.
 *
 * @example
 * render({ turns: [{ from: "human", value: "Hi" }, { from: "gpt", value: "Hello" }], image: false }, "v1")
 */
export const render = (conversation: TemplateInput, template: TemplateName): Result.Result<Rendered, BadExample> =>
  Result.map(checkRoles(conversation.turns, true), () => RENDER[template](conversation))

/** How text becomes ids. `imageTokens` placeholders stand for one image (576 for CLIP ViT-L/14 at 336 px). */
export interface TokenizeOptions {
  readonly template: TemplateName
  readonly imageTokens: number
  readonly imageTokenId: number
  readonly eosId: number
}

/** A tokenised example of T tokens. */
export interface Example {
  readonly ids: Int32Array<ArrayBuffer>
  /** -100 = no loss. */
  readonly labels: Int32Array<ArrayBuffer>
  /** Position of the first image placeholder, or -1. */
  readonly imageAt: number
  /** Whether `maxTokens` cut anything off. */
  readonly truncated: boolean
  /** Tokens before the cut. */
  readonly fullLength: number
}

/** Ids of rendered text, images expanded, without a limit. */
const tokenize = (tokenizer: Tokenizer, { controls, loss, text }: Rendered, options: TokenizeOptions) => {
  const ids: Array<number> = []
  const labels: Array<number> = []
  let imageAt = -1
  let span = 0
  const learns = (start: number, end: number): boolean => {
    while (span < loss.length && loss[span]!.end <= start) span++
    return span < loss.length && loss[span]!.start < end
  }
  const addText = (from: number, to: number): void => {
    if (from === to) return
    const part = tokenizer.encodeWithOffsets(text.slice(from, to))
    for (let i = 0; i < part.ids.length; i++) {
      ids.push(part.ids[i]!)
      labels.push(learns(from + part.starts[i]!, from + part.ends[i]!) ? part.ids[i]! : NO_LOSS)
    }
  }
  let at = 0
  for (const { end, kind, start } of controls) {
    addText(at, start)
    if (kind === "image") {
      imageAt = ids.length
      for (let i = 0; i < options.imageTokens; i++) {
        ids.push(options.imageTokenId)
        labels.push(NO_LOSS)
      }
    } else {
      ids.push(options.eosId)
      labels.push(learns(start, end) ? options.eosId : NO_LOSS)
    }
    at = end
  }
  addText(at, text.length)
  return { ids, labels, imageAt }
}

/**
 * Tokenises a conversation into ids and labels, an image as `imageTokens` placeholders, cut to `maxTokens` after that
 * expansion. A token carries loss when any of its characters does.
 *
 * Fails with `BadExample`: roles out of order, an empty answer, an image that does not fit whole, or nothing with loss
 * left after the cut.
 *
 * @example
 * const options = { template: "v1", maxTokens: 2048, imageTokens: 576, imageTokenId: 50295, eosId: 50256 } as const
 * const example = tokenizeExample(tokenizer, { turns, image: true }, options)
 */
export const tokenizeExample = (
  tokenizer: Tokenizer,
  conversation: TemplateInput,
  options: TokenizeOptions & { readonly maxTokens: number }
): Result.Result<Example, BadExample> =>
  Result.flatMap(render(conversation, options.template), (rendered): Result.Result<Example, BadExample> => {
    const { ids, imageAt, labels } = tokenize(tokenizer, rendered, options)
    const length = Math.min(ids.length, options.maxTokens)
    if (imageAt >= 0 && imageAt + options.imageTokens > length) {
      return fail(
        "ImageDoesNotFit",
        `the image's ${options.imageTokens} tokens start at ${imageAt} and pass the limit of ${options.maxTokens}`,
        "Raise maxTokens above the prompt and the image."
      )
    }
    const kept = Int32Array.from(labels.slice(0, length))
    if (kept.every((label) => label === NO_LOSS)) {
      return fail(
        "NothingToLearn",
        `no token with loss among the first ${length} of ${ids.length}`,
        "The question alone fills maxTokens; split the conversation or raise the limit."
      )
    }
    return Result.succeed({
      ids: Int32Array.from(ids.slice(0, length)),
      labels: kept,
      imageAt,
      truncated: length < ids.length,
      fullLength: ids.length
    })
  })

/**
 * Ids of a prompt that the model is to continue: the conversation so far, ending with a question (`v1`), or the image
 * alone (`plain`).
 *
 * Fails with `BadExample` when the turns do not end with a question.
 *
 * @example
 * promptFor(tokenizer, { turns: [{ from: "human", value: "What is this?" }], image: true }, options)
 */
export const promptFor = (
  tokenizer: Tokenizer,
  conversation: TemplateInput,
  options: TokenizeOptions
): Result.Result<
  { readonly ids: Int32Array<ArrayBuffer>; readonly imageAt: number; readonly text: string },
  BadExample
> =>
  Result.map(checkRoles(conversation.turns, false), () => {
    const rendered = RENDER[options.template](conversation)
    const { ids, imageAt } = tokenize(tokenizer, rendered, options)
    return { ids: Int32Array.from(ids), imageAt, text: rendered.text }
  })
