/** Questions come from the rows that `holdOut` holds out, and from no other. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { heldOutQuestions } from "../../src/nodes/HeldOutQuestions.ts"
import { holdOut } from "../../src/nodes/HoldOut.ts"

const row = <Image extends string | null>(image: Image, i: number, question = `What is in it?`) => ({
  id: `row-${i}`,
  image,
  conversations: [
    { from: "human" as const, value: `<image>\n${question}` },
    { from: "gpt" as const, value: ` Thing ${i}. ` },
    { from: "human" as const, value: "And what else?" },
    { from: "gpt" as const, value: "Nothing." }
  ]
})

describe("heldOutQuestions", () => {
  it.effect.prop(
    "asks about the images that holdOut holds out, whatever the share and the seed",
    [
      Schema.Struct({
        images: Schema.Array(Schema.String.check(Schema.isPattern(/^[a-z]{1,6}$/))),
        share: Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
        seed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))
      })
    ],
    ([{ images, share, seed }]) =>
      Effect.gen(function* () {
        const rows = images.map((image, i) => row(`${image}.jpg`, i))
        const examples = rows.map(({ id, image: group }, image) => ({
          ...{ id, group, shard: 0, image, imageAt: 0, words: 1, cut: 0 },
          ids: Int32Array.of(1),
          labels: Int32Array.of(1)
        }))
        const asked = yield* Node.run(heldOutQuestions, { rows }, { share, seed })
        const split = yield* Node.run(holdOut, { rows: examples }, { share, seed })
        expect(asked.out.questions.map(({ id }) => id)).toEqual(split.out.heldOut.map(({ id }) => id))
      }),
    { arbitrary: { runs: 20 } }
  )

  it.effect("takes the first question without its mark and the row's answer; rows without an image have none", () =>
    Effect.gen(function* () {
      const rows = [row("./a.jpg", 0), row(null, 1), row("b.jpg", 2, "")]
      const { out } = yield* Node.run(heldOutQuestions, { rows }, { share: 1, seed: 0 })
      expect(out.questions).toEqual([
        { id: "row-0", image: "./a.jpg", type: "held-out", question: "What is in it?", answer: "Thing 0." }
      ])
    })
  )
})
