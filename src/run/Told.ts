/**
 * Errors as another thread can take them: tag, message and fields cross, and make an error of the same words there.
 *
 * Not the class: `instanceof` is lost, `_tag` and the fields (row, path, hint) are kept. A cause may be anything, so only
 * its text crosses.
 */
import { Cause, Effect, Result } from "effect"

/** An effect's end as plain data: its value, or its error and whether that is a defect. */
export type ToldExit =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly bug: boolean; readonly error: ToldError }

export interface ToldError {
  readonly name: string
  readonly message: string
  /** `_tag` and `hint` among them. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly trace: string
}

const own = ["name", "message", "stack", "cause"]

/** Plain data of an error's field; what cannot be cloned is told as text. */
const cloned = (value: unknown): unknown => {
  try {
    return structuredClone(value)
  } catch {
    return String(value)
  }
}

export const tellError = (error: unknown, trace: string): ToldError => {
  if (typeof error !== "object" || error === null) return { name: "Error", message: String(error), fields: {}, trace }
  const { message, name, _tag } = error as { readonly [field: string]: unknown }
  const fields = Object.entries(error).filter(([field]) => !own.includes(field))
  return {
    name: typeof name === "string" ? name : "Error",
    message: typeof message === "string" ? message : "",
    fields: {
      ...Object.fromEntries(fields.map(([field, value]) => [field, cloned(value)])),
      ...(typeof _tag === "string" ? { _tag } : {})
    },
    trace
  }
}

/** An error that was told, made again. */
export const heardError = ({ fields, message, name, trace }: ToldError): Error => {
  const error = new Error(message, { cause: trace })
  Object.defineProperty(error, "name", { value: name })
  return Object.assign(error, fields)
}

/** Runs an effect to its end and tells that. */
export const tellExit = <R>(effect: Effect.Effect<unknown, unknown, R>): Effect.Effect<ToldExit, never, R> =>
  effect.pipe(
    Effect.map((value): ToldExit => ({ ok: true, value })),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      const found = Cause.findError(cause)
      const bug = !Result.isSuccess(found)
      const error = tellError(bug ? Cause.squash(cause) : found.success, Cause.pretty(cause))
      return Effect.succeed<ToldExit>({ ok: false, bug, error })
    })
  )

/** What an effect told elsewhere, as an effect here. */
export const heardExit = (told: ToldExit): Effect.Effect<unknown, Error> =>
  told.ok
    ? Effect.succeed(told.value)
    : told.bug
      ? Effect.die(heardError(told.error))
      : Effect.fail(heardError(told.error))
