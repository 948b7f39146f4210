/**
 * Learning-rate schedules: the multiplier of the base rate at each optimiser step, as a pure function of the step.
 *
 * Not an optimiser and without state: resuming needs the step alone. Steps count from 0; the multiplier of step `s` is
 * the one used by the update number `s`.
 *
 * Past `totalSteps` the last multiplier stays (the original's cosine would rise again).
 *
 * Source: `get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup` and the constant schedules of
 * `transformers`.
 */

/** Decay after the warm-up. `cycles` (cosine, default 0.5) is in waves: 0.5 ends at zero. */
export type Decay = "linear" | "cosine" | "constant"

/** Warm-up is given in steps or as a share of all steps, rounded up; neither means none. */
export interface ScheduleOptions {
  readonly decay: Decay
  readonly totalSteps: number
  readonly warmupSteps?: number
  readonly warmupRatio?: number
  readonly cycles?: number
}

/** Step to multiplier in [0, 1]. */
export type Schedule = (step: number) => number

/**
 * Number of warm-up steps: `warmupSteps` when positive, else `ceil(totalSteps * warmupRatio)`.
 *
 * @example
 * warmupSteps({ decay: "cosine", totalSteps: 1000, warmupRatio: 0.03 }) // 30
 */
export const warmupSteps = (options: ScheduleOptions): number => {
  const steps = options.warmupSteps ?? 0
  return steps > 0 ? steps : Math.ceil(options.totalSteps * (options.warmupRatio ?? 0))
}

/**
 * The multiplier of each step: linear rise over the warm-up, then the decay to zero at `totalSteps`.
 *
 * Throws `RangeError` for a total or warm-up that is no non-negative integer, or a ratio outside [0, 1].
 *
 * @example
 * const multiplier = schedule({ decay: "linear", totalSteps: 100 })
 * multiplier(50) // 0.5
 */
export const schedule = (options: ScheduleOptions): Schedule => {
  const { decay, totalSteps } = options
  const ratio = options.warmupRatio ?? 0
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
  if (!isCount(totalSteps) || !isCount(options.warmupSteps ?? 0) || !(ratio >= 0 && ratio <= 1)) {
    throw new RangeError(
      `schedule: totalSteps ${totalSteps}, warmupSteps ${options.warmupSteps ?? 0} and warmupRatio ${ratio} must be ` +
        "non-negative integers and a share in [0, 1]"
    )
  }
  const warmup = warmupSteps(options)
  const cycles = options.cycles ?? 0.5
  const remaining = Math.max(1, totalSteps - warmup)
  return (step) => {
    if (step < warmup) return step / Math.max(1, warmup)
    if (decay === "constant") return 1
    if (decay === "linear") return Math.max(0, (totalSteps - step) / remaining)
    const progress = Math.max(0, Math.min(step, totalSteps) - warmup) / remaining
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)))
  }
}
