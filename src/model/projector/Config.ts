/** The projector between the towers: two linear layers with the exact GELU between. Sizes are widths. */
import { Effect, Schema } from "effect"

const sizes = {
  /** Width of image features. */
  inputSize: Schema.Int,
  /** Width of the language model. */
  outputSize: Schema.Int,
  activation: Schema.Literals(["tanh", "erf", "quick"])
} as const

/** What a projector computes. */
export interface ProjectorSizes extends Schema.Schema.Type<typeof ProjectorSizes> {}
export const ProjectorSizes = Schema.Struct(sizes)

/** And what it was trained on: a projector fits one hidden state of its tower and no other. */
export const ProjectorConfig = Schema.Struct({
  ...sizes,
  /**
   * Which hidden state of the tower: -2 is the output of the last layer but one, which every file without the field
   * means.
   */
  featureLayer: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(-2)))
})
export interface ProjectorConfig extends Schema.Schema.Type<typeof ProjectorConfig> {}
