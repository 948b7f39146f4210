/**
 * The two ways to talk: a conversation typed line by line, and questions of a script, each on its own.
 *
 * No process and no signals: lines come from `Lines`, text goes to an `Output`.
 */
import { Effect, Result } from "effect"
import { didYouMean } from "../../dag/Nearest.ts"
import { errorLines } from "../ErrorLines.ts"
import type { Output } from "../Output.ts"
import { type Answer, ask, commands, fresh, type Listener, readLine } from "./Conversation.ts"
import type { Model, Settings } from "./Model.ts"

/** Where typed lines come from. */
export interface Lines {
  /** The next line, asked for at a prompt; undefined at the end. */
  readonly next: Effect.Effect<string | undefined>
}

/** One invocation: where it writes, and how its answers are stopped. */
export interface Session {
  readonly output: Output
  readonly json: boolean
  readonly settings: Settings
  /** Number of the answer under way. */
  answering: number | undefined
  /** Set when the answer under way is to stop. */
  stop: boolean
}

/** An answer was stopped in a script: nothing follows it. */
export class Interrupted extends Error {
  readonly _tag = "Interrupted"
}

const why: Readonly<Record<Answer["stopped"], string | undefined>> = {
  end: undefined,
  text: undefined,
  length: "stopped: --max-new-tokens",
  context: "stopped: the model's context is full; /reset begins anew",
  interrupted: "stopped"
}

/** Asks one question and shows its answer: text as it comes, or one JSON line. */
const tellAnswer = <Picture, E>(
  session: Session,
  model: Model<Picture, E>,
  conversation: ReturnType<typeof fresh<Picture>>,
  prompt: string
) =>
  Effect.gen(function* () {
    const { output } = session
    const listener: Listener = {
      write: (text) => {
        if (!session.json) output.people(text)
      },
      stop: () => session.stop
    }
    session.stop = false
    session.answering = conversation.answers
    const asked = yield* ask(model, conversation, prompt, session.settings, listener).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          session.answering = undefined
        })
      )
    )
    if (session.json) output.result(JSON.stringify(asked.answer))
    else output.people("\n")
    return asked
  })

/** Questions of a script. Each is asked on its own, about the same picture. */
export const oneShot = <Picture, E>(
  session: Session,
  model: Model<Picture, E>,
  picture: Picture | undefined,
  prompts: ReadonlyArray<string>
) =>
  Effect.gen(function* () {
    for (const [number, prompt] of prompts.entries()) {
      const { answer } = yield* tellAnswer(session, model, fresh(picture, number), prompt)
      if (answer.stopped === "interrupted") return yield* Effect.fail(new Interrupted("an answer was stopped"))
    }
  })

/** A conversation, until its lines end. An error of one line is printed, and the next is read. */
export const talk = <Picture, E>(
  session: Session,
  model: Model<Picture, E>,
  picture: Picture | undefined,
  lines: Lines
) =>
  Effect.gen(function* () {
    const { output } = session
    let conversation = fresh(picture)
    const tell = (error: E) =>
      Effect.sync(() => {
        for (const line of errorLines(error)) output.error(line)
      })
    for (;;) {
      const typed = yield* lines.next
      if (typed === undefined) return
      const line = readLine(typed)
      switch (line.kind) {
        case "nothing":
          break
        case "leave":
          return
        case "help":
          for (const [command, about] of commands) output.error(`${command.padEnd(12)} ${about}`)
          break
        case "reset":
          conversation = fresh(conversation.picture, conversation.answers)
          output.error("a new conversation")
          break
        case "image": {
          const read = line.path === "" ? Effect.undefined : model.picture(line.path)
          const result = yield* Effect.result(read)
          if (Result.isFailure(result)) {
            yield* tell(result.failure)
            break
          }
          conversation = fresh(result.success, conversation.answers)
          output.error(
            line.path === "" ? "a new conversation, without a picture" : `a new conversation about ${line.path}`
          )
          break
        }
        case "unknown":
          output.error(
            `there is no ${line.command}${didYouMean(
              line.command,
              commands.map(([command]) => command.split(" ")[0]!)
            )}; /help lists what there is, // begins a question with a slash`
          )
          break
        case "question": {
          const asked = yield* Effect.result(tellAnswer(session, model, conversation, line.text))
          if (Result.isFailure(asked)) {
            yield* tell(asked.failure)
            break
          }
          conversation = asked.success.next
          const said = asked.success.answer.answer === "" ? "(no answer)" : why[asked.success.answer.stopped]
          if (said !== undefined) output.error(said)
        }
      }
    }
  })
