/**
 * What a golden check says: one quantity, its largest error, and the tolerance it was held to.
 *
 * `counted: false` lines are shown and never fail the command: they are known to differ, with the reason.
 */
import { Schema } from "effect"

/** One compared quantity. `error` and `tolerance` are in the unit of the quantity (pixels, rows, relative error). */
export interface Line {
  readonly quantity: string
  readonly error: number
  readonly tolerance: number
  readonly ok: boolean
  readonly counted: boolean
  readonly note?: string
}

/** A golden file that cannot be read or is not what its name says. */
export class GoldenError extends Schema.TaggedError<GoldenError>()("GoldenError", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A line for something counted: `wrong` of `of` differ, none may. */
export const counting = (quantity: string, wrong: number, of: number, note?: string): Line => ({
  quantity: `${quantity} (of ${of})`,
  error: wrong,
  tolerance: 0,
  // Nothing to compare is no success.
  ok: wrong === 0 && of > 0,
  counted: true,
  ...(note === undefined ? {} : { note })
})
