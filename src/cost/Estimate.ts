/**
 * What a recipe's training will cost, before it runs: the value behind `--plan`'s page and its JSON.
 *
 * Holds for any recipe made of this project's training nodes: `cost: (settings, asked) => estimate(asked, ...)`.
 */
import { Effect, Schema, type Scope } from "effect"
import type { Costing, Estimate } from "../dag/Costing.ts"
import { type Card, cardCalled, cards } from "./Cards.ts"
import type { Assumed } from "./Data.ts"
import { checkpointBytes, written } from "./Disk.ts"
import { cardCost, DEFAULT_MFU } from "./Hours.ts"
import { page } from "./Page.ts"
import { isStage, stageCost } from "./Stages.ts"

/** `--gpu` names one that is not listed. */
export class UnknownCard extends Schema.TaggedError<UnknownCard>()("UnknownCard", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** Cards of which hours are said where none is named. */
const usual = ["A100-40GB", "A100-80GB", "H100"]

const chosenCards = (name: string | undefined): Effect.Effect<ReadonlyArray<Card>, UnknownCard> => {
  if (name === undefined) return Effect.succeed(usual.map((one) => cardCalled(one)!))
  const card = cardCalled(name)
  return card === undefined
    ? Effect.fail(
        new UnknownCard({
          message: `--gpu: no GPU is called "${name}"`,
          hint: `Cards: ${cards.map((one) => one.name).join(", ")}`
        })
      )
    : Effect.succeed([card])
}

/** What is known beside the pipeline. */
export interface Known {
  /** By instance id of the training node: what its data is like where it is not stored. */
  readonly published?: { readonly [node: string]: Assumed }
  /** What the recipe's authors report, as a sentence. */
  readonly reported?: string
  /** What is expected beside costs (rows that rules take, say), as lines; they stand last. */
  readonly expected?: ReadonlyArray<string>
}

/**
 * Costs every training node of a plan.
 *
 * @example estimate(asked, { published: { "sft/train": { examples: 75_000, ... } } })
 */
const whenKnown = <F extends Readonly<Record<string, number>>>(known: boolean, figures: F) =>
  known ? figures : (Object.fromEntries(Object.keys(figures).map((name) => [name, null])) as { [K in keyof F]: null })

export const estimate = (asked: Costing, known: Known = {}): Effect.Effect<Estimate, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const wanted = yield* chosenCards(asked.gpu)
    // What `auto` takes where the training will be.
    const open = asked.engineOpen && asked.engine !== "torch-bf16"
    const engine = open ? "torch-bf16" : asked.engine
    const mfu = asked.mfu ?? DEFAULT_MFU
    const stages = yield* Effect.forEach(asked.nodes.filter(isStage), (node) =>
      stageCost(asked, node, engine, known.published?.[node.id])
    )
    if (stages.length === 0) return { figures: null, lines: [] }
    const costs = wanted.flatMap((card) => cardCost(card, engine, stages, mfu, asked.world) ?? [])
    const disk = written(asked.nodes, stages)
    const figures = {
      engine,
      world: asked.world,
      mfu,
      stages: stages.map(({ amount, cached, executed, flops, memory, node, weights, ...stage }) => ({
        node: node.id,
        cached,
        exact: amount.exact,
        source: amount.source,
        shapes: stage.shapes,
        ...whenKnown(amount.known, {
          examples: amount.examples,
          rows: amount.rows,
          tokens: Math.round(amount.tokens),
          lossTokens: Math.round(amount.labels),
          images: Math.round(amount.images),
          steps: amount.steps,
          flops,
          executed
        }),
        trained: weights.trained,
        frozen: weights.frozen,
        checkpointBytes: checkpointBytes({ settings: stage.settings, weights }),
        deviceBytes: memory.bytes,
        terms: memory.terms.map((term) => ({ ...term }))
      })),
      written: disk.map((one) => ({ ...one })),
      cards: costs.map(({ card, ...cost }) => ({
        card: card.name,
        hours: cost.hours,
        cardHours: cost.cardHours,
        fits: cost.fits,
        stages: cost.stages.map((one) => ({ ...one }))
      }))
    }
    const lines = page({
      engine,
      engineWhy: open ? "what auto takes on a GPU" : undefined,
      world: asked.world,
      mfu,
      mfuGiven: asked.mfu !== undefined,
      stages,
      written: disk,
      cards: costs,
      reported: known.reported
    })
    return { figures, lines: [...lines, ...(known.expected ?? [])] }
  })
