/**
 * What a card can do at most: dense bfloat16 with float32 sums, as its maker states it, by the name libtorch tells.
 *
 * Not measured. A card that is not listed has no MFU: it is said, and never guessed.
 */

/** Part of a name and FLOP/s; the first that fits counts. */
const peaks: ReadonlyArray<readonly [RegExp, number]> = [
  [/\bB200\b/, 2250e12],
  [/\bGH200\b/, 989e12],
  [/\bH200\b.*\bNVL\b/, 835e12],
  [/\bH200\b/, 989e12],
  [/\bH100\b.*\bNVL\b/, 835e12],
  [/\bH100\b.*\bPCIe\b/, 756e12],
  [/\bH100\b/, 989e12],
  [/\bH800\b/, 989e12],
  [/\bA100\b/, 312e12],
  [/\bA800\b/, 312e12],
  [/\bL40S\b/, 362e12],
  [/\bL4\b/, 121e12],
  [/\bA10\b/, 125e12]
]

/** FLOP/s of a card; undefined for one that is not listed, or none. */
export const peakOf = (name: string | null): number | undefined =>
  name === null ? undefined : peaks.find(([pattern]) => pattern.test(name))?.[1]

/** The device as a note says it. */
export const cardText = (name: string | null, bytes: number): string =>
  name === null ? "no GPU" : `${name}, ${(bytes / 2 ** 30).toFixed(0)} GiB`
