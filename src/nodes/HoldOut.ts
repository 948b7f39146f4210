/**
 * Sets a seeded share of the examples aside, whole groups at a time: parts of one conversation stay together, and so do
 * all rows about one image, so that nothing measured was seen in training.
 *
 * Not a shuffle. A row's side depends on its group and the seed alone: not on order, shards or the other rows. So the
 * share is met on average and not to the row.
 *
 * Two definitions: for examples, and for conversations, split or not yet split.
 */
import { Schema, Stream } from "effect"
import { sharded } from "../dag/Node.ts"
import { uniform } from "../tensor/Random.ts"
import { groupOf } from "../text/Group.ts"
import { Conversations, Examples } from "./Artifacts.ts"
import { Seed, Share } from "./Params.ts"

const Params = Schema.Struct({
  /** Share of the groups held out, 0 to 1. */
  share: Share,
  seed: Seed
})

/**
 * Whether a group is held out: what every node that splits by `share` and `seed` asks.
 *
 * @example
 * isHeldOut({ share: 0.1, seed: 0 }, "a.jpg")
 */
export const isHeldOut = ({ seed, share }: typeof Params.Type, group: string): boolean =>
  uniform(seed, "held out", group) < share

const sides = <Row>(
  batch: ReadonlyArray<Row>,
  params: typeof Params.Type,
  groupOf: (row: Row) => string
): { readonly train: ReadonlyArray<Row>; readonly heldOut: ReadonlyArray<Row> } => {
  const sides = Map.groupBy(batch, (row) => isHeldOut(params, groupOf(row)))
  return { train: sides.get(false) ?? [], heldOut: sides.get(true) ?? [] }
}

export const holdOut = sharded(
  {
    id: "holdOut",
    version: "2",
    about: "Splits examples into those trained on and those whose loss is only measured.",
    params: Params,
    inputs: { rows: Examples },
    outputs: { train: Examples, heldOut: Examples }
  },
  ({ params, shard }) => Stream.map(shard.rows, (batch) => sides(batch, params, ({ group }) => group))
)

export const holdOutConversations = sharded(
  {
    id: "holdOutConversations",
    version: "2",
    about: "Splits conversations into a part to train on and a part to test with.",
    params: Params,
    inputs: { rows: Conversations },
    outputs: { train: Conversations, heldOut: Conversations }
  },
  ({ params, shard }) => Stream.map(shard.rows, (batch) => sides(batch, params, groupOf))
)
