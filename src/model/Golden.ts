/**
 * Compares this project's models with recorded results of the reference implementation (transformers and torch, f32).
 *
 * Not a test: a report, for folders of any sizes and seeds. A folder holds cases, found by their content: a config.json
 * of Phi, CLIP or LLaVA with model.safetensors and golden.safetensors (inputs, outputs, `grad.*`), and a
 * golden.safetensors of three AdamW steps (`loss.0..2`, `param.*`) on the Phi case beside it.
 *
 * An error is the norm of the difference over the norm of the reference, by tensor.
 */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { recipeAdamW, zeroMoments } from "../tensor/AdamW.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { type Compute, Tensors } from "../tensor/Tensors.ts"
import { type CheckpointError, openCheckpoint } from "./Checkpoint.ts"
import type { ConfigError } from "./ConfigError.ts"
import { decodeClipConfig, patchCount } from "./clip/Config.ts"
import { clipFeatures } from "./clip/Model.ts"
import { clipSources } from "./clip/Names.ts"
import { greedyLlava } from "./Generate.ts"
import { decodeLlavaConfig, type LlavaConfig } from "./llava/Config.ts"
import { llavaEmbed } from "./llava/Model.ts"
import { llavaSources } from "./llava/Names.ts"
import type { CheckpointMismatch } from "./Match.ts"
import { decodePhiConfig, type PhiConfig } from "./phi/Config.ts"
import { phiEmbed, phiHidden, phiLogits } from "./phi/Model.ts"
import { hasHeadBias, phiName, phiSources } from "./phi/Names.ts"
import { projectorName } from "./projector/Names.ts"
import { openSafetensors, type Safetensors, type SafetensorsError } from "./Safetensors.ts"
import { lossTokens, type TokenBatch } from "./TokenBatch.ts"
import { llavaTrainable, phiTrainable, type Trainable } from "./Trainable.ts"
import { under, uploadWeights, type WeightSource } from "./Weights.ts"

/** A folder that holds no case. */
export class GoldenError extends Schema.TaggedError<GoldenError>()("GoldenError", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** One comparison. `ok` is `error <= tolerance`. */
export interface GoldenCheck {
  readonly quantity: string
  readonly error: number
  readonly tolerance: number
  readonly ok: boolean
  readonly note?: string
}

export type GoldenFailure = GoldenError | CheckpointError | ConfigError | CheckpointMismatch | TensorError

/** Allowed errors, as agreed for every engine in f32. */
export const tolerances = { output: 1e-4, loss: 1e-5, gradient: 1e-3, parameter: 1e-4, greedy: 0 } as const

/** Learning rate of the recorded steps; an element whose first gradient is below `tiny` may go either way, this far. */
const goldenLr = 1e-3
const tiny = 1e-6

/** |a - b| / |b| over the elements that `counts` keeps, in norms. */
export const relativeError = (
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  counts: (i: number) => boolean = () => true
): number => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let [difference, reference] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    if (!counts(i)) continue
    difference += (a[i]! - b[i]!) ** 2
    reference += b[i]! ** 2
  }
  return difference === 0 ? 0 : Math.sqrt(difference / reference)
}

const judge = (quantity: string, error: number, tolerance: number, note?: string): GoldenCheck => ({
  quantity,
  error,
  tolerance,
  ok: error <= tolerance,
  ...(note === undefined ? {} : { note })
})

type Kind = "phi" | "clip" | "llava" | "adamw"
interface Case {
  readonly kind: Kind
  readonly folder: string
  readonly config: unknown
}

const readJson = (path: string) =>
  Effect.tryPromise({
    try: async (): Promise<unknown> => JSON.parse(await readFile(path, "utf8")),
    catch: (cause) => cause
  }).pipe(Effect.orElseSucceed(() => undefined))

const kinds: Readonly<Record<string, Kind>> = { phi: "phi", clip_vision_model: "clip", clip: "clip", llava: "llava" }

/** The cases in a folder and in the folders directly inside it. */
const findCases = (dir: string): Effect.Effect<ReadonlyArray<Case>, GoldenFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const entries = yield* Effect.tryPromise({
      try: () => readdir(dir, { withFileTypes: true }),
      catch: (cause) => new GoldenError({ path: dir, message: "cannot be read", hint: "Check the path.", cause })
    })
    const folders = [
      dir,
      ...entries
        .filter((e) => e.isDirectory())
        .map((e) => join(dir, e.name))
        .sort()
    ]
    const cases: Array<Case> = []
    for (const folder of folders) {
      const files = new Set(yield* Effect.promise(() => readdir(folder)))
      if (!files.has("golden.safetensors")) continue
      const config = files.has("config.json") ? yield* readJson(join(folder, "config.json")) : undefined
      const type =
        typeof config === "object" && config !== null && "model_type" in config ? String(config.model_type) : undefined
      const golden = yield* openSafetensors(join(folder, "golden.safetensors"))
      const recorded = [...golden.entries.keys()].some((name) => name.startsWith("param."))
      const kind = recorded ? "adamw" : type === undefined ? undefined : kinds[type]
      if (kind !== undefined) cases.push({ kind, folder, config })
    }
    return cases
  })

/** int64 inputs of a language case as a batch. */
const tokenBatch = (golden: Safetensors): Effect.Effect<TokenBatch, SafetensorsError> =>
  Effect.gen(function* () {
    const [rows, time] = golden.entries.get("input_ids")?.shape ?? [0, 0]
    return {
      rows: rows!,
      time: time!,
      ids_BT: yield* golden.integers("input_ids"),
      segments_BT: yield* golden.integers("attention_mask"),
      labels_BT: yield* golden.integers("labels")
    }
  })

const withWeights = <A, E>(
  sources: ReadonlyArray<WeightSource<CheckpointError>>,
  f: (weights: Weights) => Effect.Effect<A, E, Tensors>
): Effect.Effect<A, E | GoldenFailure, Tensors> =>
  Effect.acquireUseRelease(uploadWeights(sources), f, (weights) =>
    Effect.flatMap(Tensors, (tensors) => tensors.free(weights))
  )

/** Runs `f` and reads its one result. */
const compute = (f: (c: Compute) => Tensor) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const result = yield* tensors.run(f)
    const values = yield* tensors.read(result)
    yield* tensors.free(result)
    return values
  })

/** Compares loss and gradients with the recorded ones. `nameOf` turns a recorded name into ours. */
const checkGradients = <B extends TokenBatch, P extends tf.TensorContainer>(
  label: string,
  golden: Safetensors,
  model: Trainable<B, P>,
  weights: Weights,
  batch: B,
  nameOf: (name: string) => string | undefined
) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const recorded = new Map<string, string>()
    for (const name of golden.entries.keys())
      if (name.startsWith("grad.")) {
        const own = nameOf(name.slice(5))
        if (own === undefined || weights[own] === undefined)
          return yield* new GoldenError({
            path: golden.path,
            message: `${name} belongs to no weight of the model`,
            hint: "Teach Names.ts this spelling."
          })
        recorded.set(own, name)
      }
    const trained = Object.fromEntries([...recorded.keys()].map((name) => [name, weights[name]!]))
    const checks: Array<GoldenCheck> = []
    const prepared = yield* tensors.run((c) => model.prepare(c, weights, batch))
    const { value, grads } = yield* tensors.valueAndGrad(
      (c, variables) => model.loss(c, { ...weights, ...variables }, prepared, { normaliser: lossTokens(batch) }),
      trained
    )
    checks.push(judge(`${label}/loss`, relativeError([value], yield* golden.floats("loss")), tolerances.loss))
    for (const [own, name] of recorded)
      checks.push(
        judge(
          `${label}/${name}`,
          relativeError(yield* tensors.read(grads[own]!), yield* golden.floats(name)),
          tolerances.gradient
        )
      )
    yield* tensors.free(grads, ...tensorsOf(prepared))
    return checks
  })

const tensorsOf = (u: unknown): ReadonlyArray<Tensor> =>
  u instanceof tf.Tensor ? [u] : typeof u === "object" && u !== null ? Object.values(u).flatMap(tensorsOf) : []

const checkPhi = (label: string, { folder, config: json }: Case) =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(folder)
    const golden = yield* openSafetensors(join(folder, "golden.safetensors"))
    const config = yield* decodePhiConfig(json, { headBias: hasHeadBias(checkpoint) })
    const batch = yield* tokenBatch(golden)
    yield* checkIds(golden, batch, config.vocabSize)
    return yield* withWeights(yield* phiSources(checkpoint, config), (w) =>
      Effect.gen(function* () {
        const model = phiTrainable(config)
        const logits = yield* compute((c) => {
          const prepared = model.prepare(c, w, batch)
          return phiLogits(c, w, phiHidden(c, w, config, phiEmbed(c, w, prepared.ids_BT), prepared.layout))
        })
        const checks = yield* checkGradients(label, golden, model, w, batch, phiName)
        return [
          judge(`${label}/logits`, relativeError(logits, yield* golden.floats("logits")), tolerances.output),
          ...checks
        ]
      })
    )
  })

const checkClip = (label: string, { folder, config: json }: Case) =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(folder)
    const golden = yield* openSafetensors(join(folder, "golden.safetensors"))
    const config = yield* decodeClipConfig(json)
    const pixels = yield* golden.floats("pixel_values")
    const shape = golden.entries.get("pixel_values")!.shape as [number, number, number, number]
    return yield* withWeights(yield* clipSources(checkpoint, config), (w) =>
      Effect.gen(function* () {
        const features = yield* compute((c) => clipFeatures(c, w, config, tf.tensor4d(pixels, shape)))
        const error = relativeError(features, yield* golden.floats("features"))
        return [judge(`${label}/features`, error, tolerances.output)]
      })
    )
  })

/** Tokens before and behind the image in the prompt that is continued: the first of row 0. */
const AROUND = { before: 4, behind: 2 } as const

/** What of a batch does not fit a LLaVA's config; undefined where all does. */
const misfit = (config: LlavaConfig, { ids_BT, time }: TokenBatch, images: number): string | undefined => {
  const patches = patchCount(config.vision)
  const prompt = AROUND.before + patches + AROUND.behind
  const imageTokens = (ids: Int32Array) => ids.reduce((count, id) => count + (id === config.imageToken ? 1 : 0), 0)
  if (time < prompt)
    return `sequences of ${time} tokens are shorter than ${prompt}: an image of ${patches} patches with ${AROUND.before} tokens before it and ${AROUND.behind} behind`
  const [all, first] = [imageTokens(ids_BT), imageTokens(ids_BT.subarray(0, prompt))]
  if (all !== images * patches)
    return `${all} image tokens (id ${config.imageToken}) for ${images} images of ${patches} patches`
  if (first !== patches)
    return `the first ${prompt} tokens of row 0 hold ${first} of the ${patches} image tokens of one image`
  return undefined
}

/** Fails where ids are none of the vocabulary, which an engine would only notice as a failure of its own. */
const checkIds = (
  golden: Safetensors,
  { ids_BT }: TokenBatch,
  vocabulary: number
): Effect.Effect<void, GoldenError> => {
  const odd = ids_BT.find((id) => id < 0 || id >= vocabulary)
  return odd === undefined
    ? Effect.void
    : new GoldenError({
        path: golden.path,
        message: `input_ids hold ${odd}, and the model has ${vocabulary} tokens`,
        hint: "Record the golden file with this model."
      })
}

const checkLlava = (label: string, { folder, config: json }: Case) =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(folder)
    const golden = yield* openSafetensors(join(folder, "golden.safetensors"))
    const config = yield* decodeLlavaConfig(json, { headBias: hasHeadBias(checkpoint) })
    const batch = {
      ...(yield* tokenBatch(golden)),
      pixels: yield* golden.floats("pixel_values"),
      images: golden.entries.get("pixel_values")!.shape[0]!
    }
    yield* checkIds(golden, batch, config.text.vocabSize)
    const wrong = misfit(config, batch, batch.images)
    if (wrong !== undefined)
      return yield* new GoldenError({
        path: golden.path,
        message: wrong,
        hint: "Record input_ids with one image token a patch, in sequences that hold the whole image and the prompt around it."
      })
    const nameOf = (name: string) => {
      const [language, projector] = [phiName(name), projectorName(name)]
      return language !== undefined
        ? `language.${language}`
        : projector !== undefined
          ? `projector.${projector}`
          : undefined
    }
    return yield* withWeights(yield* llavaSources(checkpoint, config), (w) =>
      Effect.gen(function* () {
        const model = llavaTrainable(config)
        const language = under(w, "language.")
        const logits = yield* compute((c) => {
          const prepared = model.prepare(c, w, batch)
          const x = llavaEmbed(c, w, config, prepared.ids_BT, prepared.splice_BT, prepared.features_MND)
          return phiLogits(c, language, phiHidden(c, language, config.text, x, prepared.layout))
        })
        const checks = yield* checkGradients(label, golden, model, w, batch, nameOf)
        const expected = yield* golden.integers("greedy")
        const length = AROUND.before + patchCount(config.vision) + AROUND.behind
        const prompt = {
          ...batch,
          rows: 1,
          time: length,
          images: 1,
          ids_BT: batch.ids_BT.slice(0, length),
          segments_BT: batch.segments_BT.slice(0, length),
          labels_BT: batch.labels_BT.slice(0, length),
          pixels: batch.pixels.subarray(0, batch.pixels.length / batch.images)
        }
        const [made] = yield* greedyLlava(w, config, prompt, [length], { maxNewTokens: expected.length })
        const wrong = expected.reduce((count, id, i) => count + (made?.[i] === id ? 0 : 1), 0)
        return [
          judge(`${label}/logits`, relativeError(logits, yield* golden.floats("logits")), tolerances.output),
          ...checks,
          judge(`${label}/greedy`, wrong, tolerances.greedy, `tokens of ${expected.length} that differ`)
        ]
      })
    )
  })

/**
 * Compares three steps of AdamW with the reference: losses, then every weight.
 *
 * Long: the steps and their comparison own the same weights.
 */
const checkAdamW = (label: string, { folder }: Case, phi: Case) =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(phi.folder)
    const inputs = yield* openSafetensors(join(phi.folder, "golden.safetensors"))
    const golden = yield* openSafetensors(join(folder, "golden.safetensors"))
    const config: PhiConfig = yield* decodePhiConfig(phi.config, { headBias: hasHeadBias(checkpoint) })
    const batch = yield* tokenBatch(inputs)
    const tensors = yield* Tensors
    const checks: Array<GoldenCheck> = []
    const model = phiTrainable(config)
    const weights = yield* uploadWeights(yield* phiSources(checkpoint, config))
    const moments = yield* tensors.run(() => zeroMoments(weights) as { m: tf.NamedTensorMap; v: tf.NamedTensorMap })
    let state: { readonly weights: Weights; readonly m: Weights; readonly v: Weights } = { weights, ...moments }
    const steps = Effect.gen(function* () {
      for (let step = 0; step < 3; step++) {
        const prepared = yield* tensors.run((c) => model.prepare(c, state.weights, batch))
        const { value, grads } = yield* tensors.valueAndGrad(
          (c, variables) => model.loss(c, variables, prepared, { normaliser: lossTokens(batch) }),
          state.weights
        )
        yield* tensors.free(...tensorsOf(prepared))
        const recorded = yield* golden.floats(`loss.${step}`)
        checks.push(judge(`${label}/loss.${step}`, relativeError([value], recorded), tolerances.loss))
        state = yield* tensors.adamW(state, grads, recipeAdamW, goldenLr, step + 1)
      }
      for (const name of golden.entries.keys()) {
        if (!name.startsWith("param.")) continue
        const own = phiName(name.slice(6))
        const tensor = own === undefined ? undefined : state.weights[own]
        if (tensor === undefined)
          return yield* new GoldenError({
            path: golden.path,
            message: `${name} belongs to no weight of the model`,
            hint: "Teach Names.ts this spelling."
          })
        const [values, expected] = [yield* tensors.read(tensor), yield* golden.floats(name)]
        const gradient = yield* inputs.floats(`grad.${name.slice(6)}`)
        const counts = (i: number) => Math.abs(gradient[i]!) >= tiny
        const error = relativeError(values, expected, counts)
        const loose = expected.reduce((n, _, i) => n + (counts(i) ? 0 : 1), 0)
        if (loose === 0) {
          checks.push(judge(`${label}/${name}`, error, tolerances.parameter))
          continue
        }
        const far = expected.reduce((worst, x, i) => (counts(i) ? worst : Math.max(worst, Math.abs(values[i]! - x))), 0)
        const note = `${loose} of ${expected.length} elements had a first gradient below ${tiny}: bounded apart`
        checks.push(judge(`${label}/${name}`, error, tolerances.parameter, note))
        checks.push(judge(`${label}/${name} (tiny gradients)`, far, 3 * goldenLr, "largest absolute difference"))
      }
    })
    yield* steps.pipe(Effect.ensuring(Effect.suspend(() => tensors.free(state.weights, state.m, state.v))))
    return checks
  })

/**
 * Checks every case in `dir` (or in the folders inside it) and reports each quantity with its error and tolerance.
 *
 * Fails only when a case cannot be run: an unreadable file, a config this project refuses, no case at all.
 *
 * @example const failed = (yield* checkModelFolder("test/golden/set-2")).filter((check) => !check.ok)
 */
export const checkModelFolder = (dir: string): Effect.Effect<ReadonlyArray<GoldenCheck>, GoldenFailure, Tensors> =>
  Effect.scoped(
    Effect.gen(function* () {
      const cases = yield* findCases(dir)
      const phi = cases.find((found) => found.kind === "phi")
      if (cases.length === 0)
        return yield* new GoldenError({
          path: dir,
          message: "holds no golden case",
          hint: "Give a folder with config.json, model.safetensors and golden.safetensors, or one of such folders."
        })
      const checks: Array<ReadonlyArray<GoldenCheck>> = []
      for (const found of cases) {
        const label = found.kind
        if (found.kind === "phi") checks.push(yield* checkPhi(label, found))
        else if (found.kind === "clip") checks.push(yield* checkClip(label, found))
        else if (found.kind === "llava") checks.push(yield* checkLlava(label, found))
        else if (phi !== undefined) checks.push(yield* checkAdamW(label, found, phi))
        else
          return yield* new GoldenError({
            path: found.folder,
            message: "recorded AdamW steps, but the Phi case they start from is not there",
            hint: "Keep the phi folder beside it."
          })
      }
      return checks.flat()
    })
  )
