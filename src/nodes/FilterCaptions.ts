/**
 * LLaVA's noun-phrase balance over captions, and the text rules around it; every dropped row is refused by its rule.
 *
 * Two passes over the rows: phrases are counted, then each caption is decided. Memory grows with distinct phrases, and by
 * one id a row (see `text/Captions.ts`). LLaVA-Phi's own "filtered subset" is defined nowhere; these rules are ours.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { CAPTION_RULES, type CaptionDecision, countCaptions, countDecision, emptyCounts } from "../text/Captions.ts"
import { nounPhrases } from "../text/NounPhrases.ts"
import { Captions, FilterReport, ImageConversations } from "./Artifacts.ts"
import { Positive, Share } from "./Params.ts"

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
    version: "2",
    about: "Balances captions by noun phrases and drops short, long, repetitive and duplicate ones.",
    params: Schema.Struct({
      shardRows: Positive,
      seed: Schema.Int,
      /** Words, bounds included. Emoji and punctuation are none. */
      minWords: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
      maxWords: Schema.Int,
      /** Least share of distinct words, from 4 words on. */
      minDistinctShare: Share,
      /** Longest run of one word. */
      maxRun: Positive,
      /** Of captions equal but for case and punctuation the first stays; so it does of rows with one id. */
      dropDuplicates: Schema.Boolean,
      /** Phrases in fewer captions than this add none. */
      minCount: Positive,
      /** Captions that one phrase adds at most. */
      perPhrase: Positive
    }),
    inputs: { rows: Captions },
    outputs: { rows: ImageConversations, report: FilterReport },
    refuses: [CaptionDropped]
  },
  ({ flatMap, inputs, params }) =>
    Effect.gen(function* () {
      const counter = countCaptions(params)
      // The rules take ids for unique: a repeated row would pass as its own first.
      const firstOf = () => {
        const ids = new Set<string>()
        return ({ id }: { readonly id: string }) => !params.dropDuplicates || (!ids.has(id) && ids.add(id) === ids)
      }
      const isFirst = firstOf()
      const counted = (row: { readonly id: string; readonly caption: string }) => ({
        id: row.id,
        caption: row.caption,
        phrases: nounPhrases(row.caption)
      })
      yield* Stream.runForEach(inputs.rows.batches, (batch) =>
        Effect.sync(() => {
          for (const row of batch) if (isFirst(row)) counter.add(counted(row))
        })
      )
      const plan = counter.finish()
      let counts = emptyCounts()
      return {
        // Counts belong to one pass, so that the stream may be run again.
        rows: Stream.suspend(() => {
          counts = emptyCounts()
          const isFirst = firstOf()
          return flatMap(inputs.rows.batches, (row) => {
            const decision: CaptionDecision = isFirst(row)
              ? plan.decide(counted(row))
              : { keep: false, rule: "DuplicateCaption", detail: "another row has its id" }
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
          })
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
