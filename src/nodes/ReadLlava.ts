/**
 * Reads LLaVA's files into rows: CC-595K's captions, instruction data, held-out questions. JSON or Parquet, one file or
 * a folder of parts; the chat formats of `ChatRow.ts`.
 *
 * Not a filter. A row of the wrong shape is refused with its position; an image's name is not looked at here. A row has
 * one image or none, in `image` or `images`, and as many marks `<image>` in its questions: a mark without an image
 * would be trained as text, an image without a mark would be put where nobody asked for it. Where a Parquet file has
 * its images inside (`{ bytes, path }`), rows name them by their path, or by file and row where they have none; the
 * bytes are not read here, and `tokenizeImages` takes them from the same files.
 */
import { Effect, Schema } from "effect"
import type { Refusing } from "../dag/Node.ts"
import { whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { BadParquetRow } from "../data/ParquetError.ts"
import { CHAT_KEYS, type ChatTurn, type RowFault, readChat } from "../text/ChatRow.ts"
import type { ConversationTurn } from "../text/Conversation.ts"
import { IMAGE_KEYS, imagesOf, type RowImage } from "../text/RowMedia.ts"
import { IMAGE_MARK, marksIn } from "../text/Template.ts"
import { Captions, ChatFile, HeldOutFile, ImageConversations, InstructFile, Questions } from "./Artifacts.ts"
import { CHAT_IDS, messagesId } from "./ReadShareGpt.ts"
import { RowParams, readRows, type SourceRow, shapeFault, UnsupportedRow } from "./RowReader.ts"

/** A row that does not have the format's shape. `row` counts from 0 in its file. */
export class BadRow extends Schema.TaggedError<BadRow>()("BadLlavaRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

const params = Schema.Struct(RowParams)
const refuses = [BadRow, UnsupportedRow, BadJsonRow, BadParquetRow] as const
/** A file most of whose rows do not fit is the wrong file. */
const refuseAtMost = 0.5

type Making = Pick<Refusing<BadRow | UnsupportedRow | BadJsonRow | BadParquetRow>, "refuse" | "countRows">
const misshaped = (given: ConstructorParameters<typeof BadRow>[0]) => new BadRow(given)

const CHAT: ReadonlySet<string> = new Set([...CHAT_KEYS, ...IMAGE_KEYS])

/** Turns without a leading system prompt, for which the template has its own; undefined where one stands further on. */
const spokenTurns = (all: ReadonlyArray<ChatTurn>): ReadonlyArray<ConversationTurn> | undefined => {
  const turns = all[0]?.from === "system" ? all.slice(1) : all
  return turns.every((turn): turn is ConversationTurn => turn.from !== "system") ? turns : undefined
}

/** Without a leading reply and a trailing question, as LLaVA's own reader has it: neither teaches anything. */
const trimTurns = (turns: ReadonlyArray<ConversationTurn>): ReadonlyArray<ConversationTurn> => {
  const from = turns[0]?.from === "gpt" ? 1 : 0
  const to = turns[turns.length - 1]?.from === "human" ? turns.length - 1 : turns.length
  return turns.slice(from, Math.max(from, to))
}

/** Why turns and images do not fit together, or undefined. */
const misfit = (turns: ReadonlyArray<ChatTurn>, images: ReadonlyArray<RowImage>): RowFault | undefined => {
  const count = (some: ReadonlyArray<ChatTurn>) => some.reduce((n, { value }) => n + marksIn(value), 0)
  const asked = count(turns.filter(({ from }) => from === "human"))
  if (count(turns) > asked)
    return {
      reason: "marks",
      message: `an answer or a system prompt has ${IMAGE_MARK} in it, which would be trained as text`,
      hint: "Take the mark out of the text; it belongs into a question."
    }
  if (images.length > 1)
    return {
      reason: "several-images",
      message: `it has ${images.length} images, and one image a row is read`,
      hint: "Cut the row into one for each image, or remove it."
    }
  if (asked === images.length) return undefined
  return {
    reason: "marks",
    message: `it has ${asked} marks ${IMAGE_MARK} in its questions and ${images.length} images in \`image\` or \`images\``,
    hint: "Write one mark for the image, or none without an image."
  }
}

/** Turns of a row, those that `trim` keeps, and its image or null. */
const pictured = (
  { ignore, nameOf, value }: SourceRow,
  trim: (turns: ReadonlyArray<ConversationTurn>) => ReadonlyArray<ConversationTurn>
): RowFault | { readonly turns: ReadonlyArray<ConversationTurn>; readonly image: string | null } => {
  const chat = readChat(value, ignore)
  if (chat._tag === "Failure") return chat.failure
  const own = imagesOf(value)
  if (own._tag === "Failure") return { reason: "media", message: own.failure, hint: "Name the image in `image`." }
  const [inRow, inParts] = [own.success, chat.success.images]
  if (inRow.length > 0 && inParts.length > 0 && JSON.stringify(inRow) !== JSON.stringify(inParts))
    return shapeFault("its messages name other images than `image` or `images`")
  const images = inRow.length > 0 ? inRow : inParts
  const spoken = spokenTurns(chat.success.turns)
  if (spoken === undefined)
    return {
      reason: "role",
      message: "a system prompt stands after its first turn",
      hint: "Move it to the front, or remove the row."
    }
  const turns = trim(spoken)
  const fault = misfit(turns, images)
  if (fault !== undefined) return fault
  const [image] = images
  if (image === undefined) return { turns, image: null }
  return { turns, image: nameOf(image) }
}

const chatRows = <A>(
  path: string,
  given: typeof params.Type,
  refusing: Making,
  make: (row: SourceRow) => ReadonlyArray<A> | RowFault
) => readRows({ path, params: given, keys: CHAT, idKeys: CHAT_IDS, idOf: messagesId, make, misshaped, refusing })

export const readCaptions = whole(
  {
    id: "readCaptions",
    version: "2",
    about: "Reads CC-595K's chat.json: one request and one caption an image.",
    params,
    inputs: { file: ChatFile },
    outputs: { rows: Captions },
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, countRows }) =>
    Effect.succeed({
      rows: chatRows(inputs.file.path, params, { refuse, countRows }, (row) => {
        const found = pictured(row, (turns) => turns)
        if ("reason" in found) return found
        const { image, turns: conversations } = found
        if (image === null) return shapeFault("it names no image")
        const caption = conversations.find((turn) => turn.from === "gpt")?.value
        if (caption === undefined) return shapeFault("no caption: there is no answer")
        return [{ id: row.id, image, caption, conversations }]
      })
    })
)

export const readInstructions = whole(
  {
    id: "readInstructions",
    version: "2",
    about: "Reads LLaVA-Instruct rows: several questions and answers about one image, or text alone.",
    params,
    inputs: { file: InstructFile },
    outputs: { rows: ImageConversations },
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, countRows }) =>
    Effect.succeed({
      rows: chatRows(inputs.file.path, params, { refuse, countRows }, (row) => {
        const found = pictured(row, trimTurns)
        return "reason" in found ? found : [{ id: row.id, image: found.image, conversations: found.turns }]
      })
    })
)

const decodeQuestions = Schema.decodeUnknownResult(
  Schema.Array(Schema.Struct({ type: Schema.String, question: Schema.String, answer: Schema.String }))
)
const HELD_OUT: ReadonlySet<string> = new Set(["questions", ...IMAGE_KEYS])

interface Scene {
  readonly id: string
  readonly image: string
  readonly questions: ReadonlyArray<{ readonly type: string; readonly question: string; readonly answer: string }>
}

/**
 * The one image that a row names, or why it has none.
 *
 * @example
 * oneImage({ value: { image: "a.jpg" }, nameOf: ({ path }) => path ?? "" }) // "a.jpg"
 */
export const oneImage = ({ nameOf, value }: Pick<SourceRow, "nameOf" | "value">): string | RowFault => {
  const images = imagesOf(value)
  if (images._tag === "Failure") return { reason: "media", message: images.failure, hint: "Name the image in `image`." }
  const [image, second] = images.success
  if (image === undefined) return shapeFault("it names no image")
  if (second !== undefined)
    return {
      reason: "several-images",
      message: `it has ${images.success.length} images, and one image a row is read`,
      hint: "Ask about each image in a row of its own."
    }
  return nameOf(image)
}

const sceneOf = (row: SourceRow): Scene | RowFault => {
  const image = oneImage(row)
  if (typeof image !== "string") return image
  const questions = decodeQuestions(row.value["questions"])
  if (questions._tag === "Failure") return shapeFault(`questions: ${questions.failure.message}`)
  const twice = questions.success.find(({ question }) => marksIn(question) > 1)
  if (twice === undefined) return { id: row.id, image, questions: questions.success }
  return {
    reason: "marks",
    message: `a question has ${marksIn(twice.question)} marks ${IMAGE_MARK}`,
    hint: "Write one, or none."
  }
}

/** Refuses a scene whose id came before: questions and images meet by that id. */
const firstOnly = <B>(make: (scene: Scene) => ReadonlyArray<B>) => {
  const seen = new Set<string>()
  return (row: SourceRow): ReadonlyArray<B> | RowFault => {
    const scene = sceneOf(row)
    if ("reason" in scene) return scene
    if (seen.has(scene.id)) return shapeFault(`an earlier scene is called ${scene.id} too`)
    seen.add(scene.id)
    return make(scene)
  }
}

export const readQuestions = whole(
  {
    id: "readQuestions",
    version: "3",
    about: "Reads held-out scenes: their questions, and the scenes as conversations for their images and loss.",
    params,
    inputs: { file: HeldOutFile },
    outputs: { questions: Questions, scenes: ImageConversations },
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, countRows }) => {
    const scenes = <B>(make: (scene: Scene) => ReadonlyArray<B>) =>
      readRows({
        ...{ path: inputs.file.path, params, keys: HELD_OUT, misshaped },
        ...{ make: firstOnly(make), refusing: { refuse, countRows } }
      })
    return Effect.succeed({
      questions: scenes(({ id, image, questions }) =>
        questions.map((question, i) => ({ id: `${id}/${i}`, image, ...question }))
      ),
      scenes: scenes(({ id, image, questions }) => [
        {
          id,
          image,
          conversations: questions.flatMap(({ answer, question }) => [
            { from: "human" as const, value: question },
            { from: "gpt" as const, value: answer }
          ])
        }
      ])
    })
  }
)
