/**
 * How long a card would take: executed operations over what it reaches of its peak.
 *
 * Not a measurement, and no time for reading data, checkpoints, evaluation or what several devices say to each other.
 */
import type { Card } from "./Cards.ts"
import type { StageCost } from "./Stages.ts"

/**
 * Share of its peak that a card reaches in products, recomputed ones among them, where `--mfu` says nothing. Public
 * runs of models of 2.65 to 8 billion weights report 33 to 62 %.
 */
export const DEFAULT_MFU = 0.45

/** Peak of a card for an engine, FLOP/s; undefined where the engine computes on no GPU. */
export const peakFor = (card: Card, engine: string): number | undefined =>
  engine === "torch-bf16" ? card.bf16 : engine === "torch" || engine === "tensorflow" ? card.f32 : undefined

/** Hours of one stage on `world` such cards. */
export const hoursOf = (executed: number, peak: number, mfu: number, world: number): number =>
  executed / (peak * mfu * world) / 3600

/** What a card would take for all stages, and which do not fit it. */
export interface CardCost {
  readonly card: Card
  readonly stages: ReadonlyArray<{ readonly node: string; readonly hours: number; readonly fits: boolean }>
  /** By the clock, and times the number of cards. */
  readonly hours: number
  readonly cardHours: number
  readonly fits: boolean
}

export const cardCost = (
  card: Card,
  engine: string,
  stages: ReadonlyArray<StageCost>,
  mfu: number,
  world: number
): CardCost | undefined => {
  const peak = peakFor(card, engine)
  if (peak === undefined) return undefined
  const each = stages.map(({ executed, memory, node }) => ({
    node: node.id,
    hours: hoursOf(executed, peak, mfu, world),
    fits: memory.bytes <= card.gib * 2 ** 30
  }))
  const hours = each.reduce((sum, one) => sum + one.hours, 0)
  return { card, stages: each, hours, cardHours: hours * world, fits: each.every(({ fits }) => fits) }
}
