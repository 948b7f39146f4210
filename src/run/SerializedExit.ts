/**
 * Errors as data for another thread or process: encoded by their Schema there and decoded here, to the same class where
 * that is named (`dag/Crossing.ts`), else to an error of the same tag, fields and words.
 *
 * A cause may be anything, so only its text crosses. Secrets of the pipeline's parameters do not. Plain JSON.
 */
import { Cause, Effect, Result, Schema } from "effect"
import { InputUnavailable } from "../dag/Artifact.ts"
import { NotCanonical } from "../dag/Canonical.ts"
import { classOf, crossing } from "../dag/Crossing.ts"
import { EnvironmentError } from "../dag/Environment.ts"
import { ShardFormatError } from "../dag/Format.ts"
import { HelperFailed } from "../dag/Helpers.ts"
import { LoaderFailed } from "../dag/Loader.ts"
import { PackageMissing } from "../dag/Missing.ts"
import { WiringError } from "../dag/Node.ts"
import { RankLost } from "../dag/ProcessGroup.ts"
import { UndeclaredRefusal } from "../dag/Refusals.ts"
import { WrongResult } from "../dag/Results.ts"
import { holdsRedacted, scrub, scrubJson } from "../dag/Secrets.ts"
import { DownloadError } from "../store/remote/DownloadError.ts"
import { SourceError, StoreError } from "../store/Store.ts"
import { NodeTimeout } from "./Retry.ts"
import { Interrupted, NodeFailed, NodesFailed, SelectionError } from "./Run.ts"

crossing(InputUnavailable, NotCanonical, EnvironmentError, ShardFormatError, HelperFailed, LoaderFailed, PackageMissing)
crossing(WiringError, UndeclaredRefusal, WrongResult, RankLost, DownloadError, SourceError, StoreError, NodeTimeout)
crossing(Interrupted, NodeFailed, NodesFailed, SelectionError)

/** An error as plain data. */
export const SerializedError = Schema.Struct({
  name: Schema.String,
  message: Schema.String,
  /** `_tag` and `hint` among them; by the class's Schema where it has one, which then is `encoded`. */
  fields: Schema.Record(Schema.String, Schema.Unknown),
  encoded: Schema.Boolean,
  trace: Schema.String
})
export type SerializedError = typeof SerializedError.Type

/** An effect's end as plain data: its value, or its error and whether that is a defect. */
export type SerializedExit =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly bug: boolean; readonly error: SerializedError }

const own = ["name", "message", "stack", "cause"]

/** Plain data of an error's field; text where there is none. */
const plain = (value: unknown, depth = 0): unknown => {
  if (value === null || typeof value === "string" || typeof value === "boolean" || value === undefined) return value
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (typeof value !== "object" || depth > 8 || value instanceof Error) return String(value)
  if (Array.isArray(value)) return value.map((one) => plain(one, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one, depth + 1)]))
}

type Fields = Readonly<Record<string, unknown>>

const encoders = new WeakMap<object, (error: object) => Fields | undefined>()

/** The fields of an error by the Schema that its class is; undefined where it is none, or has no JSON form. */
const encoderOf = (built: object): ((error: object) => Fields | undefined) => {
  const known = encoders.get(built)
  if (known !== undefined) return known
  let encoder: (error: object) => Fields | undefined = () => undefined
  if (Schema.isSchema(built) && !holdsRedacted(built as unknown as Schema.Top)) {
    const encode = Schema.encodeUnknownResult(Schema.toCodecJson(built as unknown as Schema.Codec<unknown, unknown>))
    encoder = (error) => {
      const result = encode(error)
      return Result.isSuccess(result) ? (plain(result.success) as Fields) : undefined
    }
  }
  encoders.set(built, encoder)
  return encoder
}

/** The same error without its cause, which may have no JSON form. */
const withoutCause = (error: object): object =>
  Object.defineProperties(Object.create(Object.getPrototypeOf(error)), {
    ...Object.getOwnPropertyDescriptors(error),
    cause: { value: undefined, configurable: true, enumerable: true, writable: true }
  }) as object

export const encodeError = (error: unknown, trace: string): SerializedError => {
  const serialized = (name: string, message: string, fields: Fields, encoded: boolean): SerializedError => ({
    name,
    message: scrub(message),
    fields: scrubJson(fields),
    encoded,
    trace: scrub(trace)
  })
  if (typeof error !== "object" || error === null) return serialized("Error", String(error), {}, false)
  const { message, name, _tag } = error as { readonly [field: string]: unknown }
  const said = [typeof name === "string" ? name : "Error", typeof message === "string" ? message : ""] as const
  const encoded = encoderOf(error.constructor)(withoutCause(error))
  if (encoded !== undefined) {
    const { cause: _, ...fields } = encoded
    return serialized(...said, { ...fields, ...(typeof _tag === "string" ? { _tag } : {}) }, true)
  }
  const fields = Object.entries(error).filter(([field]) => !own.includes(field))
  return serialized(
    ...said,
    {
      ...Object.fromEntries(fields.map(([field, value]) => [field, plain(value)])),
      ...(typeof _tag === "string" ? { _tag } : {})
    },
    false
  )
}

/** The error again: of its own class where that is registered (`dag/Crossing.ts`). */
export const decodeError = ({ encoded, fields, message, name, trace }: SerializedError): Error => {
  const built = encoded ? classOf(fields["_tag"]) : undefined
  if (built !== undefined) {
    const codec = Schema.toCodecJson(built as unknown as Schema.Codec<Error, unknown>)
    const result = Schema.decodeUnknownResult(codec)(fields)
    if (Result.isSuccess(result)) {
      const error = result.success
      if (error.cause === undefined) Object.defineProperty(error, "cause", { value: trace, configurable: true })
      return error
    }
  }
  const error = new Error(message, { cause: trace })
  Object.defineProperty(error, "name", { value: name, writable: true, configurable: true })
  return Object.assign(error, fields)
}

/** Whether an error, or one below it, has this tag. Errors that crossed have their tag alone. */
export const hasTag = (error: unknown, tag: string): boolean => {
  const seen = new Set<unknown>()
  for (let at = error; typeof at === "object" && at !== null && !seen.has(at); ) {
    seen.add(at)
    const { _tag, cause } = at as { readonly _tag?: unknown; readonly cause?: unknown }
    if (_tag === tag) return true
    at = cause
  }
  return false
}

/** Runs an effect, and gives its end as data. */
export const encodeExit = <R>(effect: Effect.Effect<unknown, unknown, R>): Effect.Effect<SerializedExit, never, R> =>
  effect.pipe(
    Effect.map((value): SerializedExit => ({ ok: true, value })),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      const found = Cause.findError(cause)
      const bug = !Result.isSuccess(found)
      const error = encodeError(bug ? Cause.squash(cause) : found.success, Cause.pretty(cause))
      return Effect.succeed<SerializedExit>({ ok: false, bug, error })
    })
  )

/** The end of an effect that ran elsewhere, as an effect here. */
export const decodeExit = (exit: SerializedExit): Effect.Effect<unknown, Error> =>
  exit.ok
    ? Effect.succeed(exit.value)
    : exit.bug
      ? Effect.die(decodeError(exit.error))
      : Effect.fail(decodeError(exit.error))
