/**
 * libtorch as a TensorFlow.js backend: where a tensor's values lie, and how they come and go.
 *
 * Not kernels (`Kernels.ts`) and no gradients (`Tensors.ts` beside this file). TF.js counts references and disposes; a
 * handle is freed when its last reference goes.
 */
import type { BackendValues, DataType, TensorInfo } from "@tensorflow/tfjs-core"
import { EngineFailure } from "../Errors.ts"
import type { Tensor } from "../Ops.ts"
import { tf } from "../Ops.ts"
import { type Addon, dtypes, type Made } from "./Addon.ts"

/** What TF.js calls a data id. */
interface Data {
  handle: number
  dtype: DataType
  shape: ReadonlyArray<number>
  references: number
  /** Of small integer tensors: the values, so that what they say (segments) is known without asking the device. */
  host?: Int32Array
  /** Whether the running gradient pass is for this tensor. */
  trained?: boolean
  /** What was derived from the values, by name; freed with them. */
  derived?: Map<string, number>
}

/** Integers that are remembered on this side; a batch's segments, not a table. */
const REMEMBERED = 2 ** 20

const codes: Partial<Record<DataType, number>> = { float32: dtypes.float32, int32: dtypes.int32, bool: dtypes.bool }

/** ATen's number of an element type of TF.js. Throws for text and complex numbers. */
export const codeOf = (dtype: DataType): number => {
  const code = codes[dtype]
  if (code !== undefined) return code
  throw new EngineFailure({
    engine: "torch",
    message: `tensors of ${dtype} are not taken`,
    hint: "Use float32, int32 or bool."
  })
}

type Values = Float32Array | Int32Array | Uint8Array

const roomFor = (dtype: DataType, count: number): Values =>
  dtype === "float32" ? new Float32Array(count) : dtype === "int32" ? new Int32Array(count) : new Uint8Array(count)

const valuesOf = (values: BackendValues, dtype: DataType): Values => {
  if (values instanceof Float32Array || values instanceof Int32Array || values instanceof Uint8Array) return values
  const plain = values as unknown as ReadonlyArray<number>
  return dtype === "float32"
    ? Float32Array.from(plain)
    : dtype === "int32"
      ? Int32Array.from(plain)
      : Uint8Array.from(plain)
}

export class TorchBackend extends tf.KernelBackend {
  readonly addon: Addon
  /** Whether a sink takes gradients by weights as they come: a gradient pass then has none to give. */
  sinks = false
  #ids = 0
  #recording = false

  constructor(addon: Addon) {
    super()
    this.addon = addon
  }

  /** A tensor's description for TF.js; `dtype` is what TF.js takes it for. */
  info(made: Made, dtype: DataType): TensorInfo {
    this.#ids++
    const data: Data = { handle: made.handle, dtype, shape: made.shape, references: 1 }
    return { dataId: data, shape: made.shape, dtype }
  }

  /** A TF.js tensor over what the addon made. */
  tensor(made: Made, dtype: DataType = "float32"): Tensor {
    const info = this.info(made, dtype)
    return tf.engine().makeTensorFromDataId(info.dataId, info.shape, info.dtype, this)
  }

  /** A result as `dtype`; of floats any width will do, TF.js knows one. */
  as(made: Made, dtype: DataType): TensorInfo {
    const code = codeOf(dtype)
    if (made.dtype === code || (dtype === "float32" && made.dtype === dtypes.bfloat16)) return this.info(made, dtype)
    const cast = this.addon.aten("to.dtype")(made.handle, code).tensor()
    this.addon.free([made.handle])
    return this.info(cast, dtype)
  }

  handle(tensor: TensorInfo): number {
    return (tensor.dataId as Data).handle
  }

  /** The values of a small integer tensor as they were uploaded; undefined where they are not known here. */
  host(tensor: TensorInfo): Int32Array | undefined {
    return (tensor.dataId as Data).host
  }

  /** Whether operations are recorded for a gradient. */
  get recording(): boolean {
    return this.#recording
  }

  record(on: boolean): void {
    this.addon.own("record", [on ? 1 : 0], () => undefined)
    this.#recording = on
  }

  /** Whether a gradient would reach this tensor. */
  reached(tensor: TensorInfo): boolean {
    return this.addon.own("reached", [this.handle(tensor)], (results) => results.number()) === 1
  }

  /** Says whether the gradient pass that begins, or ended, is for this tensor. */
  train(tensor: TensorInfo, on: boolean): void {
    ;(tensor.dataId as Data).trained = on
    this.addon.own("require", [this.handle(tensor), on ? 1 : 0], () => undefined)
  }

  /** The handle of something derived from a tensor's values, made once and freed with the tensor. */
  derived(tensor: TensorInfo, name: string, make: () => Made): number {
    const data = tensor.dataId as Data
    data.derived ??= new Map()
    const known = data.derived.get(name)
    if (known !== undefined) return known
    const { handle } = make()
    data.derived.set(name, handle)
    return handle
  }

  /** Forgets what was derived from a tensor's values. */
  changed(tensor: TensorInfo): void {
    const data = tensor.dataId as Data
    this.addon.free([...(data.derived?.values() ?? [])])
    delete data.derived
  }

  /** Whether the running gradient pass is for this tensor. */
  trains(tensor: TensorInfo): boolean {
    return (tensor.dataId as Data).trained === true
  }

  /** The same values once more: one reference more. */
  share({ dataId, dtype, shape }: TensorInfo): TensorInfo {
    this.incRef(dataId)
    return { dataId, shape, dtype }
  }

  override write(values: BackendValues, shape: Array<number>, dtype: DataType): object {
    const typed = valuesOf(values, dtype)
    const { dataId } = this.info(this.addon.upload(typed, shape, codeOf(dtype)), dtype)
    if (typed instanceof Int32Array && typed.length <= REMEMBERED) (dataId as Data).host = typed.slice()
    return dataId
  }

  override move(id: object, values: BackendValues, shape: Array<number>, dtype: DataType, references: number): void {
    const made = this.addon.upload(valuesOf(values, dtype), shape, codeOf(dtype))
    Object.assign(id, { handle: made.handle, dtype, shape, references } satisfies Data)
    this.#ids++
  }

  override readSync(id: object): BackendValues {
    const { dtype, handle, shape } = id as Data
    return this.addon.read(roomFor(dtype, tf.util.sizeFromShape([...shape])), handle)
  }

  override read(id: object): Promise<BackendValues> {
    const { dtype, handle, shape } = id as Data
    return this.addon.readLater(roomFor(dtype, tf.util.sizeFromShape([...shape])), handle)
  }

  override disposeData(id: object, force = false): boolean {
    const data = id as Data
    if (data.handle < 0) return true
    if (--data.references > 0 && !force) return false
    this.addon.free([data.handle, ...(data.derived?.values() ?? [])])
    data.handle = -1
    this.#ids--
    return true
  }

  override refCount(id: object): number {
    return (id as Data).references
  }

  override incRef(id: object): void {
    ;(id as Data).references++
  }

  decRef(id: object): void {
    ;(id as Data).references--
  }

  override numDataIds(): number {
    return this.#ids
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: false }
  }

  override floatPrecision(): 32 {
    return 32
  }

  override epsilon(): number {
    return 1e-7
  }

  override timerAvailable(): boolean {
    return true
  }

  override time(run: () => void): Promise<{ kernelMs: number }> {
    const started = performance.now()
    run()
    this.addon.own("synchronize", [], () => undefined)
    return Promise.resolve({ kernelMs: performance.now() - started })
  }

  override dispose(): void {}
}
