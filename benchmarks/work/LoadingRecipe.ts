/**
 * A stage over large images and a small model, and how long its steps waited for their batches.
 *
 * Not a trainer of its own: `trainProjector` over pixels of 336 x 336 from Arrow shards, whose steps are timed from
 * outside. Batches are loaded by the fold's thread or by a loader's, as the run has threads.
 */
import { Effect, Schema, Stream } from "effect"
import { value } from "../../src/dag/Artifact.ts"
import { type AnyFold, type FoldContext, type FoldFunctions, fold } from "../../src/dag/Fold.ts"
import { whole } from "../../src/dag/Node.ts"
import { pipeline } from "../../src/dag/Pipeline.ts"
import { source } from "../../src/dag/Source.ts"
import {
  Examples,
  LanguageModel,
  PicturedConversations,
  Pixels,
  TokenizerFile,
  VisionTower
} from "../../src/nodes/Artifacts.ts"
import { initLanguageModel, initVisionTower } from "../../src/nodes/InitModels.ts"
import { HeadBias } from "../../src/nodes/ModelFiles.ts"
import { tokenizePictured } from "../../src/nodes/TokenizeText.ts"
import { trainProjector } from "../../src/nodes/TrainVision.ts"
import { recipe } from "../../src/run/Recipe.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { numerics } from "../../src/tensor/Fingerprint.ts"
import { TrainingSettings } from "../../src/training/Stage.ts"

const SIDE = 336
const PICTURES = 640
/** Steps before the figures count: a loader takes a second to open. */
const FIRST = 20

export const Waits = value(
  "waits",
  Schema.Struct({
    steps: Schema.Number,
    /** Seconds of all steps, and of those what was waited for batches. */
    seconds: Schema.Number,
    waited: Schema.Number,
    losses: Schema.Array(Schema.Number)
  })
)

const pictures = whole(
  {
    id: "pictures",
    version: "1",
    params: Schema.Struct({ count: Schema.Int, side: Schema.Int }),
    inputs: {},
    outputs: { rows: PicturedConversations, pixels: Pixels }
  },
  ({ params: { count, side } }) => {
    const each = Array.from({ length: count }, (_, i) => i)
    const picture = (i: number) => Uint8Array.from({ length: 3 * side * side }, (_, at) => (at * (2 * i + 1)) & 255)
    return Effect.succeed({
      rows: Stream.succeed(
        each.map((i) => ({
          id: `p${i}`,
          image: `p${i}.png`,
          conversations: [
            { from: "human" as const, value: "<image>\nWhat is this?" },
            { from: "gpt" as const, value: `Picture ${i}.` }
          ]
        }))
      ),
      pixels: Stream.map(Stream.fromIterable(each), (i) => [{ id: `p${i}`, pixels_HWC: picture(i) }])
    })
  }
)

const inputs = {
  model: LanguageModel,
  vision: VisionTower,
  tokenizer: TokenizerFile,
  data: Examples,
  heldOut: Examples,
  images: Pixels
}
type Timed = { inner: any; waited: number; readonly steps: Array<number>; readonly waits: Array<number> }
const inner = trainProjector.spec.run as AnyFold

/** The same steps, and where their time went. */
const timed: FoldFunctions<
  FoldContext<any, typeof inputs>,
  Timed,
  any,
  any,
  any,
  any,
  any,
  any,
  any,
  any,
  any,
  any,
  any
> = {
  ...(inner as FoldFunctions<any, any, any, any, any, any, any, any, any, any, any, any, any>),
  init: (context) =>
    Effect.map(inner.init(context), (made) => {
      const state: Timed = { inner: made, waited: 0, steps: [], waits: [] }
      const { ahead } = state.inner as { readonly ahead: { readonly load: (rows: unknown) => Effect.Effect<unknown> } }
      state.inner.ahead = {
        ...ahead,
        load: (rows: unknown) =>
          Effect.suspend(() => {
            const began = performance.now()
            return Effect.tap(ahead.load(rows), () =>
              Effect.sync(() => {
                state.waited += (performance.now() - began) / 1000
              })
            )
          })
      }
      return state
    }),
  step: (context, state) =>
    Effect.suspend(() => {
      const began = performance.now()
      state.waited = 0
      return Effect.map(inner.step(context, state.inner), (next) => {
        state.steps.push((performance.now() - began) / 1000)
        state.waits.push(state.waited)
        return Object.assign(state, { inner: next })
      })
    }),
  progress: (state) => inner.progress(state.inner),
  finish: (_, { inner: { losses }, steps, waits }) => {
    const sum = (of: ReadonlyArray<number>) => of.slice(FIRST).reduce((all, one) => all + one, 0)
    return Effect.succeed({
      waits: Effect.succeed({
        steps: steps.length - FIRST,
        seconds: sum(steps),
        waited: sum(waits),
        losses: [...losses]
      })
    })
  },
  state: { encode: (state) => inner.state.encode(state.inner), decode: () => Effect.die("it is not resumed") }
}

const measured = fold(
  {
    id: "measured",
    version: "1" /** `round` gives each run a key of its own, so that it is not cached. */,
    params: Schema.Struct({ ...TrainingSettings, headBias: HeadBias, round: Schema.Int }),
    inputs,
    outputs: { waits: Waits },
    engine: true
  },
  timed
)

export default recipe<Record<never, never>, any>({
  name: "bench-loading",
  presets: { small: {} },
  build: () => {
    const location = new URL("../../datasets/sample/tokenizer.json", import.meta.url)
    const tokenizer = source(TokenizerFile, { id: "tokenizer", location: location.pathname }).out.files
    const model = initLanguageModel(
      { tokenizer },
      {
        hidden: 64,
        layers: 2,
        heads: 2,
        ffn: 128,
        maxPositions: 256,
        rotary: 0.5,
        dropout: 0,
        headBias: "drop",
        std: 0.1,
        seed: 0
      }
    ).out.model
    const vision = initVisionTower(
      {},
      { hidden: 64, layers: 2, heads: 2, ffn: 128, imageSize: SIDE, patchSize: 56, std: 0.05, seed: 0 }
    ).out.model
    const { pixels, rows } = pictures({}, { count: PICTURES, side: SIDE }).out
    const none = pictures.named("none")({}, { count: 0, side: SIDE }).out.rows
    const examples = { template: "plain", maxTokens: 128 } as const
    const { waits } = measured(
      {
        model,
        vision,
        tokenizer,
        images: pixels,
        data: tokenizePictured({ rows, tokenizer, vision }, examples).out.rows,
        heldOut: tokenizePictured.named("heldOut")({ rows: none, tokenizer, vision }, examples).out.rows
      },
      {
        epochs: 2,
        lr: 1e-3,
        decay: "constant",
        warmupRatio: 0,
        batch: 16,
        microBatch: 16,
        beta1: 0.9,
        beta2: 0.98,
        eps: 1e-7,
        weightDecay: 0,
        maxGradNorm: null,
        dropout: false,
        recompute: false,
        seed: 0,
        headBias: "drop",
        round: 0
      }
    ).out
    return { pipeline: pipeline("bench-loading", { waits }) as any }
  },
  services: Engine.layer,
  engines: ["torch", "wasm"],
  numerics
})
