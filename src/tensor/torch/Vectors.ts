/**
 * Flat vectors over libtorch: one-dimensional float32 tensors, changed in place.
 *
 * Not tensors of TF.js: these are freed by hand alone. A view of a vector is a TF.js tensor in the vector's memory, so
 * that an update of the vector shows in it.
 */
import { Effect } from "effect"
import type { TensorError } from "../Errors.ts"
import type { Vector, Vectors } from "../Vectors.ts"
import { type Argument, dtypes, type Made } from "./Addon.ts"
import type { TorchBackend } from "./Backend.ts"
import { fusedAdamW } from "./FusedAdamW.ts"
import { normsOf } from "./Norms.ts"

/** A vector's handle in the addon. */
export interface TorchVector extends Vector {
  readonly handle: number
}

export const handleOf = (vector: Vector): number => (vector as TorchVector).handle

/** Runs calls of the addon, with what they throw as typed failures. */
export type Active = <A>(f: () => A) => Effect.Effect<A, TensorError>

export const makeVectors = (backend: TorchBackend, active: Active): Vectors => {
  const { addon } = backend
  const vector = (made: Made): TorchVector => ({ size: made.shape[0]!, handle: made.handle })
  const narrow = (of: number, at: number, size: number): number => addon.aten("narrow")(of, 0, at, size).tensor().handle
  /** What in-place operators give is one handle more over the same tensor. */
  const inPlace = (name: string, ...args: ReadonlyArray<Argument>): void =>
    addon.free([
      addon
        .aten(name)(...args)
        .tensor().handle
    ])
  return {
    shared: true,
    changed: (views) =>
      Effect.sync(() => {
        for (const view of Object.values(views)) backend.changed(view)
      }),
    zeros: (size) => active(() => vector(addon.aten("zeros")([size], dtypes.float32, null, "device", null).tensor())),
    part: (of, at, size) => active(() => ({ size, handle: narrow(handleOf(of), at, size) })),
    put: (tensor, into, at) =>
      active(() => {
        const part = narrow(handleOf(into), at, tensor.size)
        const flat = addon.aten("reshape")(backend.handle(tensor), [-1]).tensor().handle
        inPlace("copy_", part, flat)
        addon.free([part, flat])
      }),
    copy: (from, into) => active(() => inPlace("copy_", handleOf(into), handleOf(from))),
    view: (of, at, shape) =>
      active(() => {
        const part = narrow(
          handleOf(of),
          at,
          shape.reduce((all, one) => all * one, 1)
        )
        const made = addon.aten("view")(part, shape).tensor()
        addon.free([part])
        return backend.tensor(made)
      }),
    read: (of) => active(() => addon.read(new Float32Array(of.size), handleOf(of))),
    write: (values, into) =>
      active(() => {
        const made = addon.upload(values, [values.length], dtypes.float32)
        inPlace("copy_", handleOf(into), made.handle)
        addon.free([made.handle])
      }),
    clear: (of) => active(() => inPlace("zero_", handleOf(of))),
    scale: (of, by) => active(() => inPlace("mul_.Scalar", handleOf(of), by)),
    squares: (vectors) =>
      active(() => {
        if (vectors.length === 0) return 0
        const all = normsOf(addon, vectors.map(handleOf))
        let sum = 0
        for (const norm of addon.read(new Float64Array(vectors.length), all)) sum += norm * norm
        addon.free([all])
        return sum
      }),
    adamW: (slices, options, lr, update) =>
      active(() =>
        fusedAdamW(
          addon,
          slices.map(({ decays, gradient, m, v, weights }) => ({
            weights: handleOf(weights),
            gradient: handleOf(gradient),
            m: handleOf(m),
            v: handleOf(v),
            decays
          })),
          options,
          lr,
          update
        )
      ),
    free: (...vectors) => Effect.sync(() => addon.free(vectors.map(handleOf)))
  }
}
