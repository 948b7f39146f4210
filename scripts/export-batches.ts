/**
 * Writes what an independent training loop needs to follow ours: `scripts/verify_training.py` reads it.
 *
 *     npx tsx scripts/export-batches.ts OUT [--store .millrace] [--steps 50]
 *
 * For each training stage of the sample's last run: the batches of the first steps, the learning rates, our losses, and
 * the weights before and after those steps, all made by the node's own fold on the stored inputs. Beside them the
 * pixels and the answers that the store holds, as they are. Nothing is trained twice in the store: it is only read.
 *
 * OUT/proof.json says what lies where. A stage's folder has `batches.safetensors` (`STEP/MICRO/ids`, `labels`,
 * `segments`: B x T i32; `pixels`: M x S x S x 3 u8), and `before` and `after`: the fold's own checkpoint files.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Layer, Schema, Stream } from "effect"
import recipe from "../pipelines/llava-phi.ts"
import type { Rows } from "../src/dag/Artifact.ts"
import type { AnyFold, StateFiles } from "../src/dag/Fold.ts"
import { encodeParams } from "../src/dag/Key.ts"
import type { AnyNode } from "../src/dag/Node.ts"
import type { Dtype } from "../src/model/Dtype.ts"
import { encodeSafetensors } from "../src/model/Safetensors.ts"
import type { TokenBatch } from "../src/model/TokenBatch.ts"
import type { Answers, Examples, PicturedConversations, Pixels } from "../src/nodes/Artifacts.ts"
import { type EntryRefs, openWhole } from "../src/run/Inputs.ts"
import { build } from "../src/run/Recipe.ts"
import { openInputs } from "../src/run/WholeTask.ts"
import { localStore, Store } from "../src/store/index.ts"
import * as Engine from "../src/tensor/Engine.ts"
import { type Decay, schedule } from "../src/training/Schedule.ts"
import type { Stage } from "../src/training/Stage.ts"

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { store: { type: "string", default: ".millrace" }, steps: { type: "string", default: "50" } }
})
const out = resolve(positionals[0] ?? "proof")
const steps = Number(flags.steps)

/** Stages, and one more time the first with everything on that the sample leaves out. */
const cases = [
  { name: "sft", node: "sft/train", changes: {} },
  { name: "sft-decay-clip", node: "sft/train", changes: { weightDecay: 0.1, maxGradNorm: 0.5, decay: "cosine" } },
  { name: "pretrain", node: "pretrain/train", changes: {} },
  { name: "instruct", node: "instruct/train", changes: {} }
]

const pipeline = build(recipe, { preset: "sample", settings: [], engine: "wasm" })
const nodeOf = (id: string): AnyNode => {
  const node = pipeline.nodes.find((one) => one.id === id)
  if (node === undefined) throw new Error(`${pipeline.name} has no node ${id}`)
  return node
}

interface Named {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}
const tensor = (name: string, dtype: Dtype, shape: ReadonlyArray<number>, values: Int32Array | Uint8Array): Named => ({
  name,
  dtype,
  shape,
  data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
})
const write = (path: string, tensors: ReadonlyArray<Named>) => writeFileSync(path, encodeSafetensors(tensors))
const writeState = (folder: string, files: StateFiles) => {
  mkdirSync(folder, { recursive: true })
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes)
}

/** Where a node of the last run lies: its stored entry, or the path of a source. */
const entryRefOf = Effect.fnUntraced(function* (node: AnyNode) {
  const store = yield* Store
  if (node.spec.kind === "source") return { kind: "source", path: String(node.location) } as const
  const last = yield* store.last(pipeline.name, node.id)
  if (last === undefined) throw new Error(`${node.id} has no stored result in ${store.root}: run the sample first`)
  return { kind: "entry", key: last.key, code: last.code } as const
})
const entryRefsOf = Effect.fnUntraced(function* (refs: ReadonlyArray<AnyNode>) {
  const entryRefs: { [id: string]: EntryRefs[string] } = {}
  for (const node of refs) entryRefs[node.id] = yield* entryRefOf(node)
  return entryRefs
})
const openPort = Effect.fnUntraced(function* (node: AnyNode, port: string) {
  const ref = { node, port, artifact: node.spec.outputs[port]! }
  return yield* openWhole(ref as never, yield* entryRefsOf([node]))
})

type PixelRows = Rows<typeof Pixels.schema.Type>

/** The pixels behind the images that a stage is shown: its input, or what its features were computed from. */
const pixelsOf = (node: AnyNode) => {
  const images = node.inputs["images"]
  if (images === undefined) return undefined
  return images.node.inputs["pixels"] ?? images
}

/** The images of a micro-batch's examples, in their order: M x S x S x 3. */
const picturesOf = Effect.fnUntraced(function* (
  data: Rows<typeof Examples.schema.Type>,
  pixels: PixelRows,
  wanted: ReadonlyArray<number>
) {
  const starts = pixels.shards.map((_, i) => pixels.shards.slice(0, i).reduce((sum, rows) => sum + rows, 0))
  const examples = (yield* data.get(wanted)).filter((row) => row.image >= 0)
  const rows = yield* pixels.get(examples.map((row) => starts[row.shard]! + row.image))
  return flat(rows)
})
const flat = (rows: ReadonlyArray<typeof Pixels.schema.Type>) => {
  const size = rows[0]?.pixels_HWC.length ?? 0
  const bytes = new Uint8Array(rows.length * size)
  for (const [i, row] of rows.entries()) bytes.set(row.pixels_HWC, i * size)
  const side = Math.sqrt(size / 3)
  return { bytes, shape: [rows.length, side, side, 3] }
}

/** One stage: its first steps through its own fold, and the batches that they saw. */
const writeStage = Effect.fnUntraced(function* (stageCase: (typeof cases)[number]) {
  const { changes, name, node: id } = stageCase
  const node = nodeOf(id)
  // As it was run, if it was; its inputs are enough.
  const last = yield* (yield* Store).last(pipeline.name, id)
  const asRun = (last?.parts.params ?? encodeParams(node)) as object
  const params = Schema.decodeUnknownSync(Schema.toCodecJson(node.spec.params as never))({
    ...asRun,
    ...changes
  } as never) as Record<string, unknown>
  const entryRefs = yield* entryRefsOf(Object.values(node.inputs).map((ref) => ref.node))
  const { inputs } = yield* openInputs(node, entryRefs)
  const data = inputs["data"] as Rows<typeof Examples.schema.Type>
  const pixelRef = pixelsOf(node)
  const pixels = pixelRef === undefined ? undefined : ((yield* openPort(pixelRef.node, pixelRef.port)) as PixelRows)
  const fold = node.spec.run as AnyFold
  const context = { params, inputs: inputs as never }
  const folder = join(out, name)
  mkdirSync(folder, { recursive: true })

  let state = yield* fold.init(context)
  writeState(join(folder, "before"), yield* fold.state.encode(state))
  const { plan, settings } = (state as { readonly stage: Stage<TokenBatch> }).stage
  const load = yield* fold.load!(context)
  const batches: Array<Named> = []
  const lr: Array<number> = []
  const losses: Array<number> = []
  const micros: Array<number> = []
  for (let step = 0; step < Math.min(steps, plan.steps); step++) {
    const rows = plan.rows(step)
    let micro = 0
    for (let at = 0; at < rows.length; at += settings.microBatch, micro++) {
      const some = rows.slice(at, at + settings.microBatch)
      const batch = (yield* load(some)) as TokenBatch
      const prefix = `${step}/${micro}/`
      const shape = [batch.rows, batch.time]
      batches.push(tensor(`${prefix}ids`, "I32", shape, batch.ids_BT))
      batches.push(tensor(`${prefix}labels`, "I32", shape, batch.labels_BT))
      batches.push(tensor(`${prefix}segments`, "I32", shape, batch.segments_BT))
      if (pixels === undefined) continue
      const pictures = yield* picturesOf(data, pixels, some.flat())
      if (pictures.bytes.length > 0) batches.push(tensor(`${prefix}pixels`, "U8", pictures.shape, pictures.bytes))
    }
    micros.push(micro)
    state = yield* fold.step(context, state)
    const { metrics } = fold.progress(state)
    losses.push(metrics["loss"]!)
    lr.push(metrics["lr"]!)
  }
  writeState(join(folder, "after"), yield* fold.state.encode(state))
  write(join(folder, "batches.safetensors"), batches)
  console.log(`${name}: ${losses.length} of ${plan.steps} steps, loss ${losses[0]} to ${losses.at(-1)}`)
  const at = (port: string) => (inputs[port] as { readonly path: string } | undefined)?.path
  return {
    name,
    node: id,
    settings: params,
    steps: plan.steps,
    micros,
    lr,
    losses,
    languageModel: at("model"),
    vision: at("vision"),
    // Of the features that were computed once, or of the node that sees pixels.
    featureLayer:
      (node.inputs["images"]?.node.params as { featureLayer?: number })?.featureLayer ?? params["featureLayer"],
    tokenizer: at("tokenizer")
  }
})

const imageNodes = ["pretrain/tokenizeImages", "instruct/tokenizeImages", "evaluate/tokenizeImages"]

/** Stored images with the names of their files, and where those are. */
const writePictures = Effect.fnUntraced(function* (id: string) {
  const node = nodeOf(id)
  const rows = (yield* openPort(node, "rows")) as Rows<typeof PicturedConversations.schema.Type>
  const pixels = (yield* openPort(node, "pixels")) as PixelRows
  const names = (yield* Stream.runCollect(rows.batches)).flat().flatMap((row) => row.image ?? [])
  const found = (yield* Stream.runCollect(pixels.batches)).flat()
  const file = `${id.replace("/", "-")}.safetensors`
  const { bytes, shape } = flat(found)
  write(join(out, file), [tensor("pixels", "U8", shape, bytes)])
  const params = node.params as { readonly size: number; readonly fit: string; readonly folder: string }
  console.log(`${id}: ${found.length} images`)
  const images = node.inputs["images"]!.node.location
  return { node: id, file, names, images: String(images), size: params.size, fit: params.fit, folder: params.folder }
})

/** The stored answers, and the checkpoint that gave them; null where the run did not get there. */
const writeAnswered = Effect.gen(function* () {
  const node = nodeOf("evaluate/answers")
  if ((yield* (yield* Store).last(pipeline.name, node.id)) === undefined) {
    console.log("evaluate/answers: not in the store, the run did not get there")
    return null
  }
  const rows = (yield* openPort(node, "rows")) as Rows<typeof Answers.schema.Type>
  const answers = (yield* Stream.runCollect(rows.batches)).flat()
  const asked = node.inputs["model"]!
  const checkpoint = (yield* openPort(asked.node, asked.port)) as { readonly path: string }
  console.log(`evaluate/answers: ${answers.length} answers`)
  const { maxNewTokens } = node.params as { readonly maxNewTokens: number }
  return { checkpoint: checkpoint.path, maxNewTokens, pictures: "evaluate/tokenizeImages", answers }
})

/** Learning-rate multipliers of whole trainings of several lengths. */
const schedules = (["linear", "cosine", "constant"] as const satisfies ReadonlyArray<Decay>).flatMap((decay) =>
  [0, 0.03, 0.5].flatMap((warmupRatio) =>
    [1, 7, 1000].map((totalSteps) => {
      const multiplier = schedule({ decay, warmupRatio, totalSteps })
      return {
        decay,
        warmupRatio,
        totalSteps,
        multipliers: Array.from({ length: totalSteps }, (_, i) => multiplier(i))
      }
    })
  )
)

const program = Effect.gen(function* () {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const stages = yield* Effect.forEach(cases, (one) => Effect.scoped(writeStage(one)))
  const made: Array<string> = []
  for (const id of imageNodes) if ((yield* (yield* Store).last(pipeline.name, id)) !== undefined) made.push(id)
  const pictures = yield* Effect.forEach(made, (id) => Effect.scoped(writePictures(id)))
  const answered = yield* Effect.scoped(writeAnswered)
  writeFileSync(join(out, "proof.json"), JSON.stringify({ stages, pictures, answered, schedules }))
  console.log(out)
})
const services = Layer.mergeAll(localStore({ root: resolve(flags.store), readOnly: true }), Engine.wasm).pipe(
  Layer.provideMerge(NodeFileSystem.layer)
)
await Effect.runPromise(program.pipe(Effect.provide(services)) as Effect.Effect<void, unknown>)
