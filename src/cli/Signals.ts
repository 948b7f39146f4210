/**
 * What the next Ctrl-C means: ask the run to stop, nothing (the same one, passed on twice), or end at once.
 *
 * Pure: `Start.ts` listens and acts. A terminal sends Ctrl-C to the whole process group and runners such as npx and tsx
 * pass it on, so one key press arrives more than once; a person's second press comes later.
 */

/** Signals closer together than this are one key press, ms. */
export const samePressMs = 500

export type Meaning = "stop" | "again" | "end"

/**
 * Gives the meaning of each signal in turn; `atMs` never goes back. `canStop`: a run is there to be asked.
 *
 * @example
 * const means = signals()
 * means(0, true) // "stop"
 * means(80, true) // "again"
 * means(2000, true) // "end"
 */
export const signals = (): ((atMs: number, canStop: boolean) => Meaning) => {
  let askedMs: number | undefined
  return (atMs, canStop) => {
    if (askedMs !== undefined) return atMs - askedMs < samePressMs ? "again" : "end"
    if (!canStop) return "end"
    askedMs = atMs
    return "stop"
  }
}
