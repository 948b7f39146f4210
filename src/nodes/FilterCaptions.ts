/**
 * Text rules over captions and LLaVA's noun-phrase balance; every dropped row is refused by its rule.
 *
 * Two passes over the rows: phrases are found and counted, then each caption's decision is given. Memory is some 70
 * bytes a row and 70 a distinct phrase (see `text/Balance.ts`). The rules and their parameters are `text/Captions.ts`.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { countCaptions } from "../text/Balance.ts"
import { CAPTION_HINTS, CAPTION_RULES, CaptionOptions, countDecision, emptyCounts } from "../text/Captions.ts"
import { nounPhrases, phraseWeights } from "../text/NounPhrases.ts"
import { Captions, FilterReport, ImageConversations } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** A rule of the caption filter took the row. */
export class CaptionDropped extends Schema.TaggedError<CaptionDropped>()("CaptionDropped", {
  reason: Schema.Literals(CAPTION_RULES),
  id: Schema.String,
  detail: Schema.String,
  hint: Schema.String
}) {}

export const filterCaptions = whole(
  {
    id: "filterCaptions",
    version: "3",
    about: "Balances captions by noun phrases and drops short, long, repetitive and duplicate ones.",
    params: Schema.Struct({ shardRows: Positive, ...CaptionOptions.fields }),
    inputs: { rows: Captions },
    outputs: { rows: ImageConversations, report: FilterReport },
    refuses: [CaptionDropped],
    assets: [phraseWeights]
  },
  ({ flatMap, inputs, params, report }) =>
    Effect.gen(function* () {
      const counter = countCaptions(params, inputs.rows.length)
      yield* Stream.runForEach(inputs.rows.batches, (batch) =>
        Effect.sync(() => {
          for (const { caption, id } of batch)
            counter.add({
              id,
              caption,
              get phrases() {
                return nounPhrases(caption)
              }
            })
        })
      )
      const plan = counter.finish()
      const { cappedPhrases, frequentPhrases, phrases } = plan
      report({ phrases, frequentPhrases, cappedPhrases })
      let counts = emptyCounts()
      return {
        // Counts belong to one pass, so that the stream may be run again.
        rows: Stream.suspend(() => {
          counts = emptyCounts()
          return flatMap(inputs.rows.batches, (row, at) => {
            const decision = plan.decide(at, row.caption)
            countDecision(counts, decision)
            return decision.keep
              ? [{ id: row.id, image: row.image, conversations: row.conversations }]
              : Result.fail(
                  new CaptionDropped({
                    reason: decision.rule,
                    id: row.id,
                    detail: decision.detail,
                    hint: CAPTION_HINTS[decision.rule]
                  })
                )
          })
        }),
        report: Effect.sync(() => ({
          rowsIn: inputs.rows.length,
          rowsOut: counts.kept,
          taken: CAPTION_RULES.map((rule) => ({ rule, rows: counts.dropped[rule] })),
          phrases,
          frequentPhrases,
          cappedPhrases
        }))
      }
    })
)
