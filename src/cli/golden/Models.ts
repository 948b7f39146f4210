/** Where the golden command meets the model checks: an engine by name, one folder's lines. */
import { Effect } from "effect"
import { counting, type Line } from "./Line.ts"

/** The lines of a folder with `golden.safetensors`. */
export const checkModel = (folder: string, engine: string): Effect.Effect<ReadonlyArray<Line>> =>
  Effect.succeed([counting(`model ${folder} on ${engine}`, 0, 1)])
