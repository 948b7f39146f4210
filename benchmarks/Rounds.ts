/**
 * Rounds that take turns: ours, the peer, the peer, ours, ... so that a busy machine is busy for both.
 *
 * Not a statistic: every round's figure is kept, the row takes medians. One round of each comes before and is not
 * counted; it tells how long each takes. The shorter one is then repeated within a round, up to ten times, until both
 * work about as long: a busy machine lets short work through and slows long work down, which is not what is measured.
 */
import type { Benchmark } from "./Row.ts"

/** A figure of work in another process, and the processor's seconds it took there. */
export interface Elsewhere {
  readonly figure: number
  readonly cpu: number
}

/** One figure in the row's unit, from one round. Round -1 is the one that warms up. */
export type Round = (round: number) => Promise<number | Elsewhere>

/** Figures a round, and the processor's seconds of all rounds for one pass over the input, threads added up. */
export interface Figures {
  readonly ours: ReadonlyArray<number>
  readonly peer: ReadonlyArray<number>
  readonly cpu: { readonly ours: number; readonly peer: number }
}

/** How rounds are run. */
export interface Turns {
  /** Rounds that count. */
  readonly rounds: number
  /** What the figures are: of repeats within a round, times are averaged, and rates by the time they took. */
  readonly better: Benchmark["better"]
  /** False where a second pass over the same input would be another task, as with caches. */
  readonly repeat?: boolean
}

const MOST_REPEATS = 10

/** The mean of times, the harmonic mean of rates. */
export const meanOf = (better: Benchmark["better"], figures: ReadonlyArray<number>): number =>
  better === "less"
    ? figures.reduce((sum, figure) => sum + figure, 0) / figures.length
    : figures.length / figures.reduce((sum, figure) => sum + 1 / figure, 0)

/** Times that work of `mine` seconds is repeated to last as long as work of `other` seconds. */
export const repeatsFor = (mine: number, other: number): number =>
  Math.max(1, Math.min(MOST_REPEATS, Math.round(other / mine) || 1))

/** Runs the rounds of both, taking turns at going first. */
export const interleave = async (
  { better, repeat = true, rounds }: Turns,
  ours: Round,
  peer: Round
): Promise<Figures> => {
  const runs = { ours, peer }
  const warm = { ours: 0, peer: 0 }
  for (const who of ["peer", "ours"] as const)
    warm[who] = await seconds(async () => {
      await runs[who](-1)
    })
  const repeats = {
    ours: repeat ? repeatsFor(warm.ours, warm.peer) : 1,
    peer: repeat ? repeatsFor(warm.peer, warm.ours) : 1
  }
  const figures = { ours: [] as Array<number>, peer: [] as Array<number> }
  const cpu = { ours: 0, peer: 0 }
  for (let round = 0; round < rounds; round++)
    for (const who of round % 2 === 0 ? (["ours", "peer"] as const) : (["peer", "ours"] as const)) {
      const made: Array<number> = []
      for (let i = 0; i < repeats[who]; i++) {
        const before = process.cpuUsage()
        const one = await runs[who](round)
        const { system, user } = process.cpuUsage(before)
        made.push(typeof one === "number" ? one : one.figure)
        cpu[who] += (typeof one === "number" ? (user + system) / 1e6 : one.cpu) / repeats[who]
      }
      figures[who].push(meanOf(better, made))
    }
  return { ...figures, cpu }
}

/** Seconds that `work` takes. */
export const seconds = async (work: () => unknown): Promise<number> => {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}
