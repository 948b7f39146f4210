/**
 * What a Ctrl-C means in a chat: stop the answer, nothing (the same one, passed on twice), or leave.
 *
 * Pure: `Start.ts` listens and acts. Unlike a run's (`../Signals.ts`) a chat goes on after a stop, and has many
 * answers.
 */
import { samePressMs } from "../Signals.ts"

export type Meaning = "stop" | "again" | "leave"

/**
 * Gives the meaning of each press in turn; `atMs` never goes back, `answer` is the number of the answer under way. The
 * first press during an answer stops it; any other leaves.
 *
 * @example
 * const means = presses()
 * means(0, 0) // "stop"
 * means(80, undefined) // "again"
 * means(2000, undefined) // "leave"
 */
export const presses = (): ((atMs: number, answer: number | undefined) => Meaning) => {
  let lastMs: number | undefined
  let stopped: number | undefined
  return (atMs, answer) => {
    if (lastMs !== undefined && atMs - lastMs < samePressMs) return "again"
    lastMs = atMs
    if (answer === undefined || answer === stopped) return "leave"
    stopped = answer
    return "stop"
  }
}
