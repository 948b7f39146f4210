/** Where the golden command meets the model checks: an engine by name, one folder's lines. */
import { Effect } from "effect"
import { checkModelFolder } from "../../model/Golden.ts"
import { layer } from "../../tensor/Engine.ts"
import type { Line } from "./Line.ts"

/**
 * The lines of a model set, computed with the engine called `engine`. Fails where a case cannot be run at all:
 * unreadable files, an engine that is not there.
 */
export const checkModel = (folder: string, engine: string) =>
  checkModelFolder(folder).pipe(
    Effect.map((checks): ReadonlyArray<Line> => checks.map((check) => ({ ...check, counted: true }))),
    Effect.provide(layer(engine))
  )
