/**
 * A Phi that is trained step by step on batches that stay in memory: what `bench -- train` times of ours.
 *
 * Not a trainer: no data, no schedule and no checkpoints, but the trainer's own step (`Step.ts`), so that what is timed
 * is what a run does: upload, gradient, norm, update, loss read back. Dropout is off.
 */
import { mkdirSync } from "node:fs"
import { Effect } from "effect"
import type { PhiConfig } from "../../src/model/phi/Config.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import { phiTrainable } from "../../src/model/Trainable.ts"
import { initialWeights, uploadWeights } from "../../src/model/Weights.ts"
import { fromSources, openPhi, writePhi } from "../../src/nodes/ModelFiles.ts"
import { layer } from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { freeState, initialState, type TrainState, trainStep } from "../../src/training/Step.ts"

/** A shape of Phi-2's kind: bias, activation and context are Phi-2's, and so is a `rotary` of 0.4. */
export const phiOf = (
  sizes: Pick<PhiConfig, "hiddenSize" | "layers" | "heads" | "vocabSize"> & { readonly rotary: number }
): PhiConfig => ({
  vocabSize: sizes.vocabSize,
  hiddenSize: sizes.hiddenSize,
  intermediateSize: 4 * sizes.hiddenSize,
  layers: sizes.layers,
  heads: sizes.heads,
  maxPositions: 2048,
  partialRotaryFactor: sizes.rotary,
  ropeTheta: 10_000,
  layerNormEps: 1e-5,
  residualDropout: 0,
  initializerRange: 0.02,
  activation: "tanh",
  headBias: true,
  bosToken: 0,
  eosToken: 0,
  padToken: 0
})

/** Writes a model with seeded weights that both sides load; the same config gives the same bytes. */
export const writeModel = async (config: PhiConfig, folder: string): Promise<void> => {
  mkdirSync(folder, { recursive: true })
  const weights = initialWeights(phiShapes(config), 0, config.initializerRange)
  await Effect.runPromise(writePhi(folder, config, fromSources(weights, "float32")))
}

/** A batch as the peer reads it; `mask` null where no token is padding. */
export const peerBatch = ({ ids_BT, labels_BT, rows, segments_BT, time }: TokenBatch): object => ({
  rows,
  time,
  ids: [...ids_BT],
  labels: [...labels_BT],
  mask: segments_BT.every((segment) => segment !== 0) ? null : [...segments_BT]
})

/** Steps done: the loss of each before its update, and how long all took. */
export interface Steps {
  readonly seconds: number
  readonly losses: ReadonlyArray<number>
}

/** A model in training. */
export interface Training {
  /** The next `count` batches, the first again after the last. */
  readonly steps: (count: number) => Promise<Steps>
  readonly stop: () => Promise<void>
}

/** Loads a model into an engine. A batch is the micro-batches of one update. */
export const startTraining = async (
  engine: string,
  folder: string,
  batches: ReadonlyArray<ReadonlyArray<TokenBatch>>,
  lr: number
): Promise<Training> => {
  const tensors = await Effect.runPromise(Effect.provide(Tensors, layer(engine)))
  const run = <A, E>(effect: Effect.Effect<A, E, Tensors>): Promise<A> =>
    Effect.runPromise(Effect.provideService(effect, Tensors, tensors))
  const { config, weights } = await run(
    Effect.scoped(
      Effect.gen(function* () {
        const { config, sources } = yield* openPhi({ path: folder }, "keep")
        return { config, weights: yield* uploadWeights(sources) }
      })
    )
  )
  const model = phiTrainable(config)
  let state: TrainState = await run(initialState(weights))
  let at = 0
  const next = Effect.gen(function* () {
    const result = yield* trainStep(model, state, {}, batches[at % batches.length]!, {
      lr,
      seed: 0,
      step: at,
      dropout: false
    })
    state = result.state
    at++
    return result.loss
  })
  return {
    steps: async (count) => {
      const started = performance.now()
      const losses = await run(Effect.all(Array.from({ length: count }, () => next)))
      return { seconds: (performance.now() - started) / 1000, losses }
    },
    stop: () => run(freeState(state))
  }
}
