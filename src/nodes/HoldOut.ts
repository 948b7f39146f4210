/**
 * Sets a seeded share of the examples aside, whole groups at a time: parts of one conversation stay together, and so do
 * all rows about one picture, so that nothing measured was seen in training.
 *
 * Not a shuffle. An example's side depends on its group and the seed alone: not on order, shards or the other rows.
 */
import { Schema, Stream } from "effect"
import { sharded } from "../dag/Node.ts"
import { uniform } from "../tensor/Random.ts"
import { Examples } from "./Artifacts.ts"
import { Share } from "./Params.ts"

export const holdOut = sharded(
  {
    id: "holdOut",
    version: "2",
    about: "Splits examples into those trained on and those whose loss is only measured.",
    params: Schema.Struct({
      /** Share of the groups held out, 0 to 1. */
      share: Share,
      seed: Schema.Int
    }),
    inputs: { rows: Examples },
    outputs: { train: Examples, heldOut: Examples }
  },
  ({ params, shard }) =>
    Stream.map(shard.rows, (batch) => {
      const sides = Map.groupBy(batch, ({ group }) => uniform(params.seed, "held out", group) < params.share)
      return { train: sides.get(false) ?? [], heldOut: sides.get(true) ?? [] }
    })
)
