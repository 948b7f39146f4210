/**
 * Training beside PyTorch: a Phi of several sizes in full rows, and the sample's conversations in packed rows.
 *
 * Ours is the trainer's own step (`work/TrainSteps.ts`), the peer a plain loop (`peer_pytorch.py`). Both load one
 * folder of weights, see the same tokens in the same order, and take equally many steps; a row whose losses part has
 * failed. Both processes are given the same number of threads; the one whose turn it is not waits.
 */
import { writeFileSync } from "node:fs"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import { fillUniform, stream } from "../../src/tensor/Random.ts"
import { collate } from "../../src/training/Packing.ts"
import { made } from "../Data.ts"
import { type PythonPeer, perSecond, withPython } from "../Python.ts"
import { interleave } from "../Rounds.ts"
import type { Benchmark, Context, Measured } from "../Row.ts"
import { packed, sampleConversations, vocabSize } from "../work/Conversations.ts"
import { peerBatch, phiOf, phiTask, startTraining, type Training, writeModel } from "../work/TrainSteps.ts"

/** Pairs of rounds that count. */
const PAIRS = 9
const LR = 1e-4
/**
 * Losses of the two may differ by this share: both are float32, sums are taken in other orders and the updates add up.
 */
const TOLERANCE = 1e-3

/** What both sides train on: ours and theirs are the same tokens in two layouts; `real` tokens are counted. */
interface Task {
  readonly config: ReturnType<typeof phiOf>
  readonly ours: ReadonlyArray<ReadonlyArray<TokenBatch>>
  readonly peer: ReadonlyArray<TokenBatch>
  /** Steps of a round, a multiple of the batches, so that all rounds do the same. */
  readonly steps: number
  /** Tokens of a round that are no padding. */
  readonly real: number
  readonly note: string
}

/** What computes ours, and how many threads either side has. */
interface Way {
  readonly engine: string
  readonly threads: number
}

/** The largest share by which losses differ, or the reason why they cannot be compared. */
export const apart = (ours: ReadonlyArray<number>, peer: ReadonlyArray<number>): number =>
  ours.length !== peer.length || ours.length === 0
    ? Number.POSITIVE_INFINITY
    : Math.max(...ours.map((loss, i) => Math.abs(loss - peer[i]!) / Math.abs(peer[i]!)))

/** Lets libtorch start with so many threads; read when the addon is loaded, and by the peer. */
const setThreads = (threads: number): void => {
  for (const name of ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]) process.env[name] = String(threads)
}

const compare = async (context: Context, { engine, threads }: Way, name: string, task: Task): Promise<Measured> => {
  setThreads(threads)
  const folder = await made(context, `model-${name}`, (path) => writeModel(task.config, path))
  const batches = await made(context, `batches-${name}.json`, (path) =>
    writeFileSync(path, JSON.stringify(task.peer.map(peerBatch)))
  )
  return await withPython(
    context.python,
    "../peer_pytorch.py",
    async (peer) => {
      const { parameters } = await peer.ask({ do: "load", folder, batches, lr: LR, threads })
      const training = await startTraining(engine, phiTask(folder, task.ours, LR))
      try {
        const size = `${(Number(parameters) / 1e6).toFixed(1)} M parameters, float32, ${threads} threads`
        return await race(peer, training, task, size)
      } finally {
        await training.stop()
      }
    },
    "torch and transformers"
  )
}

const race = async (peer: PythonPeer, training: Training, task: Task, size: string): Promise<Measured> => {
  const losses = { ours: [] as Array<number>, peer: [] as Array<number> }
  const figures = await interleave(
    { rounds: PAIRS, better: "more", repeat: false },
    async () => {
      const { losses: some, seconds } = await training.steps(task.steps)
      losses.ours.push(...some)
      return task.real / seconds
    },
    async () => {
      const answer = await peer.ask({ do: "steps", count: task.steps })
      losses.peer.push(...(answer["losses"] as ReadonlyArray<number>))
      return perSecond(answer, task.real)
    }
  )
  const difference = apart(losses.ours, losses.peer)
  const ends = `loss ${losses.ours[0]!.toFixed(3)} to ${losses.ours.at(-1)!.toFixed(3)}`
  return {
    ...figures,
    paired: true,
    note: [
      `${task.note}, ${size}, ${task.steps} steps a round`,
      `${ends}, at most ${difference.toExponential(1)} apart in ${losses.ours.length} steps`,
      peer.versions
    ].join("; "),
    wrong: difference <= TOLERANCE ? undefined : `losses are ${difference.toExponential(1)} of one another apart`
  }
}

/** Full rows of random tokens, every one but the first with a loss. */
const fullRows = (seed: number, rows: number, time: number, vocab: number): TokenBatch => {
  const ids_BT = Int32Array.from(fillUniform(stream(seed, "bench"), new Float32Array(rows * time)), (u) =>
    Math.min(vocab - 1, Math.floor(u * vocab))
  )
  return { rows, time, ids_BT, labels_BT: ids_BT, segments_BT: new Int32Array(rows * time).fill(1) }
}

interface Size {
  readonly name: string
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly vocabSize: number
  /** Share of a head that turns; Phi-2's 0.4 where that is an even number of dimensions. */
  readonly rotary: number
  readonly rows: number
  readonly time: number
  /** Steps of a round, quick; four times as many otherwise. */
  readonly steps: number
}

/** Heads of 32, 64 and Phi-2's 80; a vocabulary like the sample's, and Phi-2's. */
const sizes: ReadonlyArray<Size> = [
  {
    name: "train-256x4",
    hiddenSize: 256,
    layers: 4,
    heads: 8,
    vocabSize: 4096,
    rotary: 0.5,
    rows: 2,
    time: 512,
    steps: 4
  },
  {
    name: "train-512x8",
    hiddenSize: 512,
    layers: 8,
    heads: 8,
    vocabSize: 4096,
    rotary: 0.5,
    rows: 1,
    time: 512,
    steps: 2
  },
  {
    name: "train-640x2-2048",
    hiddenSize: 640,
    layers: 2,
    heads: 8,
    vocabSize: 4096,
    rotary: 0.4,
    rows: 1,
    time: 2048,
    steps: 1
  },
  {
    name: "train-256x4-vocab",
    hiddenSize: 256,
    layers: 4,
    heads: 8,
    vocabSize: 51_200,
    rotary: 0.5,
    rows: 1,
    time: 512,
    steps: 2
  }
]

const row = (
  way: Way,
  name: string,
  about: string,
  goal: number,
  task: (context: Context) => Promise<Task>
): Benchmark => ({
  name,
  about,
  unit: "tokens/s",
  better: "more",
  goal,
  peerName: "transformers and PyTorch, SDPA, fused AdamW",
  run: async (context) => compare(context, way, name, await task(context))
})

const fullTask = ({ name, rows, steps, time, ...sizes }: Size, context: Context): Task => {
  const count = context.size === "quick" ? steps : 4 * steps
  const batches = Array.from({ length: count }, (_, i) => fullRows(i, rows, time, sizes.vocabSize))
  return {
    config: phiOf(sizes),
    ours: batches.map((batch) => [batch]),
    peer: batches,
    steps: count,
    real: count * rows * time,
    note: `hidden ${sizes.hiddenSize}, ${sizes.layers} layers, ${sizes.heads} heads, vocabulary ${sizes.vocabSize}, ${rows} x ${time} tokens a step`
  }
}

/** Conversations of an update, tokens of a packed row, packed rows computed at once. */
const PACKED = { conversations: 16, tokens: 384, microBatch: 8 }

const packedTask = async (context: Context): Promise<Task> => {
  const examples = await sampleConversations(PACKED.tokens)
  const steps = context.size === "quick" ? 4 : 16
  const parts = Array.from({ length: steps }, (_, i) =>
    examples.slice(i * PACKED.conversations, (i + 1) * PACKED.conversations)
  )
  const padId = 0
  const peer = parts.map((part) => collate(part, { padId }).batch)
  const ours = parts.map((part) => packed(part, { ...PACKED, padId }))
  const real = parts.flat().reduce((sum, { ids }) => sum + ids.length, 0)
  const share = (batches: ReadonlyArray<TokenBatch>): string =>
    `${((100 * real) / batches.reduce((sum, { rows, time }) => sum + rows * time, 0)).toFixed(0)} %`
  return {
    config: phiOf({ hiddenSize: 256, layers: 4, heads: 8, vocabSize: await vocabSize(), rotary: 0.5 }),
    ours,
    peer,
    steps,
    real,
    note: `${PACKED.conversations} of the sample's conversations a step, packed to ${PACKED.tokens} tokens (${share(ours.flat())} real) against padded to the longest (${share(peer)} real), hidden 256, 4 layers, 8 heads`
  }
}

/** The rows of `npm run bench -- train`, computed by `engine`. */
export const trainRows = (engine: string, threads: number): ReadonlyArray<Benchmark> => [
  ...sizes.map((size) =>
    row(
      { engine, threads },
      size.name,
      `full rows, hidden ${size.hiddenSize}, ${size.layers} layers`,
      0.98,
      async (context) => fullTask(size, context)
    )
  ),
  row({ engine, threads }, "train-packed", "packed conversations against padded ones", 1.3, packedTask)
]
