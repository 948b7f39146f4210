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

/**
 * Milliseconds that a run which was asked to stop has to do so, unless a person at a terminal asked, who can ask again.
 * `fold`: one runs, and its checkpoint is worth waiting for. Schedulers send SIGKILL after 30 s (Kubernetes, Slurm).
 *
 * @example
 * stopMs({ fold: false, seconds: undefined }) // 5000
 */
export const stopMs = (run: { readonly fold: boolean; readonly seconds: number | undefined }): number =>
  1000 * (run.seconds ?? (run.fold ? 20 : 5))

/** Milliseconds after that, in which threads are ended and the record is closed. */
export const endMs = 5000
