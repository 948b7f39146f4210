/** A config.json that does not describe a model this project can build. */
import { Effect, Schema } from "effect"

export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", {
  model: Schema.String,
  field: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  /** The file, where one was read. */
  path: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Unknown)
}) {}

/**
 * The same, with the file that was read in the errors.
 *
 * @example yield* decodeClipConfig(json).pipe(inFile(path))
 */
export const inFile =
  (path: string) =>
  <A, E, R>(decoded: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.mapError(decoded, (error) => {
      if (!(error instanceof ConfigError)) return error
      const { cause, field, hint, message, model } = error
      return new ConfigError({ model, field, message, hint, path, ...(cause === undefined ? {} : { cause }) }) as E &
        ConfigError
    })
