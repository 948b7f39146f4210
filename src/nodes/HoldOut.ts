/** Sets a seeded share of the examples aside; parts of one conversation (`id_0`, `id_4`) stay together. */
import { Schema, Stream } from "effect"
import { sharded } from "../dag/Node.ts"
import { uniform } from "../tensor/Random.ts"
import { Examples } from "./Artifacts.ts"

export const holdOut = sharded(
  {
    id: "holdOut",
    version: "1",
    about: "Splits examples into those trained on and those whose loss is only measured.",
    params: Schema.Struct({
      /** Share held out, 0 to 1; a row's side depends on its id and the seed alone. */
      share: Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
      seed: Schema.Int
    }),
    inputs: { rows: Examples },
    outputs: { train: Examples, heldOut: Examples }
  },
  ({ params, shard }) =>
    Stream.map(shard.rows, (batch) => {
      const isHeldOut = (id: string) => uniform(params.seed, "held out", id.replace(/_\d+$/, "")) < params.share
      return {
        train: batch.filter((row) => !isHeldOut(row.id)),
        heldOut: batch.filter((row) => isHeldOut(row.id))
      }
    })
)
