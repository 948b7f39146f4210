/**
 * What a chat talks to, seen from the command line: something that reads pictures and answers.
 *
 * Not a model: `nodes/ChatModel.ts` is one, and a recipe's file puts the two together.
 */
import type { Effect, Scope, Stream } from "effect"

/** One message of a conversation. */
export interface Turn {
  readonly from: "human" | "gpt"
  readonly value: string
}

/** A part of an answer; `stopped` on its last: why it ended. */
export interface Piece {
  readonly text: string
  readonly stopped?: "end" | "text" | "length" | "context"
}

/** How answers are made; what is not given is the model's default. */
export interface Settings {
  readonly maxNewTokens: number
  readonly temperature: number | undefined
  readonly topK: number | undefined
  readonly topP: number | undefined
  readonly seed: number | undefined
  readonly stopText: ReadonlyArray<string>
}

export interface Model<Picture, E> {
  readonly contextLength: number
  readonly picture: (path: string) => Effect.Effect<Picture, E>
  /** Answers the last turn, one piece a token; `number` names the draws of this answer. */
  readonly ask: (
    turns: ReadonlyArray<Turn>,
    picture: Picture | undefined,
    options: Settings & { readonly number: number }
  ) => Stream.Stream<Piece, E>
}

/** What a chat command is made of. */
export interface Talker<Picture, E> {
  readonly name: string
  readonly engines: ReadonlyArray<string>
  /** The engine that a name stands for (`auto`), with the reason. */
  readonly resolveEngine: (name: string) => { readonly engine: string; readonly why?: string }
  /** Opens a model's folder; the model lives as long as the scope. */
  readonly open: (folder: string, engine: string) => Effect.Effect<Model<Picture, E>, E, Scope.Scope>
}
