/** A model made of words, and an output that remembers. */

import { PassThrough } from "node:stream"
import { Effect, Stream } from "effect"
import type { Model, Piece, Settings, Turn } from "../../../src/cli/chat/Model.ts"
import type { Output } from "../../../src/cli/Output.ts"

export const settings: Settings = {
  maxNewTokens: 8,
  temperature: undefined,
  topK: undefined,
  topP: undefined,
  seed: undefined,
  stopText: []
}

/** What the model was asked. */
export interface Asked {
  readonly turns: ReadonlyArray<Turn>
  readonly picture: string | undefined
  readonly number: number
}

/**
 * Fails for questions that begin with "fail", else answers with `words`; images are their names, "none" cannot be read.
 */
export const wordModel = (
  words: ReadonlyArray<string>,
  stopped: NonNullable<Piece["stopped"]> = "end"
): Model<string, Error> & { readonly asked: Array<Asked> } => {
  const asked: Array<Asked> = []
  return {
    asked,
    contextLength: 32,
    picture: (path) => (path === "none" ? Effect.fail(new Error(`${path} is no picture`)) : Effect.succeed(path)),
    ask: (turns, picture, { number }) => {
      asked.push({ turns, picture, number })
      if (turns.at(-1)!.value.startsWith("fail")) return Stream.fail(new Error("no room"))
      return Stream.fromIterable(
        words.map((text, i): Piece => (i === words.length - 1 ? { text, stopped } : { text }))
      ).pipe(Stream.rechunk(1))
    }
  }
}

/** What was written, by kind. */
export const remembering = (options: { readonly live?: boolean } = {}) => {
  const said = { people: "", results: [] as Array<string>, errors: [] as Array<string> }
  const output: Output = {
    result: (line) => said.results.push(line),
    people: (text) => {
      said.people += text
    },
    painted: (text) => {
      said.people += text
    },
    typing: new PassThrough(),
    error: (line) => said.errors.push(line),
    live: options.live ?? false,
    color: false,
    columns: () => 80,
    rows: () => 24,
    intercept: () => () => undefined,
    flush: () => Promise.resolve()
  }
  return { said, output }
}
