/** Keeps conversations in the wanted languages, judged over all their text. */
import { Effect, Result, Schema, Stream } from "effect"
import { sharded } from "../dag/Node.ts"
import { Conversations } from "./Artifacts.ts"

/** The conversation is in another language. */
export class OtherLanguage extends Schema.TaggedError<OtherLanguage>()("OtherLanguage", {
  reason: Schema.String,
  id: Schema.String,
  hint: Schema.String
}) {}

export const keepLanguages = sharded(
  {
    id: "keepLanguages",
    version: "1",
    about: "Keeps conversations whose text is in one of the languages.",
    params: Schema.Struct({
      /** ISO 639-1 codes; empty keeps everything. */
      languages: Schema.Array(Schema.String)
    }),
    inputs: { rows: Conversations },
    outputs: { rows: Conversations },
    refuses: [OtherLanguage],
    runs: "worker"
  },
  ({ flatMap, params, shard }) => {
    const wanted = new Set(params.languages)
    if (wanted.size === 0) return { rows: shard.rows }
    // Imported when a shard runs: the language tables take a third of a second that a plan need not wait for.
    const detector = Effect.promise(() => import("../text/Language.ts"))
    return {
      rows: Stream.unwrap(
        Effect.map(detector, ({ detectLanguage }) =>
          flatMap(shard.rows, (row) => {
            const { language } = detectLanguage(row.conversations.map((turn) => turn.value).join("\n"))
            return wanted.has(language)
              ? [row]
              : Result.fail(
                  new OtherLanguage({
                    reason: language,
                    id: row.id,
                    hint: "Add the language to `languages` to keep such rows."
                  })
                )
          })
        )
      )
    }
  }
)
