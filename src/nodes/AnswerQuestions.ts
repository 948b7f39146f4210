/**
 * Asks an exported model questions about images, once, and keeps the answers as rows for any number of scorers.
 *
 * Not a score. Shard by shard: of a run that was killed only the shards in flight are asked again. With `blind` each
 * question is asked a second time about another image, which shows what an answer owes to the image.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { broadcast } from "../dag/Artifact.ts"
import { sharded } from "../dag/Node.ts"
import { Answers, Checkpoint, PicturedConversations, Pixels, Questions } from "./Artifacts.ts"
import { AskingParams, openAlbum, openAsker } from "./Asking.ts"

/** A question whose image is not there: it was refused, or the questions are about other images. */
export class ImageNotHere extends Schema.TaggedError<ImageNotHere>()("ImageNotHere", {
  id: Schema.String,
  image: Schema.String,
  hint: Schema.String
}) {}

export const answerQuestions = sharded(
  {
    id: "answerQuestions",
    version: "1",
    about: "An exported model's greedy answers to questions about images, one row each, for scorers.",
    params: Schema.Struct({
      ...AskingParams,
      /** Also ask about another image. */
      blind: Schema.Boolean
    }),
    inputs: {
      questions: Questions,
      model: broadcast(Checkpoint),
      pictured: broadcast(PicturedConversations),
      pixels: broadcast(Pixels)
    },
    outputs: { rows: Answers },
    refuses: [ImageNotHere],
    refuseAtMost: 0.5,
    engine: true
  },
  ({ flatMap, params, shard }) => ({
    rows: Stream.unwrap(
      Effect.gen(function* () {
        const ask = yield* openAsker(shard.model, params)
        const album = yield* openAlbum(shard.pictured, shard.pixels)
        const asked = flatMap(shard.questions, (row) =>
          album.has(row.image) ? [row] : Result.fail(new ImageNotHere({ id: row.id, image: row.image, hint }))
        )
        return asked.pipe(
          Stream.flatMap(Stream.fromIterable),
          Stream.grouped(params.batch),
          Stream.mapEffect((batch) =>
            Effect.gen(function* () {
              const texts = batch.map(({ question }) => question)
              const answers = yield* ask(texts, yield* album.get(batch.map(({ image }) => album.own(image))))
              const others = params.blind ? yield* Effect.forEach(batch, ({ image }) => album.other(image)) : undefined
              const blind = others === undefined ? undefined : yield* ask(texts, yield* album.get(others))
              yield* Effect.yieldNow
              return batch.map(({ answer: truth, id, image, question, type }, i) => ({
                id,
                image,
                category: type,
                question,
                answer: answers[i]!,
                truth,
                blind: blind?.[i] ?? null
              }))
            })
          )
        )
      })
    )
  })
)

const hint = "The quarantine of the node that decodes the images says why it was refused."
