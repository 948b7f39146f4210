/**
 * Reads a row of the chat formats in use as one form: turns of `human`, `gpt` and `system` with text.
 *
 * | format | list | role | text |
 * |---|---|---|---|
 * | ShareGPT, LLaVA | `conversations` | `from`: human, gpt, system | `value` |
 * | OpenAI, TRL | `messages` | `role`: user, assistant, system | `content`, a text or a list of parts |
 * | LMSYS, WildChat | `conversation` | as either | as either |
 *
 * Roles and texts are taken in either spelling from any of the lists. A list may be an object of columns (`{ from:
 * [...], value: [...] }`), as Parquet files of older `datasets` have it. A `system` beside the list is its first turn.
 * An image among the parts is the mark `<image>` in the text and an image of the row.
 *
 * Not a cleaner: order of roles, HTML and dirt stay as found. What is not in the table is refused by its name, above
 * all roles and calls of tools: a conversation with parts left out is another one. So is a key of a turn that is no
 * known fact about it: what it says may be loss, reasoning or text that is left out. Pure.
 */
import { Result } from "effect"
import { foreignMedia, IMAGE_KEYS, imagesOf, isBlank, isFact, type RowImage } from "./RowMedia.ts"
import { IMAGE_MARK } from "./Template.ts"

export interface ChatTurn {
  readonly from: "human" | "gpt" | "system"
  readonly value: string
}

/** Turns as found; `images` are those among parts of messages. */
export interface Chat {
  readonly turns: ReadonlyArray<ChatTurn>
  readonly images: ReadonlyArray<RowImage>
}

/** Why a row is not read. `shape`: it is no row of this kind; the others: it is one, and holds what is not handled. */
export interface RowFault {
  readonly reason:
    | "shape"
    | "role"
    | "tools"
    | "part"
    | "loss"
    | "media"
    | "marks"
    | "several-images"
    | "half-character"
    | "turn-key"
  readonly message: string
  readonly hint: string
}

export type Row = Readonly<Record<string, unknown>>

/** Keys of lists of turns, and those that go with them. */
const LISTS = ["conversations", "messages", "conversation"] as const
export const CHAT_KEYS: ReadonlySet<string> = new Set([...LISTS, "system", "tools", "functions"])

const ROLES: Readonly<Record<string, ChatTurn["from"]>> = {
  human: "human",
  user: "human",
  gpt: "gpt",
  assistant: "gpt",
  system: "system"
}

const CALLS = ["tool_calls", "function_call", "tool_call_id", "tools", "functions"]
/** Whether a turn is to be learned. Loss is on the answers here, all of them. */
const WEIGHTS = ["weight", "loss", "train"]
const TURN_KEYS: ReadonlySet<string> = new Set(["from", "role", "value", "content", ...CALLS, ...WEIGHTS])
/**
 * Facts about a turn beside those about any row: who wrote it, when, how long it is. They change nothing that is
 * trained.
 */
const TURN_FACTS: ReadonlySet<string> = new Set([
  ...["name", "user", "user_id", "message_id", "msg_id", "parent", "parent_id", "turn_id", "turn_identifier", "rank"],
  ...["create_time", "update_time", "time", "status", "end_turn", "metadata", "meta", "length", "num_tokens", "tokens"],
  // ShareGPT's own, of the same text.
  ...["text", "markdown", "html"]
])

const SHAPE_HINT =
  'Expected { id, conversations: [{ from, value }] } or { messages: [{ role, content }] } with text in "value" or "content".'

const fault = (reason: RowFault["reason"], message: string, hint: string): Result.Result<never, RowFault> =>
  Result.fail({ reason, message, hint })
const misshaped = (message: string): Result.Result<never, RowFault> => fault("shape", message, SHAPE_HINT)

/**
 * Whether a value is an object with names, and no list.
 *
 * @example
 * isRow([]) // false
 */
export const isRow = (value: unknown): value is Row =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)

const shown = (value: unknown): string => {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

/** The list of turns, and the key it is under. */
const listOf = (row: Row): Result.Result<{ readonly key: string; readonly list: ReadonlyArray<unknown> }, RowFault> => {
  const there = LISTS.filter((key) => row[key] !== undefined && row[key] !== null)
  const [key] = there
  if (key === undefined) return misshaped(`it has none of ${LISTS.join(", ")}`)
  if (there.length > 1) return misshaped(`it has ${there.join(" and ")}, and they may differ`)
  const value = row[key]
  if (Array.isArray(value)) return Result.succeed({ key, list: value })
  if (!isRow(value)) return misshaped(`${key} is no list`)
  const columns = Object.entries(value)
  const [, first] = columns[0] ?? []
  if (!Array.isArray(first) || columns.some(([, items]) => !Array.isArray(items) || items.length !== first.length))
    return misshaped(`${key} is no list`)
  const list = first.map((_, i) =>
    Object.fromEntries(columns.map(([name, items]) => [name, (items as ReadonlyArray<unknown>)[i]]))
  )
  return Result.succeed({ key, list })
}

/** One of two keys that mean the same; a fault where both are there and differ. */
const either = (turn: Row, at: string, a: string, b: string): Result.Result<unknown, RowFault> => {
  const [one, other] = [turn[a], turn[b]]
  if (one === undefined || one === null) return Result.succeed(other)
  if (other === undefined || other === null || other === one) return Result.succeed(one)
  return misshaped(`${at} has ${a} and ${b}, and they differ`)
}

/** A message's text out of its parts, and its images. */
const partsOf = (
  parts: ReadonlyArray<unknown>,
  at: string
): Result.Result<Omit<Chat, "turns"> & { text: string }, RowFault> => {
  let text = ""
  const images: Array<RowImage> = []
  for (const part of parts) {
    if (typeof part === "string") {
      text += part
      continue
    }
    if (!isRow(part)) return misshaped(`a part of ${at} is ${shown(part)}`)
    const { index, type, text: words, ...rest } = part
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => !isBlank(value)))
    const keys = Object.keys(given)
    const unread = (what: string) =>
      fault(
        "part",
        `${at} has a part ${what}`,
        "Parts are { type: text, text } and { type: image }; remove others or the row."
      )
    if (!isBlank(index) && Number(index) !== 0) return unread(`about image ${shown(index)}, and a row has one`)
    if (type === "text") {
      if (typeof words !== "string") return misshaped(`a text part of ${at} has no text`)
      if (keys.length > 0) return unread(`of type text with ${keys.join(", ")}`)
      text += words
      continue
    }
    if (type !== "image" && type !== "image_url") return unread(`of type ${shown(type)}`)
    if (!isBlank(words) || keys.length > 1)
      return unread(`of type ${type} with ${[...keys, ...(isBlank(words) ? [] : ["text"])].join(", ")}`)
    const found = inlineImage(given)
    if (found === undefined) return unread(`of type ${type} with ${keys.join(", ")}`)
    if (Result.isFailure(found))
      return fault("media", `${at}: ${found.failure}`, "Write images to files, and their names to the rows.")
    images.push(...found.success)
    text += `${IMAGE_MARK}\n`
  }
  return Result.succeed({ text, images })
}

/** The image that a part itself names, if it names one: else the row's own `images` hold it. */
const inlineImage = (part: Row): Result.Result<ReadonlyArray<RowImage>, string> | undefined => {
  const [key] = Object.keys(part)
  if (key === undefined) return Result.succeed([])
  const value = part[key]
  if (key === "image" || key === "path" || key === "url") return imagesOf({ image: value })
  if (key !== "image_url") return undefined
  return imagesOf({ image: isRow(value) ? value["url"] : value })
}

const checkTurn = (
  turn: Row,
  role: ChatTurn["from"],
  at: string,
  ignore: ReadonlyArray<string>
): Result.Result<void, RowFault> => {
  const call = CALLS.find((key) => !isBlank(turn[key]))
  if (call !== undefined)
    return fault("tools", `${at} has ${call}`, "Tools are not trained: remove the row, or write calls as text.")
  for (const key of WEIGHTS) {
    const weight = turn[key]
    if (weight === undefined || weight === null || ignore.includes(key) || Number(weight) === (role === "gpt" ? 1 : 0))
      continue
    return fault(
      "loss",
      `${at} is from ${role} and has ${key} ${shown(weight)}`,
      "Loss is on every answer and on nothing else: remove the row, or the key to train it so."
    )
  }
  const media = foreignMedia(turn, TURN_KEYS, ignore)
  if (media !== undefined || IMAGE_KEYS.values().some((key) => !isBlank(turn[key])))
    return fault(
      "media",
      `${at} carries media in ${media ?? "image"}`,
      "Images are named by the row's `image` or `images`."
    )
  for (const key in turn) {
    if (TURN_KEYS.has(key) || TURN_FACTS.has(key) || isFact(key) || ignore.includes(key) || isBlank(turn[key])) continue
    return fault(
      "turn-key",
      `${at} has ${key} ${shown(turn[key])}, which is not read`,
      "If the turn is the same without it, name the key in `ignore`; else write it into the text, or remove the row."
    )
  }
  return Result.succeed(undefined)
}

/**
 * Reads the turns of one row, or says why not. Keys of turns that `ignore` names are not looked at.
 *
 * @example
 * ```ts
 * readChat({ messages: [{ role: "user", content: "Hi" }, { role: "assistant", content: "Hello" }] })
 * // success: turns [{ from: "human", value: "Hi" }, { from: "gpt", value: "Hello" }]
 * readChat({ conversations: [{ from: "tool", value: "{}" }] }) // failure, reason "role", names "tool"
 * ```
 */
export const readChat = (row: Row, ignore: ReadonlyArray<string> = []): Result.Result<Chat, RowFault> => {
  const found = listOf(row)
  if (Result.isFailure(found)) return Result.fail(found.failure)
  const { key, list } = found.success
  const tools = ["tools", "functions"].find((name) => !isBlank(row[name]))
  if (tools !== undefined)
    return fault(
      "tools",
      `it has ${tools}`,
      "Tools are not trained: remove the row, or the key to train it without them."
    )
  const turns: Array<ChatTurn> = []
  const images: Array<RowImage> = []
  for (let i = 0; i < list.length; i++) {
    const turn = list[i]
    const at = `${key}[${i}]`
    if (!isRow(turn)) return misshaped(`${at} is ${shown(turn)}`)
    const role = either(turn, at, "from", "role")
    if (Result.isFailure(role)) return Result.fail(role.failure)
    if (typeof role.success !== "string") return misshaped(`${at} has no role`)
    const from = Object.hasOwn(ROLES, role.success) ? ROLES[role.success]! : undefined
    if (from === undefined)
      return fault(
        "role",
        `${at} is from ${shown(role.success)}`,
        "Roles are human or user, gpt or assistant, and system: rename the role in the source, or remove the row."
      )
    const checked = checkTurn(turn, from, at, ignore)
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    const content = either(turn, at, "value", "content")
    if (Result.isFailure(content)) return Result.fail(content.failure)
    if (typeof content.success === "string") {
      turns.push({ from, value: content.success })
      continue
    }
    if (!Array.isArray(content.success)) return misshaped(`${at} has no text: ${shown(content.success)}`)
    const parts = partsOf(content.success, at)
    if (Result.isFailure(parts)) return Result.fail(parts.failure)
    turns.push({ from, value: parts.success.text })
    images.push(...parts.success.images)
  }
  const { system } = row
  if (!isBlank(system)) {
    if (typeof system !== "string") return misshaped("its system is no text")
    if (turns[0]?.from !== "system") turns.unshift({ from: "system", value: system })
    else if (turns[0].value !== system) return misshaped(`it has a system, and ${key}[0] is another`)
  }
  return Result.succeed({ turns, images })
}
