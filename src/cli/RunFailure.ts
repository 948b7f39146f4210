/** Which error of a run's cause a person is shown, and whether the run only stopped. */
import { Cause, Result } from "effect"
import { Interrupted } from "../run/Run.ts"
import { namedTooManyFiles } from "../store/OpenFiles.ts"

const causeOf = (cause: Cause.Cause<unknown>): unknown => {
  const errors = cause.reasons.filter(Cause.isFailReason).map((reason) => reason.error)
  const real = errors.find((error) => !(error instanceof Interrupted))
  if (real !== undefined) return real
  const defect = Cause.findDefect(cause)
  return Result.isSuccess(defect) ? defect.success : (errors[0] ?? Cause.squash(cause))
}

/** The error to report of a cause: the first that is no interruption, else the first, else the defect. */
export const failureOf = (cause: Cause.Cause<unknown>): unknown => namedTooManyFiles(causeOf(cause))

/** True when nothing failed but the run was asked to stop (or its fiber was interrupted). */
export const wasInterrupted = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) || failureOf(cause) instanceof Interrupted
