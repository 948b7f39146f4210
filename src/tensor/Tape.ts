/**
 * Reverse-mode differentiation over the tape that TensorFlow.js records, for engines without an autograd of their own.
 *
 * Why not `tf.grads`: that frees activations and every intermediate gradient only when the whole backward pass ends,
 * and it cannot be nested inside a custom gradient. Here an operation's saved tensors and its output's gradient are
 * freed as soon as it has been differentiated, and passes nest, which activation checkpointing needs.
 *
 * Not for libtorch: an engine with its own tape replaces `gradients` and `recomputed` and leaves this file unused.
 */
import type { Tensor, Weights } from "./Ops.ts"
import { tf } from "./Ops.ts"

interface Node {
  readonly kernelName: string
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly outputs: ReadonlyArray<Tensor>
  readonly gradient?: (dys: Array<Tensor | null>) => Record<string, () => Tensor>
  readonly saved?: ReadonlyArray<Tensor>
}

interface TapeState {
  gradientDepth: number
  activeTape: Array<Node> | null
}

/** The engine's own bookkeeping, public in its types except that a tape may hold nothing. */
const tapeState = (): TapeState => tf.engine().state as unknown as TapeState

/** Ids of the tensors that the innermost running pass differentiates for; what is outside is frozen. */
let wanted: ReadonlySet<number> = new Set()

/** Whether the running pass wants the gradient of this very tensor (not of what was computed from it). */
export const isWanted = (tensor: Tensor): boolean => wanted.has(tensor.id)

interface Recorded<A> {
  readonly value: A
  readonly tape: ReadonlyArray<Node>
}

/** Runs `f` with a fresh tape, keeping any tape that records outside. */
const record = <A extends tf.TensorContainer>(f: () => A, xs: ReadonlyArray<Tensor>): Recorded<A> => {
  const state = tapeState()
  const outer = { depth: state.gradientDepth, tape: state.activeTape, wanted }
  state.gradientDepth = 1
  state.activeTape = []
  wanted = new Set([...wanted, ...xs.map((x) => x.id)])
  const tape = state.activeTape
  try {
    return { value: tf.tidy(f), tape }
  } catch (cause) {
    release(tape)
    throw cause
  } finally {
    state.gradientDepth = outer.depth
    state.activeTape = outer.tape
    wanted = outer.wanted
  }
}

const release = (tape: ReadonlyArray<Node>): void => {
  for (const node of tape) for (const saved of node.saved ?? []) saved.dispose()
}

/** Runs without recording, whatever records outside. */
export const withoutTape = <A>(f: () => A): A => {
  const state = tapeState()
  const depth = state.gradientDepth
  state.gradientDepth = 0
  try {
    return f()
  } finally {
    state.gradientDepth = depth
  }
}

/**
 * The value of `f` and the gradient of `sum(f * dy)` with respect to each of `xs`, in their order.
 *
 * `dy` has the shape of the value (default: ones). A tensor that the value does not depend on gets zeros. Gradients are
 * summed in the fixed order of the tape, so equal inputs give equal bits. The caller owns the results.
 *
 * @example const { value, grads } = gradients(() => tf.sum(tf.square(x)), [x])
 */
export const gradients = <A extends Tensor>(
  f: () => A,
  xs: ReadonlyArray<Tensor>,
  dy?: Tensor
): { readonly value: A; readonly grads: Array<Tensor> } => {
  const { value, tape } = record(f, xs)
  const grads = withoutTape(() => tf.tidy(() => backward(tape, value, xs, dy)))
  return { value, grads }
}

const backward = (tape: ReadonlyArray<Node>, y: Tensor, xs: ReadonlyArray<Tensor>, dy?: Tensor): Array<Tensor> => {
  // Forward over the tape: which tensors depend on xs.
  const reached = new Set(xs.map((x) => x.id))
  for (const node of tape)
    if (Object.values(node.inputs).some((input) => input != null && reached.has(input.id)))
      for (const output of node.outputs) reached.add(output.id)

  const roots = new Set(xs.map((x) => x.id))
  const byId = new Map<number, Tensor>([[y.id, dy === undefined ? tf.onesLike(y) : dy.clone()]])
  const accumulate = (id: number, grad: Tensor): void => {
    const before = byId.get(id)
    if (before === undefined) byId.set(id, grad)
    else {
      byId.set(id, tf.add(before, grad))
      before.dispose()
      grad.dispose()
    }
  }
  let index = tape.length
  try {
    while (index-- > 0) {
      const node = tape[index]!
      const dys = node.outputs.map((output) => byId.get(output.id) ?? null)
      if (dys.some((d) => d !== null) && node.outputs.some((output) => reached.has(output.id))) {
        if (node.gradient === undefined) throw new Error(`no gradient is registered for ${node.kernelName}`)
        const gradient = node.gradient
        const names = Object.keys(node.inputs).filter((name) => {
          const input = node.inputs[name]
          return input != null && reached.has(input.id)
        })
        const found = tf.tidy(() => {
          const byName = gradient(dys)
          return names.map((name) => {
            const thunk = byName[name]
            if (thunk === undefined) throw new Error(`${node.kernelName} has no gradient for its input ${name}`)
            return thunk()
          })
        })
        for (const [i, name] of names.entries()) accumulate(node.inputs[name]!.id, found[i]!)
      }
      // An output's gradient is complete here; unless it was asked for, nobody reads it again.
      node.outputs.forEach((output, i) => {
        if (dys[i] != null && !roots.has(output.id)) {
          dys[i]!.dispose()
          byId.delete(output.id)
        }
      })
      for (const saved of node.saved ?? []) saved.dispose()
    }
  } catch (cause) {
    release(tape.slice(0, index + 1))
    throw cause
  }
  return xs.map((x) => byId.get(x.id) ?? tf.zerosLike(x))
}

/**
 * Runs `block` keeping only its inputs, and runs it again when its gradient is asked for (activation checkpointing).
 *
 * `weights` are the tensors that `block` reads besides `x`; those that nobody differentiates for are skipped. `block`
 * must be a pure function: dropout masks come from a counter, not from a stream.
 *
 * @example const y = recomputed((x) => block(c, w, x), x, w)
 */
export const recomputed = (block: (x: Tensor) => Tensor, x: Tensor, weights: Weights): Tensor => {
  if (tapeState().gradientDepth === 0) return tf.tidy(() => block(x))
  const trained = Object.values(weights).filter(isWanted)
  const run = tf.customGrad((...args) => {
    const save = args.pop() as unknown as (tensors: Array<Tensor>) => void
    const input = args[0] as Tensor
    save([input])
    return {
      value: block(input),
      gradFunc: (dy: Tensor, saved: Array<Tensor>) => {
        const kept = saved[0]!
        const { value, grads } = gradients(() => block(kept), [kept, ...trained], dy)
        value.dispose()
        return grads
      }
    }
  })
  return run(x, ...trained)
}
