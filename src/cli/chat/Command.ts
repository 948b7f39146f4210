/**
 * The flags of a chat, and what they become: a model, a picture, and either a conversation or questions of a script.
 *
 * Not the talking (`Talk.ts`) and no signals (`Start.ts`).
 */
import { relative } from "node:path"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { UsageError } from "../Choose.ts"
import type { Output } from "../Output.ts"
import { findModel } from "./Find.ts"
import type { Settings, Talker } from "./Model.ts"
import { type Lines, oneShot, type Session, talk } from "./Talk.ts"

const atLeast = (least: number, expected: string) => (flag: Flag.Flag<number>) =>
  Flag.filter(
    flag,
    (n) => n >= least,
    () => expected
  )

const flagsOf = (engines: ReadonlyArray<string>) => ({
  model: Flag.String("model").pipe(
    Flag.withDescription("A model's folder, a store, or a run's id; default: the newest exported model of --store"),
    Flag.withMetavar("DIR_OR_RUN"),
    Flag.optional
  ),
  store: Flag.String("store").pipe(
    Flag.withDescription("Folder of the artifact store"),
    Flag.withMetavar("DIR"),
    Flag.withDefault(".millrace")
  ),
  image: Flag.String("image").pipe(
    Flag.withDescription("Picture to talk about: JPEG, PNG, GIF or WebP"),
    Flag.withMetavar("FILE"),
    Flag.optional
  ),
  prompt: Flag.String("prompt").pipe(
    Flag.withDescription("Answer this and end (repeatable, each on its own); - takes the lines of standard input"),
    Flag.withMetavar("TEXT"),
    Flag.atLeast(0)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Answers as JSON lines on stdout; people read stderr"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  maxNewTokens: Flag.Int("max-new-tokens").pipe(
    Flag.withDescription("Tokens of an answer at most"),
    Flag.withMetavar("N"),
    atLeast(1, "1 or more"),
    Flag.withDefault(256)
  ),
  temperature: Flag.Finite("temperature").pipe(
    Flag.withDescription("0 takes the likeliest token each time; above, answers are drawn (default: 0)"),
    atLeast(0, "0 or more"),
    Flag.optional
  ),
  topK: Flag.Int("top-k").pipe(
    Flag.withDescription("Draw from the K likeliest tokens"),
    Flag.withMetavar("K"),
    atLeast(1, "1 or more"),
    Flag.optional
  ),
  topP: Flag.Finite("top-p").pipe(
    Flag.withDescription("Draw from the likeliest tokens that have this probability together"),
    Flag.withMetavar("P"),
    Flag.filter(
      (p) => p > 0 && p <= 1,
      () => "above 0, at most 1"
    ),
    Flag.optional
  ),
  seed: Flag.Int("seed").pipe(
    Flag.withDescription("Names the draws: equal seeds give equal answers (default: 0)"),
    atLeast(0, "0 or more"),
    Flag.optional
  ),
  stop: Flag.String("stop").pipe(
    Flag.withDescription("End an answer before this text (repeatable)"),
    Flag.withMetavar("TEXT"),
    Flag.atLeast(0)
  ),
  engine: Flag.Literals("engine", engines).pipe(
    Flag.withDescription(`What computes: ${engines.join(", ")}`),
    Flag.withDefault("auto")
  )
})

/** What a command line does with the process. */
export interface Around {
  readonly output: Output
  /** A conversation's lines; `prompt` shows a mark where a person types. */
  readonly lines: Lines
  /** Standard input, line by line, blank ones left out. */
  readonly input: Effect.Effect<ReadonlyArray<string>>
  /** Told once, when there is something to stop. */
  readonly started: (session: Session) => void
}

/** The command of a chat. */
export const makeCommand = <Picture, E>(talker: Talker<Picture, E>, around: Around) =>
  Command.make(talker.name, flagsOf(talker.engines), (flags) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { output } = around
        const undef = Option.getOrUndefined
        const settings: Settings = {
          maxNewTokens: flags.maxNewTokens,
          temperature: undef(flags.temperature),
          topK: undef(flags.topK),
          topP: undef(flags.topP),
          seed: undef(flags.seed),
          stopText: flags.stop
        }
        const image = undef(flags.image)
        const found = yield* findModel(undef(flags.model), flags.store)
        const { engine, why } = talker.resolveEngine(flags.engine)
        const scripted = flags.prompt.length > 0
        if (!scripted) {
          output.error(`model ${relative("", found.folder)}${found.run === undefined ? "" : `, run ${found.run}`}`)
          output.error(`engine ${engine}${why === undefined ? "" : `: ${why}`}`)
        }
        const model = yield* talker.open(found.folder, engine)
        const picture = image === undefined ? undefined : yield* model.picture(image)
        const session: Session = { output, json: flags.json, settings, answering: undefined, stop: false }
        around.started(session)
        if (!scripted) {
          const about = image === undefined ? "no picture: --image FILE or /image FILE shows one" : `picture ${image}`
          output.error(`${about}; context ${model.contextLength} tokens; /help lists commands`)
          return yield* talk(session, model, picture, around.lines)
        }
        const typed = flags.prompt.includes("-") ? yield* around.input : []
        const prompts = flags.prompt.flatMap((prompt) => (prompt === "-" ? typed : [prompt]))
        if (prompts.some((prompt) => prompt.trim() === "") || prompts.length === 0)
          return yield* new UsageError({
            message: prompts.length === 0 ? "standard input has no question" : "a question is empty",
            hint: "Give --prompt a text, or - and one question a line on standard input."
          })
        return yield* oneShot(session, model, picture, prompts)
      })
    )
  ).pipe(Command.withDescription("Talks with a LLaVA that a run has exported: answers appear as they are made."))
