/**
 * Layers that provide `Tensors`: which engine computes.
 *
 * Not numerics. `wasm` is the embedded default and needs nothing but `npm ci`; other engines are named here so that
 * asking for one that is not built is a typed error with a hint, before any data is read.
 */
import { Effect, Layer } from "effect"
import { resolve } from "./Auto.ts"
import { EngineUnavailable } from "./Errors.ts"
import type { Regions } from "./Regions.ts"
import { makeTensors, Tensors, type TensorsShape, type TfEngine } from "./Tensors.ts"
import { startTensorflow } from "./tensorflow/Backend.ts"
import { openAddon, useDevice } from "./torch/Addon.ts"
import { TorchBackend } from "./torch/Backend.ts"
import { registerKernels as registerTorchKernels } from "./torch/Kernels.ts"
import { buildCommand } from "./torch/Place.ts"
import type { TorchOptions } from "./torch/Regions.ts"
import { makeTensors as makeTorchTensors } from "./torch/Tensors.ts"
import { loadWasm } from "./wasm/Backend.ts"
import { registerKernels } from "./wasm/Kernels.ts"
import { tf } from "./wasm/Tf.ts"

let loaded: Promise<TfEngine> | undefined

const startWasm = async (): Promise<TfEngine> => {
  const engine = await loadWasm()
  tf.registerBackend("wasm", () => engine.backend)
  await tf.setBackend("wasm")
  const native: Regions = registerKernels(engine)
  return {
    name: "wasm",
    backendName: "wasm",
    oneThread: true,
    native,
    adamW: (w, m, v, g, scalars) =>
      tf.engine().runKernel("MillraceAdamW", { w, m, v, g }, { ...scalars }) as unknown as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor
      ],
    squares: (t) => engine.kernels.squares(engine.backend.dataIdMap.get(t.dataId).memoryOffset, t.size),
    engineBytes: engine.heapBytes
  }
}

/** The wasm engine of this process, started once: TF.js keeps one registry of backends. */
const wasmEngine = (): Promise<TfEngine> => {
  loaded ??= startWasm()
  return loaded
}

const unavailable = (engine: string, message: string, hint: string, cause?: unknown): EngineUnavailable =>
  new EngineUnavailable({ engine, message, hint, ...(cause === undefined ? {} : { cause }) })

/** One CPU thread, float32, at most 4 GiB: small models anywhere Node runs. */
export const wasm: Layer.Layer<Tensors, EngineUnavailable> = Layer.effect(
  Tensors,
  Effect.tryPromise({
    try: wasmEngine,
    catch: (cause) =>
      cause instanceof EngineUnavailable
        ? cause
        : unavailable(
            "wasm",
            cause instanceof Error ? cause.message : String(cause),
            "The wasm engine needs Node 22.19 or newer (relaxed SIMD) and the packages of `npm ci`.",
            cause
          )
  }).pipe(Effect.map(makeTensors))
)

/** The wasm backend with every region from plain operations: what tests compare the native regions with. */
export const wasmPlain: Layer.Layer<Tensors, EngineUnavailable> = Layer.effect(
  Tensors,
  Effect.tryPromise({
    try: async () => {
      const { adamW: _, squares: __, ...engine } = await wasmEngine()
      return { ...engine, native: {} }
    },
    catch: (cause) => unavailable("wasm", String(cause), "Run `npm ci`.", cause)
  }).pipe(Effect.map(makeTensors))
)

const torchLoaded = new Map<string, TensorsShape>()

const startTorch = async (name: string, precision: TorchOptions["precision"]): Promise<TensorsShape> => {
  const known = torchLoaded.get(name)
  if (known !== undefined) return known
  const addon = openAddon()
  const device = useDevice(addon)
  const backend = new TorchBackend(addon)
  tf.registerBackend(name, () => backend)
  registerTorchKernels(backend, name)
  await tf.setBackend(name)
  const tensors = makeTorchTensors(backend, name, { device, precision })
  torchLoaded.set(name, tensors)
  return tensors
}

const torchLayer = (name: string, precision: TorchOptions["precision"]): Layer.Layer<Tensors, EngineUnavailable> =>
  Layer.effect(
    Tensors,
    Effect.tryPromise({
      try: () => startTorch(name, precision),
      catch: (cause) =>
        cause instanceof EngineUnavailable
          ? cause
          : unavailable(name, String(cause), `Build the addon again: \`${buildCommand}\`.`, cause)
    })
  )

/**
 * libtorch in f32 through the addon that `npm run build:torch` makes: on a GPU where libtorch has one, else on the CPU.
 */
export const torch = torchLayer("torch", "f32")

/** The same with regions in bfloat16 over f32 weights and moments. */
export const torchBf16 = torchLayer("torch-bf16", "bf16")

let tensorflowLoaded: Promise<TfEngine> | undefined

/** The `@tensorflow/tfjs-node-gpu` or `-node` that the user installed: float32, one GPU. */
export const tensorflow: Layer.Layer<Tensors, EngineUnavailable> = Layer.effect(
  Tensors,
  Effect.tryPromise({
    try: () => {
      tensorflowLoaded ??= startTensorflow()
      return tensorflowLoaded
    },
    catch: (cause) =>
      cause instanceof EngineUnavailable
        ? cause
        : unavailable("tensorflow", String(cause), "Install the package again, or use --engine wasm or torch.", cause)
  }).pipe(Effect.map(makeTensors))
)

/** Names that a settings file may hold. */
export const engineNames = ["wasm", "torch", "torch-bf16", "tensorflow", "auto"] as const
export type EngineName = (typeof engineNames)[number]

export { resolve } from "./Auto.ts"

const layers: Readonly<Record<string, Layer.Layer<Tensors, EngineUnavailable>>> = {
  wasm,
  torch,
  "torch-bf16": torchBf16,
  tensorflow
}

/**
 * The layer of the engine called `name`; fails with `EngineUnavailable` for one that is unknown.
 *
 * @example program.pipe(Effect.provide(layer("wasm")))
 */
export const layer = (name: string): Layer.Layer<Tensors, EngineUnavailable> =>
  layers[resolve(name).engine] ??
  Layer.effect(
    Tensors,
    Effect.fail(unavailable(name, `there is no engine called ${name}`, `Use one of: ${engineNames.join(", ")}.`))
  )
