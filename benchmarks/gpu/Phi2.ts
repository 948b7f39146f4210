/**
 * Phi-2 at full size in bfloat16 over float32 weights and moments: tokens/s, MFU and peak memory, beside transformers.
 *
 * The two do not fit one card together: the peer is measured first and ends, then ours. Each takes the most rows at
 * once that fit it. Weights are the same on both sides, by formula (`work/Formula.ts`), so first losses must agree.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { fullRows, phiFlops } from "../../src/model/Flops.ts"
import { type PhiConfig, phiConfigJson } from "../../src/model/phi/Config.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import { phiTrainable } from "../../src/model/Trainable.ts"
import { OutOfMemory } from "../../src/tensor/Errors.ts"
import { type Benchmark, type Context, type Measured, median, type Unmatched } from "../Row.ts"
import { formulaWeights, hashed } from "../work/Formula.ts"
import { peerBatch, startTraining } from "../work/TrainSteps.ts"
import { type Card, firstThatFits, type Gpu, once, onDevice, threads, withPeer } from "./Gpu.ts"

const LR = 1e-5
/** First losses may differ by this share: other rows where the micro-batches differ, bfloat16 where not. */
const TOLERANCE = 1e-2

/** One side: tokens/s of each round, with so many rows at once. */
interface Side {
  readonly rows: number
  readonly rates: ReadonlyArray<number>
  readonly loss: number
  readonly peak: number | undefined
}

interface Both {
  readonly ours: Side
  readonly peer: Side
  readonly card: Card
  readonly versions: string
}

/** Rows of tokens by formula. */
export const tokenRows = (rows: number, time: number, vocab: number, salt: number): TokenBatch => {
  const ids_BT = Int32Array.from(hashed(rows * time, salt, 12 ** -0.5), (u) =>
    Math.min(vocab - 1, Math.floor((u + 0.5) * vocab))
  )
  return { rows, time, ids_BT, labels_BT: ids_BT, segments_BT: new Int32Array(rows * time).fill(1) }
}

/** Steps whose losses and peak are kept: two to warm up, then rounds. */
const rounds = async (
  gpu: Gpu,
  rows: number,
  steps: (
    count: number
  ) => Promise<{ readonly seconds: number; readonly losses: ReadonlyArray<number>; readonly peak: number | undefined }>
): Promise<Side> => {
  const { rounds: count, steps: each, time } = gpu.sizes
  const warm = await steps(2)
  const rates: Array<number> = []
  let peak = warm.peak
  for (let round = 0; round < count; round++) {
    const one = await steps(each)
    rates.push((each * rows * time) / one.seconds)
    if (one.peak !== undefined) peak = Math.max(peak ?? 0, one.peak)
  }
  return { rows, rates, loss: warm.losses[0]!, peak }
}

const measurePeer = (context: Context, gpu: Gpu, config: PhiConfig): Promise<Side & { readonly versions: string }> =>
  withPeer(context, async (peer) => {
    const { microBatches, time } = gpu.sizes
    const batchesOf = (rows: number): string => {
      const path = join(context.data, `phi2-batches-${rows}.json`)
      const some = [0, 1].map((salt) => peerBatch(tokenRows(rows, time, config.vocabSize, salt)))
      writeFileSync(path, JSON.stringify(some))
      return path
    }
    await peer.ask({
      do: "make",
      config: phiConfigJson(config),
      std: config.initializerRange,
      batches: batchesOf(microBatches[0]!),
      lr: LR,
      threads: threads(),
      device: gpu.device,
      bf16: true
    })
    const [, side] = await firstThatFits(context, microBatches, async (rows) => {
      await peer.ask({ do: "batching", batches: batchesOf(rows) })
      return await rounds(gpu, rows, async (count) => {
        const answer = await peer.ask({ do: "steps", count })
        if (answer["full"] === true)
          throw new OutOfMemory({
            engine: "PyTorch",
            requestedBytes: 0,
            heldBytes: 0,
            hint: "Take fewer rows at a time."
          })
        const peak = answer["peak"]
        return {
          seconds: answer.seconds,
          losses: answer["losses"] as ReadonlyArray<number>,
          peak: typeof peak === "number" ? peak : undefined
        }
      })
    })
    return { ...side, versions: peer.versions }
  })

const measureOurs = async (context: Context, gpu: Gpu, config: PhiConfig): Promise<Side> => {
  const { microBatches, time } = gpu.sizes
  const model = phiTrainable(config)
  const training = await startTraining(
    "torch-bf16",
    Effect.succeed({
      model,
      trained: formulaWeights(phiShapes(config), config.initializerRange),
      frozen: [],
      batches: [],
      lr: LR,
      dropout: false
    })
  )
  try {
    const [, side] = await firstThatFits(context, microBatches, async (rows) => {
      training.use({ model, batches: [0, 1].map((salt) => [tokenRows(rows, time, config.vocabSize, salt)]) })
      return await rounds(gpu, rows, async (count) => {
        const { peakBytes, ...steps } = await training.steps(count)
        return { ...steps, peak: peakBytes }
      })
    })
    return side
  } finally {
    await training.stop()
  }
}

const GiB = 2 ** 30

const row = (
  gpu: Gpu,
  both: (context: Context) => Promise<Both>,
  more: Pick<Benchmark, "name" | "about" | "unit" | "better" | "goal" | "peerName">,
  take: (found: Both) => Measured | Unmatched
): Benchmark =>
  onDevice(gpu, {
    ...more,
    goal: gpu.judged ? more.goal : null,
    run: async (context) => take(await both(context))
  })

/** The three rows, of one measurement. */
export const phi2Rows = (gpu: Gpu): ReadonlyArray<Benchmark> => {
  // Dropout has its own cost and is off on both sides; the stages have it on.
  const config = { ...gpu.sizes.llava.text, residualDropout: 0 }
  const { time } = gpu.sizes
  const both = once(async (context): Promise<Both> => {
    const card = await gpu.card(context)
    const { versions, ...peer } = await measurePeer(context, gpu, config)
    context.say(`transformers: ${median(peer.rates).toPrecision(4)} tokens/s`)
    const ours = await measureOurs(context, gpu, config)
    return { ours, peer, card, versions }
  })
  const parting = ({ ours, peer }: Both): string | undefined => {
    const apart = Math.abs(ours.loss / peer.loss - 1)
    return apart <= TOLERANCE ? undefined : `first losses are ${ours.loss} and ${peer.loss}`
  }
  const text = ({ card, ours, peer, versions }: Both): string =>
    `${card.text}; hidden ${config.hiddenSize}, ${config.layers} layers, rows of ${time}, ours ${ours.rows} and peer ${peer.rows} at once, nothing recomputed; first losses ${ours.loss.toFixed(4)} and ${peer.loss.toFixed(4)}; ${versions}`
  const flopsAToken = phiFlops(config, fullRows(1, time, time - 1), true) / time
  return [
    row(
      gpu,
      both,
      {
        name: "phi2-tokens",
        about: "Phi-2's step in bf16 beside transformers",
        unit: "tokens/s",
        better: "more",
        goal: 1.3,
        peerName: "transformers and PyTorch, SDPA, autocast, fused AdamW"
      },
      (found) => ({ ours: found.ours.rates, peer: found.peer.rates, note: text(found), wrong: parting(found) })
    ),
    row(
      gpu,
      both,
      {
        name: "phi2-mfu",
        about: "the share of the card's peak that Phi-2's step uses",
        unit: "%",
        better: "more",
        goal: 1,
        peerName: "a goal of 55 %"
      },
      (found) => {
        const { card, ours, peer } = found
        const share = (rate: number): number => (100 * rate * flopsAToken) / (card.peak ?? Number.NaN)
        if (card.peak === undefined) {
          return { ours: [], missing: `MFU, since the peak of the card is not known: ${card.text}` }
        }
        return {
          ours: ours.rates.map(share),
          peer: [55],
          note: `${(flopsAToken / 1e9).toFixed(2)} GFLOP a token: 6 N + 12 L d T / 2; ${(card.peak / 1e12).toFixed(0)} TFLOP/s; transformers ${share(median(peer.rates)).toFixed(1)} %; ${card.text}`
        }
      }
    ),
    row(
      gpu,
      both,
      {
        name: "phi2-memory",
        about: "the most memory of Phi-2's step",
        unit: "GiB",
        better: "less",
        goal: null,
        peerName: "transformers and PyTorch, SDPA, autocast, fused AdamW"
      },
      (found) => {
        const { ours, peer } = found
        const note = `allocated tensors at their most; ${text(found)}`
        const mine = (ours.peak ?? Number.NaN) / GiB
        return { ours: [mine], peer: peer.peak === undefined ? [] : [peer.peak / GiB], note }
      }
    )
  ]
}
