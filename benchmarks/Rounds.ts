/**
 * Rounds that take turns: ours, the peer, the peer, ours, ... so that a busy machine is busy for both.
 *
 * Not a statistic: every figure is kept, the row takes medians. One round of each comes before and is not counted.
 */

/** One figure in the row's unit, from one round. Round -1 is the one that warms up. */
export type Round = (round: number) => Promise<number>

/** Runs `rounds` counted rounds of both, taking turns at going first. */
export const interleave = async (
  rounds: number,
  ours: Round,
  peer: Round
): Promise<{ readonly ours: ReadonlyArray<number>; readonly peer: ReadonlyArray<number> }> => {
  const figures = { ours: [] as Array<number>, peer: [] as Array<number> }
  for (let round = -1; round < rounds; round++) {
    const turns = round % 2 === 0 ? (["ours", "peer"] as const) : (["peer", "ours"] as const)
    for (const who of turns) {
      const figure = await (who === "ours" ? ours : peer)(round)
      if (round >= 0) figures[who].push(figure)
    }
  }
  return figures
}

/** Seconds that `work` takes. */
export const seconds = async (work: () => unknown): Promise<number> => {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}
