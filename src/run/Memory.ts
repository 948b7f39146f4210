/** Resident memory of this process, bytes; the largest value any sample saw. */

let peak = 0

/** Samples now and returns the largest value so far. `process.memoryUsage.rss` costs about 2 us. */
export const sampledMemory = (): number => {
  peak = Math.max(peak, process.memoryUsage.rss())
  return peak
}
