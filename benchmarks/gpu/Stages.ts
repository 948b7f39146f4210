/**
 * One step of each of the recipe's three stages at the paper's shapes, and the hours that the whole recipe would take.
 *
 * As trained: dropout on, towers frozen and computed in every step, gradients of what is trained alone. Projected, not
 * run: rows of a stage over its measured rate, without reading data, without checkpoints.
 */
import { Effect } from "effect"
import { patchCount } from "../../src/model/clip/Config.ts"
import { clipShapes } from "../../src/model/clip/Names.ts"
import { clipFlops, phiFlops, projectorFlops, type Tokens } from "../../src/model/Flops.ts"
import { projectorOf } from "../../src/model/llava/Config.ts"
import type { LlavaBatch } from "../../src/model/llava/Model.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import { projectorShapes } from "../../src/model/projector/Names.ts"
import { lossTokens, type TokenBatch } from "../../src/model/TokenBatch.ts"
import { llavaTrainable, phiTrainable, type Trainable } from "../../src/model/Trainable.ts"
import type { Shapes } from "../../src/model/Weights.ts"
import { type Benchmark, type Context, median } from "../Row.ts"
import { formulaWeights, hashed } from "../work/Formula.ts"
import { startTraining, type Task } from "../work/TrainSteps.ts"
import { firstThatFits, type Gpu, once, onDevice } from "./Gpu.ts"
import { tokenRows } from "./Phi2.ts"
import type { Attempt, Sizes, StageSizes } from "./Sizes.ts"

type StageName = "sft" | "pretrain" | "instruct"

/** A stage's step: rows/s of each round. */
interface Stage {
  readonly rates: ReadonlyArray<number>
  readonly note: string
}

/** Rows whose last tokens have a loss, in segments of the stage's lengths; an image's tokens after the first. */
const batchOf = (sizes: Sizes, stage: StageSizes, rows: number, pictures: boolean): LlavaBatch => {
  const { imageToken, text, vision } = sizes.llava
  const { time } = stage
  const batch = tokenRows(rows, time, Math.min(text.vocabSize, imageToken), 0)
  const ids_BT = batch.ids_BT.slice()
  const labels_BT = ids_BT.slice()
  const segments_BT = new Int32Array(rows * time)
  const patches = patchCount(vision)
  const share = stage.labels / time
  for (let row = 0; row < rows; row++) {
    let at = row * time
    for (const [i, length] of stage.parts.entries()) {
      segments_BT.fill(i + 1, at, at + length)
      labels_BT.fill(-100, at, at + Math.round((1 - share) * length))
      at += length
    }
    if (pictures) ids_BT.fill(imageToken, row * time + 1, row * time + 1 + patches)
  }
  const images = pictures ? rows : 0
  const pixels_MCSS = hashed(images * vision.channels * vision.imageSize ** 2, 1, 1)
  return { ...batch, ids_BT, labels_BT, segments_BT, images, pixels: pixels_MCSS }
}

const prefixed = (prefix: string, shapes: Shapes, std: number) =>
  formulaWeights(Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape])), std)

/** How a stage computes: a short update to warm up, then the stage's own, and again. */
const wayOf = (sizes: Sizes, name: StageName, { microBatch, recompute }: Attempt) => {
  const { llava } = sizes
  const stage = sizes[name]
  const micro = batchOf(sizes, stage, microBatch, name !== "sft")
  const count = Math.ceil(stage.batch / microBatch)
  const options = { recompute }
  const model: Trainable<LlavaBatch, any> =
    name === "sft" ? phiTrainable(llava.text, options) : llavaTrainable(llava, options)
  return { model, batches: [[micro, micro], Array.from({ length: count }, () => micro)] }
}

/** What a stage trains and what it only reads. */
const weightsOf = ({ llava }: Sizes, name: StageName): Pick<Task<LlavaBatch, never>, "trained" | "frozen"> => {
  const std = llava.text.initializerRange
  if (name === "sft") return { trained: formulaWeights(phiShapes(llava.text), std), frozen: [] }
  const language = prefixed("language.", phiShapes(llava.text), std)
  const projector = prefixed("projector.", projectorShapes(projectorOf(llava)), std)
  const vision = prefixed("vision.", clipShapes(llava.vision), std)
  return {
    trained: name === "pretrain" ? projector : [...projector, ...language],
    frozen: name === "pretrain" ? [...language, ...vision] : vision
  }
}

/** What a step of `rows` rows needs at least. */
const flopsOf = (sizes: Sizes, name: StageName, batch: TokenBatch): number => {
  const { llava } = sizes
  const { parts } = sizes[name]
  const tokens: Tokens = {
    tokens: batch.rows * batch.time,
    labels: lossTokens(batch),
    pairs: batch.rows * parts.reduce((sum, length) => sum + length ** 2 / 2, 0)
  }
  const language = phiFlops(llava.text, tokens, name !== "pretrain")
  return name === "sft"
    ? language
    : language + projectorFlops(llava, batch.rows) + clipFlops(llava.vision, llava.featureLayer, batch.rows)
}

const measure = async (context: Context, gpu: Gpu, name: StageName): Promise<Stage> => {
  const { sizes } = gpu
  const stage = sizes[name]
  const count = context.size === "full" ? 3 : 1
  const training = await startTraining(
    "torch-bf16",
    Effect.succeed({
      ...weightsOf(sizes, name),
      ...wayOf(sizes, name, stage.attempts.at(-1)!),
      lr: 1e-5,
      dropout: true
    })
  )
  const time = async (attempt: Attempt) => {
    training.use(wayOf(sizes, name, attempt))
    const rows = Math.ceil(stage.batch / attempt.microBatch) * attempt.microBatch
    const rates: Array<number> = []
    let peak = 0
    for (let round = 0; round < count; round++) {
      await training.steps(1)
      const { losses, peakBytes, seconds } = await training.steps(1)
      if (!losses.every(Number.isFinite)) throw new Error(`the loss of ${name} is ${losses.join(", ")}`)
      rates.push(rows / seconds)
      peak = Math.max(peak, peakBytes ?? 0)
    }
    return { rates, peak }
  }
  const [{ microBatch, recompute }, { peak, rates }] = await firstThatFits(context, stage.attempts, time).finally(
    training.stop
  )
  const card = await gpu.card(context)
  const flops = flopsOf(sizes, name, batchOf(sizes, stage, 1, name !== "sft"))
  const mfu =
    card.peak === undefined
      ? "no MFU: its peak is not known"
      : `MFU ${((100 * flops * median(rates)) / card.peak).toFixed(1)} %`
  const how = `${microBatch} at once, ${recompute ? "every block computed again" : "nothing recomputed"}`
  return {
    rates,
    note: `${stage.batch} rows of ${stage.time} tokens a step, ${stage.labels} with a loss, ${how}; ${(flops / 1e12).toPrecision(3)} TFLOP a row; ${mfu}; ${(peak / 2 ** 30).toFixed(1)} GiB; ${card.text}`
  }
}

const about: Readonly<Record<StageName, string>> = {
  sft: "the language model on packed conversations",
  pretrain: "the projector on captions, tower and language model frozen",
  instruct: "projector and language model on questions about images, tower frozen"
}

/** What the paper's authors report for the recipe. */
const PAPER_HOURS = 76

export const stageRows = (gpu: Gpu): ReadonlyArray<Benchmark> => {
  const names = ["sft", "pretrain", "instruct"] as const
  const measured = Object.fromEntries(
    names.map((name) => [name, once((context) => measure(context, gpu, name))])
  ) as Record<StageName, (context: Context) => Promise<Stage>>
  const alone = { better: "more", goal: null, peerName: "none" } as const
  return [
    ...names.map((name) =>
      onDevice(gpu, {
        ...alone,
        name: `stage-${name}`,
        about: about[name],
        unit: "samples/s",
        run: async (context) => {
          const { note, rates } = await measured[name](context)
          return { ours: rates, peer: [], note }
        }
      })
    ),
    onDevice(gpu, {
      name: "recipe-hours",
      about: "GPU-hours of the whole recipe, projected from the stages' rates",
      unit: "GPU-hours",
      better: "less",
      goal: null,
      peerName: "the paper's A100-hours",
      run: async (context) => {
        let hours = 0
        const parts: Array<string> = []
        for (const name of names) {
          const { rows, source } = gpu.sizes[name]
          const some = rows / median((await measured[name](context)).rates) / 3600
          hours += some
          parts.push(`${name} ${some.toPrecision(3)} h for ${rows} rows (${source})`)
        }
        return { ours: [hours], peer: [PAPER_HOURS], note: `projected, not run: ${parts.join("; ")}` }
      }
    })
  ]
}
