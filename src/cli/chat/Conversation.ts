/**
 * A conversation with a model: its turns, its picture, and what a typed line means.
 *
 * Not a terminal: text goes to `write` as it is made. A conversation holds no more than the model's context; when a
 * question does not fit, the model says so and the conversation stays as it was.
 */
import { Clock, Effect, Stream } from "effect"
import type { Model, Piece, Settings, Turn } from "./Model.ts"

/** One answer, as `--json` gives it. */
export interface Answer {
  readonly prompt: string
  /** Without blanks around it. */
  readonly answer: string
  /** New tokens, the end of text among them. */
  readonly tokens: number
  readonly stopped: NonNullable<Piece["stopped"]> | "interrupted"
  readonly seconds: number
}

/** What is said so far. Plain data. */
export interface Conversation<Picture> {
  readonly turns: ReadonlyArray<Turn>
  readonly picture: Picture | undefined
  /** Answers so far, those of earlier conversations too: names the draws of the next. */
  readonly answers: number
}

/** Where answers go, and whether they are to stop. */
export interface Listener {
  readonly write: (text: string) => void
  /** Asked after each token. */
  readonly stop: () => boolean
}

/** Nothing said yet. */
export const fresh = <Picture>(picture?: Picture, answers = 0): Conversation<Picture> => ({
  turns: [],
  picture,
  answers
})

/**
 * Asks the next question. Gives the answer and the conversation with both; an answer without text is not kept, because
 * models are not trained on such turns.
 *
 * @example
 * const { answer, next } = yield* ask(model, fresh(), "Who are you?", settings, listener)
 */
export const ask = <Picture, E>(
  model: Model<Picture, E>,
  conversation: Conversation<Picture>,
  prompt: string,
  settings: Settings,
  listener: Listener
): Effect.Effect<{ readonly answer: Answer; readonly next: Conversation<Picture> }, E> =>
  Effect.gen(function* () {
    const startedMs = yield* Clock.currentTimeMillis
    const turns: ReadonlyArray<Turn> = [...conversation.turns, { from: "human", value: prompt }]
    let text = ""
    let tokens = 0
    let stopped: Answer["stopped"] = "interrupted"
    yield* model.ask(turns, conversation.picture, { ...settings, number: conversation.answers }).pipe(
      Stream.tap((piece) => {
        text += piece.text
        tokens++
        if (piece.stopped !== undefined) stopped = piece.stopped
        if (piece.text !== "") listener.write(piece.text)
        // Whoever wants to interrupt gets a turn between tokens, which are computed without one.
        return Effect.yieldNow
      }),
      Stream.takeUntil(() => listener.stop()),
      Stream.runDrain
    )
    const answer = text.trim()
    const seconds = ((yield* Clock.currentTimeMillis) - startedMs) / 1000
    return {
      answer: { prompt, answer, tokens, stopped, seconds },
      next: {
        picture: conversation.picture,
        answers: conversation.answers + 1,
        turns: answer === "" ? conversation.turns : [...turns, { from: "gpt", value: answer }]
      }
    }
  })

/** What a typed line asks for. */
export type Line =
  | { readonly kind: "question"; readonly text: string }
  | { readonly kind: "image"; readonly path: string }
  | { readonly kind: "reset" | "help" | "leave" | "nothing" }
  | { readonly kind: "unknown"; readonly command: string }

/** Commands and what they do, for `/help`. */
export const commands: ReadonlyArray<readonly [string, string]> = [
  ["/image FILE", "begin anew with this picture; without FILE, with none"],
  ["/reset", "begin anew with the same picture"],
  ["/help", "these lines"],
  ["/exit", "leave, as Ctrl-D does; Ctrl-C stops an answer, and leaves when there is none"]
]

/**
 * Reads a typed line. A question may begin with two slashes to begin with one.
 *
 * @example
 * readLine("/image a b.png") // { kind: "image", path: "a b.png" }
 */
export const readLine = (line: string): Line => {
  const text = line.trim()
  if (text === "") return { kind: "nothing" }
  if (text.startsWith("//")) return { kind: "question", text: text.slice(1) }
  if (!text.startsWith("/")) return { kind: "question", text }
  const [, command, rest] = /^\/(\S*)\s*(.*)$/s.exec(text) as unknown as [string, string, string]
  switch (command) {
    case "image":
      // Terminals put quotes around a file that is dropped on them.
      return { kind: "image", path: rest.replace(/^(['"])(.*)\1$/s, "$2") }
    case "reset":
    case "help":
      return { kind: command }
    case "exit":
    case "quit":
      return { kind: "leave" }
    default:
      return { kind: "unknown", command: `/${command}` }
  }
}
