/**
 * A model that is trained step by step on batches that stay in memory: what `bench -- train` and `bench -- gpu` time of
 * ours.
 *
 * Not a trainer: no data, no schedule and no checkpoints, but the trainer's own step (`Step.ts`), so that what is timed
 * is what a run does: upload, gradient, norm, update, loss read back.
 */
import { mkdirSync } from "node:fs"
import { Effect, type Scope } from "effect"
import type { CheckpointError } from "../../src/model/Checkpoint.ts"
import type { PhiConfig } from "../../src/model/phi/Config.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import { phiTrainable, type Trainable } from "../../src/model/Trainable.ts"
import { initialWeights, uploadWeights, type WeightSource } from "../../src/model/Weights.ts"
import { fromSources, type LoadError, openPhi, writePhi } from "../../src/nodes/ModelFiles.ts"
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
  // As Phi-2's; transformers would keep a padding token's embedding as it is.
  padToken: null
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

/** Steps done: the loss of each before its update, how long all took, and the most memory there was. */
export interface Steps {
  readonly seconds: number
  readonly losses: ReadonlyArray<number>
  /** Bytes; undefined where the engine does not count them. */
  readonly peakBytes: number | undefined
}

/** What is trained, from which weights, on which batches: an update's micro-batches in an array. */
export interface Task<Batch extends TokenBatch, E> {
  readonly model: Trainable<Batch, any>
  readonly trained: ReadonlyArray<WeightSource<E>>
  readonly frozen: ReadonlyArray<WeightSource<E>>
  readonly batches: ReadonlyArray<ReadonlyArray<Batch>>
  readonly lr: number
  readonly dropout: boolean
}

/** A model in training. */
export interface Training<Batch extends TokenBatch = TokenBatch> {
  /** The next `count` batches, the first again after the last. Rejects with the engine's error. */
  readonly steps: (count: number) => Promise<Steps>
  /** Goes on with the same weights in another way: recomputed blocks, other batches. */
  readonly use: (other: Pick<Task<Batch, unknown>, "model" | "batches">) => void
  readonly stop: () => Promise<void>
}

/** A Phi of a folder, on full or packed rows. */
export const phiTask = (
  folder: string,
  batches: ReadonlyArray<ReadonlyArray<TokenBatch>>,
  lr: number
): Effect.Effect<Task<TokenBatch, CheckpointError>, LoadError, Scope.Scope> =>
  Effect.map(openPhi({ path: folder }, "keep"), ({ config, sources }) => ({
    model: phiTrainable(config),
    trained: sources,
    frozen: [],
    batches,
    lr,
    dropout: false
  }))

/** Runs an effect on an engine. Rejects with its typed error. */
export const onEngine = async <A, E>(engine: string, effect: Effect.Effect<A, E, Tensors | Scope.Scope>): Promise<A> =>
  await Effect.runPromise(Effect.scoped(Effect.provide(effect, layer(engine))))

/** Loads what is to be trained into an engine. */
export const startTraining = async <Batch extends TokenBatch, E, F>(
  engine: string,
  task: Effect.Effect<Task<Batch, E>, F, Scope.Scope>
): Promise<Training<Batch>> => {
  const started = await onEngine(
    engine,
    Effect.gen(function* () {
      const { batches, dropout, frozen, lr, model, trained } = yield* task
      const held = yield* uploadWeights(frozen)
      const state = yield* initialState(yield* uploadWeights(trained))
      return { model, batches, lr, dropout, frozen: held, state }
    })
  )
  const { dropout, frozen, lr } = started
  let { batches, model } = started
  let state: TrainState = started.state
  let at = 0
  const next = Effect.gen(function* () {
    const options = { lr, seed: 0, step: at, dropout }
    const result = yield* trainStep(model, state, frozen, batches[at % batches.length]!, options)
    state = result.state
    at++
    return result.loss
  })
  const smallest = Object.entries(state.weights).reduce((a, b) => (b[1].size < a[1].size ? b : a))[0]
  return {
    steps: (count) =>
      onEngine(
        engine,
        Effect.gen(function* () {
          const tensors = yield* Tensors
          yield* tensors.memory // its peak counts from here
          const from = performance.now()
          const losses = yield* Effect.all(Array.from({ length: count }, () => next))
          // The last update may still be under way on a device: what is read was written by it.
          yield* tensors.read(state.weights[smallest]!)
          const seconds = (performance.now() - from) / 1000
          const { peakBytes } = yield* tensors.memory
          return { seconds, losses, peakBytes }
        })
      ),
    use: (other) => {
      batches = other.batches
      model = other.model
      at = 0
    },
    stop: () =>
      onEngine(
        engine,
        Effect.andThen(
          freeState(state),
          Effect.flatMap(Tensors, (tensors) => tensors.free(frozen))
        )
      )
  }
}
