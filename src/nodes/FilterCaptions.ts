/**
 * LLaVA's noun-phrase balance over captions, and the text rules around it; every dropped row is refused by its rule.
 *
 * Two passes over the rows: phrases are counted, then each caption is decided. Memory grows with distinct phrases, not
 * with rows (see `text/Captions.ts`). LLaVA-Phi's own "filtered subset" is defined nowhere; these rules are ours.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { CAPTION_RULES, countCaptions, countDecision, emptyCounts } from "../text/Captions.ts"
import { nounPhrases } from "../text/NounPhrases.ts"
import { Captions, FilterReport, ImageConversations } from "./Artifacts.ts"

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
    version: "1",
    about: "Balances captions by noun phrases and drops short, long, repetitive and duplicate ones.",
    params: Schema.Struct({
      shardRows: Schema.Int,
      seed: Schema.Int,
      /** Words, bounds included. */
      minWords: Schema.Int,
      maxWords: Schema.Int,
      /** Least share of distinct words, from 4 words on. */
      minDistinctShare: Schema.Number,
      /** Longest run of one word. */
      maxRun: Schema.Int,
      dropDuplicates: Schema.Boolean,
      /** Phrases in fewer captions than this add none. */
      minCount: Schema.Int,
      /** Captions that one phrase adds at most. */
      perPhrase: Schema.Int
    }),
    inputs: { rows: Captions },
    outputs: { rows: ImageConversations, report: FilterReport },
    refuses: [CaptionDropped]
  },
  ({ flatMap, inputs, params }) =>
    Effect.gen(function* () {
      const counter = countCaptions(params)
      const counted = (row: { readonly id: string; readonly caption: string }) => ({
        id: row.id,
        caption: row.caption,
        phrases: nounPhrases(row.caption)
      })
      yield* Stream.runForEach(inputs.rows.batches, (batch) =>
        Effect.sync(() => {
          for (const row of batch) counter.add(counted(row))
        })
      )
      const plan = counter.finish()
      const counts = emptyCounts()
      return {
        rows: flatMap(inputs.rows.batches, (row) => {
          const decision = plan.decide(counted(row))
          countDecision(counts, decision)
          return decision.keep
            ? [{ id: row.id, image: row.image, conversations: row.conversations }]
            : Result.fail(
                new CaptionDropped({
                  reason: decision.rule,
                  id: row.id,
                  detail: decision.detail,
                  hint: "Loosen this rule's parameter of filterCaptions to keep such rows."
                })
              )
        }),
        report: Effect.sync(() => ({
          rowsIn: inputs.rows.length,
          rowsOut: counts.kept,
          taken: CAPTION_RULES.filter((rule) => counts.dropped[rule] > 0).map((rule) => ({
            rule,
            rows: counts.dropped[rule]
          }))
        }))
      }
    })
)
