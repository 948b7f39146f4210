/**
 * A small Phi's loss and every gradient on the device, against transformers in float32 there.
 *
 * Ours sees three conversations packed into two rows, the peer the same three padded: what packing hides shows here.
 * The figure is the norm of the difference of all gradients over the norm of transformers', held to a limit.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { lossTokens } from "../../src/model/TokenBatch.ts"
import { phiTrainable } from "../../src/model/Trainable.ts"
import { uploadWeights } from "../../src/model/Weights.ts"
import { openPhi } from "../../src/nodes/ModelFiles.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { gradientOf } from "../../src/training/Gradient.ts"
import { collate, packRows, type TokenisedExample } from "../../src/training/Packing.ts"
import { made } from "../Data.ts"
import type { Benchmark, Context } from "../Row.ts"
import { onEngine, peerBatch, phiOf, writeModel } from "../work/TrainSteps.ts"
import { type Gpu, onDevice, threads, withPeer } from "./Gpu.ts"
import { errorOf } from "./Kernels.ts"

type Gradients = ReadonlyMap<string, Float32Array>

interface Found {
  readonly loss: number
  readonly gradients: Gradients
}

/** All gradients as one, in the order of the reference. */
const flat = (of: Gradients, order: Gradients): Float32Array => {
  const parts = [...order.keys()].map((name) => of.get(name) ?? new Float32Array(0))
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const readGradients = (path: string): Promise<Gradients> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const file = yield* openSafetensors(path)
        const found = new Map<string, Float32Array>()
        for (const name of [...file.entries.keys()].sort()) found.set(name, yield* file.floats(name))
        return found
      })
    )
  )

const VOCABULARY = 1024

/** Conversations of 3/4, 1/2 and 1/4 of a row, the last two packed; the first eighth of each has no loss. */
const conversations = (time: number): ReadonlyArray<TokenisedExample> =>
  [0.75, 0.5, 0.25].map((share, n) => {
    const ids = Int32Array.from({ length: Math.floor(share * time) }, (_, i) => (i * 7919 + n * 104_729) % VOCABULARY)
    return { ids, labels: ids.map((id, i) => (i < ids.length / 8 ? -100 : id)) }
  })

const ours = (engine: string, folder: string, time: number): Promise<Found> =>
  onEngine(
    engine,
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const { config, sources } = yield* openPhi({ path: folder }, "keep")
      const weights = yield* uploadWeights(sources)
      const [a, b, c] = conversations(time)
      const { batch } = packRows([[a!], [b!, c!]], { tokens: time, padId: 0 })
      const { grads, value } = yield* gradientOf(
        phiTrainable(config),
        weights,
        {},
        { batch, normaliser: lossTokens(batch) }
      )
      const gradients = new Map<string, Float32Array>()
      for (const [name, grad] of Object.entries(grads)) gradients.set(name, (yield* tensors.read(grad)) as Float32Array)
      yield* tensors.free(weights, grads)
      return { loss: value, gradients }
    })
  )

const peer = async (context: Context, gpu: Gpu, folder: string): Promise<Record<"f32" | "bf16", Found>> => {
  const { batch } = collate(conversations(gpu.sizes.parity.time), { padId: 0 })
  const batches = join(context.data, "parity-batches.json")
  writeFileSync(batches, JSON.stringify([peerBatch(batch)]))
  return await withPeer(context, async (python) => {
    await python.ask({ do: "load", folder, batches, lr: 0, threads: threads(), device: gpu.device })
    const ask = async (bf16: boolean): Promise<Found> => {
      const into = join(context.data, `parity-${bf16 ? "bf16" : "f32"}.safetensors`)
      const { loss } = await python.ask({ do: "gradients", into, bf16 })
      return { loss: Number(loss), gradients: await readGradients(into) }
    }
    return { f32: await ask(false), bf16: await ask(true) }
  })
}

const row = (gpu: Gpu, precision: "f32" | "bf16", limit: number): Benchmark =>
  onDevice(gpu, {
    name: `gradients-${precision}`,
    about: `all gradients of a small Phi in ${precision}, packed, against transformers in f32, padded`,
    unit: "error",
    better: "less",
    goal: 1,
    peerName: "a limit",
    run: async (context) => {
      const { heads, hidden, layers, time } = gpu.sizes.parity
      const config = phiOf({ hiddenSize: hidden, layers, heads, vocabSize: VOCABULARY, rotary: 0.4 })
      const folder = await made(context, "model-parity", (path) => writeModel(config, path))
      const theirs = await peer(context, gpu, folder)
      const found = await ours(precision === "f32" ? "torch" : "torch-bf16", folder, time)
      const error = (of: Found): number =>
        errorOf(flat(of.gradients, theirs.f32.gradients), flat(theirs.f32.gradients, theirs.f32.gradients))
      const loss = Math.abs(found.loss / theirs.f32.loss - 1)
      const autocast = precision === "f32" ? "" : `, transformers under autocast ${error(theirs.bf16).toExponential(1)}`
      return {
        ours: [Math.max(error(found), 1e-12)],
        peer: [limit],
        note: `hidden ${hidden}, ${layers} layers, rows of ${time}; loss ${found.loss.toFixed(5)}, ${loss.toExponential(1)} from theirs${autocast}`,
        wrong: loss <= limit ? undefined : `the loss is ${loss.toExponential(1)} from theirs`
      }
    }
  })

export const gradientRows = (gpu: Gpu): ReadonlyArray<Benchmark> => [row(gpu, "f32", 1e-3), row(gpu, "bf16", 4e-2)]
