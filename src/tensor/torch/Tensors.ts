/**
 * `Tensors` over libtorch's own tape: TF.js's records nothing, gradients come from ATen.
 *
 * Not a model and not a device. Checkpointed blocks run without recording and keep their input; on the way back each is
 * run again on a leaf of its own. libtorch is never asked to call JavaScript.
 *
 * Lifetimes: the graph keeps what it needs; handles that TF.js's tidy frees do not.
 */
import { Effect } from "effect"
import type { TensorError } from "../Errors.ts"
import { type Tensor, tf, type Weights } from "../Ops.ts"
import { plain } from "../Regions.ts"
import { checkAdamW, checkLoss, freeAll, running } from "../Running.ts"
import { withoutTape } from "../Tape.ts"
import { type Compute, type TensorsShape, uploadPixels } from "../Tensors.ts"
import { dtypes, type Made } from "./Addon.ts"
import type { TorchBackend } from "./Backend.ts"
import { joinOf } from "./Collective.ts"
import { fusedAdamW } from "./FusedAdamW.ts"
import { normsOf } from "./Norms.ts"
import { gatherPixels } from "./Pixels.ts"
import { makeRegions, type TorchOptions } from "./Regions.ts"

/** A block that will be run again: its input in the graph, the leaf that stands for its output, how to run it. */
interface Segment {
  /** The handle that the input had: equal for blocks that share it. */
  readonly source: number
  readonly input: number
  readonly output: number
  readonly block: (x: Tensor) => Tensor
}

/**
 * The service `Tensors` of a torch engine.
 *
 * Long: a list of the functions of one service, over one backend and one record of what is held.
 */
export const makeTensors = (backend: TorchBackend, backendName: string, options: TorchOptions): TensorsShape => {
  const { addon } = backend
  const record = (on: boolean): void => backend.record(on)
  const made = (name: string, handle: number): number => addon.own(name, [handle], (results) => results.tensor().handle)
  /** `again`: what made the output may be asked once more, and is kept. */
  const backward = (output: number, again: boolean, gradient?: number): void =>
    addon.own("backward", [output, again ? 1 : 0, ...(gradient === undefined ? [0] : [1, gradient])], () => undefined)
  const gradientOf = (leaf: number) => addon.own("takeGradient", [leaf], (results) => results.maybe())
  /** A handle of its own over what `handle` is, as a TF.js tensor. */
  const over = (handle: number): Tensor => {
    const shared = addon.own("share", [handle], (results) => results.tensor())
    return backend.tensor(shared)
  }

  /** Segments of the pass that records; undefined while none does. */
  let segments: Array<Segment> | undefined

  const recomputed = (block: (x: Tensor) => Tensor, x: Tensor): Tensor => {
    if (segments === undefined) return tf.tidy(() => block(x))
    const outer = segments
    segments = undefined
    record(false)
    try {
      const value = tf.tidy(() => block(x))
      const segment = { source: backend.handle(x), input: made("share", backend.handle(x)), output: -1, block }
      // Pushed first: what fails from here on is freed with the others.
      outer.push(segment)
      segment.output = made("leaf", backend.handle(value))
      value.dispose()
      return over(segment.output)
    } finally {
      segments = outer
      record(true)
    }
  }
  const compute: Compute = {
    ...plain,
    ...makeRegions(backend, options),
    recomputed,
    pixels: options.device === "cuda" ? gatherPixels(backend) : uploadPixels,
    // The head cuts them itself.
    logitsAtOnce: Number.POSITIVE_INFINITY
  }

  /** Runs a segment again: its weights' gradients are taken up, that of its input is the result. */
  const redo = ({ block, input, output }: Segment): Made | undefined => {
    const gradient = gradientOf(output)
    if (gradient === undefined) return undefined
    const flows = addon.own("reached", [input], (results) => results.number()) === 1
    let start = -1
    try {
      start = made(flows ? "leaf" : "detach", input)
      tf.tidy(() => backward(backend.handle(block(over(start))), false, gradient.handle))
      return flows ? gradientOf(start) : undefined
    } finally {
      addon.free([start, gradient.handle])
    }
  }

  /** Passes gradients back through segments, last first. What came before a shared input is gone through once. */
  const redoAll = (segments: ReadonlyArray<Segment>): void => {
    let sum: number | undefined
    try {
      for (let i = segments.length - 1; i >= 0; i--) {
        const segment = segments[i]!
        const up = redo(segment)?.handle
        if (sum === undefined) sum = up
        else if (up !== undefined) addon.free([addon.aten("add_.Tensor")(sum, up).tensor().handle, up])
        if (sum === undefined || segments[i - 1]?.source === segment.source) continue
        backward(segment.input, true, sum)
        addon.free([sum])
        sum = undefined
      }
    } finally {
      if (sum !== undefined) addon.free([sum])
    }
  }

  const run = running("torch", backendName)
  const active = <A>(f: () => A) => run(() => withoutTape(f))

  /**
   * Values of a tensor: at once on a CPU; from a GPU without blocking this thread, which can load the next batch
   * meanwhile.
   */
  const readBack = <A extends Float32Array | Float64Array>(into: A, handle: number): Effect.Effect<A, TensorError> =>
    options.device === "cpu"
      ? active(() => addon.read(into, handle))
      : Effect.tryPromise({ try: () => addon.readLater(into, handle), catch: (cause) => cause }).pipe(
          Effect.catch((cause) =>
            active(() => {
              throw cause
            })
          )
        )

  return {
    fingerprint: { engine: "torch", precision: options.precision },
    oneThread: false,
    run: (f) => active(() => tf.tidy(() => f(compute))),
    valueAndGrad: (f, variables, into) => {
      const pass = active(() => {
        const names = Object.keys(variables)
        const require = (on: boolean): void => {
          for (const name of names) backend.train(variables[name]!, on)
        }
        const mine: Array<Segment> = []
        let loss: Tensor | undefined
        let through = false
        segments = mine
        require(true)
        record(true)
        try {
          loss = tf.tidy(() => {
            const value = f(compute, variables)
            checkLoss(value)
            if (backend.reached(value)) backward(backend.handle(value), mine.length > 0)
            return backend.tensor(addon.own("detach", [backend.handle(value)], (results) => results.tensor()))
          })
          segments = undefined
          redoAll(mine)
          record(false)
          // In a tidy: where one cannot be made, those before it are freed.
          const grads = tf.tidy(() => {
            const all: Record<string, Tensor> = {}
            for (const name of backend.sinks ? [] : names) {
              const variable = variables[name]!
              const gradient = gradientOf(backend.handle(variable))
              const before = into?.[name]
              if (before !== undefined) {
                if (gradient !== undefined) {
                  try {
                    addon.free([addon.aten("add_.Tensor")(backend.handle(before), gradient.handle).tensor().handle])
                  } finally {
                    addon.free([gradient.handle])
                  }
                }
                all[name] = before
              } else all[name] = gradient === undefined ? tf.zeros(variable.shape) : backend.tensor(gradient)
            }
            return all
          })
          through = true
          return { loss, grads }
        } finally {
          if (!through) loss?.dispose()
          segments = undefined
          record(false)
          for (const { input, output } of mine) addon.free([input, output])
          for (const name of names) {
            const left = gradientOf(backend.handle(variables[name]!))
            if (left !== undefined) addon.free([left.handle])
          }
          require(false)
        }
      })
      return Effect.flatMap(pass, ({ grads, loss }) =>
        readBack(new Float32Array(1), backend.handle(loss)).pipe(
          Effect.map((values) => ({ value: values[0]!, grads })),
          Effect.onError(() => Effect.sync(() => freeAll([grads]))),
          Effect.ensuring(Effect.sync(() => loss.dispose()))
        )
      )
    },
    adamW: (state, grads, options, lr, update) =>
      active(() => {
        const names = Object.keys(state.weights)
        checkAdamW(state, grads)
        const of = (tensors: Weights, name: string): number => backend.handle(tensors[name]!)
        fusedAdamW(
          addon,
          names.map((name) => ({
            weights: of(state.weights, name),
            gradient: of(grads, name),
            m: of(state.m, name),
            v: of(state.v, name),
            decays: state.weights[name]!.rank > 1
          })),
          options,
          lr,
          update
        )
        freeAll([grads])
        for (const name of names) backend.changed(state.weights[name]!)
        // In place: the tensors that were given are the ones that come back.
        return state
      }),
    join: joinOf(backend, active),
    upload: (values, shape) =>
      active(() => tf.tensor(values, [...shape], values instanceof Int32Array ? "int32" : "float32")),
    uploadFrozen: (values, shape) =>
      active(() =>
        backend.tensor(addon.upload(values, shape, options.precision === "bf16" ? dtypes.bfloat16 : dtypes.float32))
      ),
    read: (tensor) => active(() => tensor.dataSync() as Float32Array | Int32Array),
    norm: (tensors) =>
      Effect.suspend(() => {
        const each = Object.values(tensors)
        return Effect.flatMap(
          active(() =>
            normsOf(
              addon,
              each.map((t) => backend.handle(t))
            )
          ),
          (all) =>
            readBack(new Float64Array(each.length), all).pipe(
              Effect.map((norms) => Math.sqrt(norms.reduce((sum, norm) => sum + norm * norm, 0))),
              Effect.ensuring(Effect.sync(() => addon.free([all])))
            )
        )
      }),
    free: (...tensors) => Effect.sync(() => freeAll(tensors)),
    memory: Effect.sync(() => {
      const { numBytes, numTensors } = tf.memory()
      const [engineBytes, peakBytes] = addon.own("allocated", [], (results) => [results.number(), results.number()])
      return { tensors: numTensors, tensorBytes: numBytes, engineBytes: engineBytes!, peakBytes: peakBytes! }
    })
  }
}
