/**
 * The card that libtorch names, and what it can do at most: dense bfloat16 with float32 sums, as its maker states it.
 */
import { cardOf } from "../../src/cost/Cards.ts"

/** FLOP/s of a card; undefined for one that is not listed, or none. */
export const peakOf = (name: string | null): number | undefined => (name === null ? undefined : cardOf(name)?.bf16)

/** The device as a note says it. */
export const cardText = (name: string | null, bytes: number): string =>
  name === null ? "no GPU" : `${name}, ${(bytes / 2 ** 30).toFixed(0)} GiB`
