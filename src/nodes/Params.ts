/**
 * Bounds that parameters of several nodes share: a number outside them is an error while the recipe is put together.
 */
import { Schema } from "effect"

/** A whole number from 1: rows of a shard, tokens, pixels a side. */
export const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/** A share, 0 to 1, bounds included. */
export const Share = Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** What random draws start from. */
export const Seed = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
