/**
 * How a TensorFlow.js kernel is written as ATen operators: what all files of this folder share.
 *
 * Not kernels. A kernel is one operator (`op`), or `steps` of which the last is kept and the others are freed, also
 * when one of them fails.
 */
import type { DataType, TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import type { Argument, Made, Results } from "../Addon.ts"
import { codeOf, type TorchBackend } from "../Backend.ts"

export type Inputs = Readonly<Record<string, TensorInfo>>
/** What TF.js passes beside tensors; its own types are of each kernel, and are not exported with their names. */
export type Attributes = Readonly<Record<string, any>>

/** Runs operators on handles; what they make is freed at the end unless it is what was returned. */
export interface Steps {
  (operator: string, ...args: ReadonlyArray<Argument>): number
  /** An operator with several results; -1 where it gives none. */
  readonly several: (count: number, operator: string, ...args: ReadonlyArray<Argument>) => Array<number>
  /** Integers as an int32 tensor. */
  readonly integers: (values: ReadonlyArray<number> | Int32Array, shape?: ReadonlyArray<number>) => number
  readonly shape: (handle: number) => ReadonlyArray<number>
}

export interface Define {
  readonly backend: TorchBackend
  readonly kernel: (
    name: string,
    run: (inputs: Inputs, attributes: Attributes) => TensorInfo | Array<TensorInfo>
  ) => void
  /** The handle of an input. */
  readonly h: (x: TensorInfo | undefined) => number
  readonly op: (operator: string, ...args: ReadonlyArray<Argument>) => Made
  /** A result as `dtype`, whatever ATen made of it. */
  readonly as: (made: Made, dtype: DataType) => TensorInfo
  readonly steps: (dtype: DataType, run: (op: Steps) => number) => TensorInfo
  readonly manySteps: (dtypes: ReadonlyArray<DataType>, run: (op: Steps) => ReadonlyArray<number>) => Array<TensorInfo>
  /** Integers of a small tensor, now: indices and shapes. */
  readonly read: (x: TensorInfo) => Int32Array
}

/** Axes as numbers from 0, all of them where none is given. */
export const axesOf = (axis: number | Array<number> | undefined, rank: number): Array<number> =>
  tf.util.parseAxisParam(axis as Array<number>, Array<number>(rank).fill(1))

export const define = (backend: TorchBackend, backendName: string): Define => {
  const { addon } = backend
  const as = (made: Made, dtype: DataType): TensorInfo => backend.as(made, dtype)
  const manySteps: Define["manySteps"] = (dtypes, run) => {
    const made = new Map<number, Made>()
    const note = (one: Made): number => {
      made.set(one.handle, one)
      return one.handle
    }
    const call = (name: string, ...args: ReadonlyArray<Argument>): number =>
      note(
        addon
          .aten(name)(...args)
          .tensor()
      )
    const op: Steps = Object.assign(call, {
      several: (count: number, name: string, ...args: ReadonlyArray<Argument>): Array<number> => {
        const results: Results = addon.aten(name)(...args)
        return Array.from({ length: count }, () => {
          const one = results.maybe()
          return one === undefined ? -1 : note(one)
        })
      },
      integers: (values: ReadonlyArray<number> | Int32Array, shape?: ReadonlyArray<number>): number =>
        note(addon.upload(Int32Array.from(values), shape ?? [values.length], codeOf("int32"))),
      shape: (handle: number): ReadonlyArray<number> => made.get(handle)!.shape
    })
    try {
      return run(op).map((handle, i) => {
        // What is returned may be an input, which stays with its owner.
        const one = made.get(handle) ?? addon.own("share", [handle], (results) => results.tensor())
        made.delete(handle)
        return as(one, dtypes[i]!)
      })
    } finally {
      addon.free([...made.keys()])
    }
  }
  return {
    backend,
    kernel: (kernelName, run) =>
      tf.registerKernel({
        kernelName,
        backendName,
        kernelFunc: ({ attrs, inputs }) => run(inputs as Inputs, (attrs ?? {}) as Attributes)
      }),
    h: (x) => backend.handle(x!),
    op: (name, ...args) =>
      addon
        .aten(name)(...args)
        .tensor(),
    as,
    steps: (dtype, run) => manySteps([dtype], (op) => [run(op)])[0]!,
    manySteps,
    read: (x) => backend.host(x) ?? Int32Array.from(backend.readSync(x.dataId) as Int32Array)
  }
}
