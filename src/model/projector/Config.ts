/** The projector between the towers: two linear layers with the exact GELU between. Sizes are widths. */
import { Schema } from "effect"

export const ProjectorConfig = Schema.Struct({
  /** Width of image features. */
  inputSize: Schema.Int,
  /** Width of the language model. */
  outputSize: Schema.Int,
  activation: Schema.Literals(["tanh", "erf", "quick"])
})
export interface ProjectorConfig extends Schema.Schema.Type<typeof ProjectorConfig> {}
