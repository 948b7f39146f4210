/**
 * What a kind of fuzzing is: inputs made from a seed, and a check that a reader does nothing but accept or refuse them.
 *
 * A check throws when the reader breaks a promise: an untyped error, a defect, a wrong answer, too much output.
 */
import { Cause, Effect, Exit, Result } from "effect"
import type { Random } from "./Random.ts"

/** What the reader said, and how much it gave. */
export interface Verdict {
  /** `accepted`, or why not. */
  readonly said: string
  /** Bytes (or UTF-16 units) of everything it gave. */
  readonly output: number
}

/** A kind with whatever it had to load. `I` is what an input is. */
export interface Fuzzer<I> {
  /** The `random` of an input is given again to its check, further on. */
  readonly input: (random: Random) => I | Promise<I>
  readonly check: (input: I, random: Random) => Promise<Verdict>
  /** Bytes or UTF-16 units. */
  readonly size: (input: I) => number
  /** Output at most for an input of that size. */
  readonly bound: (size: number) => number
}

export interface Kind {
  readonly name: string
  /** `folder` is scratch space of its own. */
  readonly load: (folder: string) => Promise<Fuzzer<any>>
}

/** A promise was broken. */
export class Broken extends Error {
  override readonly name = "Broken"
}

export const demand = (truth: boolean, what: string): void => {
  if (!truth) throw new Broken(what)
}

/** Runs an effect that may fail with errors of these classes, and with nothing else. */
export const typed = async <A, E>(
  effect: Effect.Effect<A, E>,
  classes: ReadonlyArray<abstract new (...args: any) => Error>
): Promise<Result.Result<A, E>> => {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return Result.succeed(exit.value)
  const found = Cause.findError(exit.cause)
  if (Result.isSuccess(found)) {
    const error = found.success
    if (classes.some((one) => error instanceof one)) {
      const { hint } = error as { readonly hint?: unknown }
      demand(typeof hint === "string" && hint !== "", "an error without a hint")
      return Result.fail(error)
    }
  }
  throw new Broken(`untyped: ${Cause.pretty(exit.cause)}`)
}

/** Tag and reason of a typed error. */
export const reasonOf = (error: unknown): string => {
  const { _tag, reason } = error as { readonly _tag?: string; readonly reason?: string }
  return reason === undefined ? String(_tag) : `${_tag}: ${reason}`
}
