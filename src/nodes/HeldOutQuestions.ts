/**
 * Questions from the rows that `holdOut` sets aside, with what their answers say as truth: a measure for whoever has
 * training rows and no questions of their own.
 *
 * Not another split. With the `share` and `seed` of `holdOut` the same images are taken, so no question is about an
 * image that was trained on. Of each row the first question alone is asked: later ones may lean on what was said
 * before.
 */
import { Schema, Stream } from "effect"
import { sharded } from "../dag/Node.ts"
import { groupOfImage } from "../text/Group.ts"
import { IMAGE_MARK } from "../text/Template.ts"
import { PicturedConversations, type Question, Questions } from "./Artifacts.ts"
import { isHeldOut } from "./HoldOut.ts"
import { Seed, Share } from "./Params.ts"

const Params = Schema.Struct({
  /** As `holdOut` has them. */
  share: Share,
  seed: Seed
})

type Row = typeof PicturedConversations.schema.Type

/** The first question of a row about an image, and the answer that the row gives. */
const questionOf = ({ conversations, id, image }: Row): ReadonlyArray<typeof Question.Type> => {
  const [asked, answered] = conversations
  if (image === null || asked === undefined || answered === undefined) return []
  const question = asked.value.replaceAll(IMAGE_MARK, "").trim()
  return question === "" ? [] : [{ id, image, type: "held-out", question, answer: answered.value.trim() }]
}

export const heldOutQuestions = sharded(
  {
    id: "heldOutQuestions",
    version: "1",
    about: "The first question of each row whose image is held out, with the row's answer as truth.",
    params: Params,
    inputs: { rows: PicturedConversations },
    outputs: { questions: Questions }
  },
  ({ params, shard }) => ({
    questions: Stream.map(shard.rows, (batch) =>
      batch.filter(({ image }) => image !== null && isHeldOut(params, groupOfImage(image))).flatMap(questionOf)
    )
  })
)
