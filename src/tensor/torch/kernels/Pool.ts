/**
 * Pooling of two and three dimensions, and its gradients. Paddings count for nothing: not as the largest, not in a
 * mean.
 */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import { codeOf } from "../Backend.ts"
import { channelsBack, channelsFirst, padded, unpadded, type Window, windowOf } from "./Conv.ts"
import type { Attributes, Define, Steps } from "./Define.ts"

const { backend_util } = tf

const LEAST = Number.NEGATIVE_INFINITY

const windowFor = (x: TensorInfo, a: Attributes, dimensions: 2 | 3): Window => {
  const { dimRoundingMode, filterSize, pad, strides } = a
  return dimensions === 2
    ? windowOf(
        backend_util.computePool2DInfo(
          x.shape as [number, number, number, number],
          filterSize,
          strides,
          1,
          pad,
          dimRoundingMode
        )
      )
    : windowOf(
        backend_util.computePool3DInfo(
          x.shape as [number, number, number, number, number],
          filterSize,
          strides,
          1,
          pad,
          dimRoundingMode,
          a["dataFormat"]
        )
      )
}

const zeros = (w: Window): Array<number> => w.kernel.map(() => 0)

/** How many values of the input each window sees, `[1, 1, ..S]`; 1 for those that see none. */
const seen = (op: Steps, w: Window): number => {
  const ones = op("ones", [1, 1, ...w.inSpace], codeOf("float32"), null, "device", null)
  return op("clamp_min", sums(op, padded(op, ones, w, 0), w), 1)
}

/** As TF.js has it: windows of one value that keep the size are the input itself, whatever their strides. */
const isInput = (w: Window): boolean =>
  w.kernel.every((size) => size === 1) && w.outSpace.every((size, i) => size === w.inSpace[i])

/** What is no number is never the largest. */
const numbers = (op: Steps, x: number): number => op("nan_to_num", x, LEAST, Number.POSITIVE_INFINITY, LEAST)

const sums = (op: Steps, x: number, w: Window): number =>
  op(`avg_pool${w.kernel.length}d`, x, w.kernel, w.stride, zeros(w), false, true, 1)

export const registerPool = ({ h, kernel, manySteps, steps }: Define): void => {
  for (const [name, n] of [
    ["MaxPool", 2],
    ["MaxPool3D", 3]
  ] as const) {
    kernel(name, ({ x }, a) => {
      const w = windowFor(x!, a, n)
      return steps(x!.dtype, (op) => {
        if (isInput(w)) return h(x)
        const input = padded(op, numbers(op, channelsFirst(op, h(x), w)), w, LEAST)
        return channelsBack(op, op(`max_pool${n}d`, input, w.kernel, w.stride, zeros(w), w.dilation), w)
      })
    })
    kernel(`${name}Grad`, ({ dy, input }, a) => {
      const w = windowFor(input!, a, n)
      return steps("float32", (op) => {
        const x = padded(op, channelsFirst(op, h(input), w), w, LEAST)
        const window = [w.kernel, w.stride, zeros(w), w.dilation] as const
        const places = op.several(2, `max_pool${n}d_with_indices`, x, ...window)[1]!
        const back = `max_pool${n}d_with_indices_backward`
        const made = op(back, channelsFirst(op, h(dy), w), x, ...window, false, places)
        return channelsBack(op, unpadded(op, made, w), w)
      })
    })
  }
  for (const [name, n] of [
    ["AvgPool", 2],
    ["AvgPool3D", 3]
  ] as const) {
    kernel(name, ({ x }, a) => {
      const w = windowFor(x!, a, n)
      return steps("float32", (op) => {
        if (isInput(w)) return h(x)
        const all = sums(op, padded(op, channelsFirst(op, h(x), w), w, 0), w)
        return channelsBack(op, op("div.Tensor", all, seen(op, w)), w)
      })
    })
    kernel(`${name}Grad`, ({ dy, input }, a) => {
      const w = windowFor(input!, a, n)
      return steps("float32", (op) => {
        const x = padded(op, channelsFirst(op, h(input), w), w, 0)
        // As TF.js has it: by the size of the window, also where some of it is padding.
        const shares = op("div.Scalar", channelsFirst(op, h(dy), w), tf.util.sizeFromShape(w.kernel))
        const back = `avg_pool${n}d_backward`
        const made = op(back, shares, x, w.kernel, w.stride, zeros(w), false, true, 1)
        return channelsBack(op, unpadded(op, made, w), w)
      })
    })
  }
  // Places are TF.js's: (row * width + column) * channels + channel, and from the batch's start where that is asked
  // for.
  kernel("MaxPoolWithArgmax", ({ x }, a) => {
    const w = windowFor(x!, a, 2)
    const [[top], [left, right]] = w.room as [readonly [number, number], readonly [number, number]]
    const [height, width] = w.inSpace as [number, number]
    return manySteps([x!.dtype, "int32"], (op) => {
      const input = padded(op, numbers(op, channelsFirst(op, h(x), w)), w, LEAST)
      const [largest, at] = op.several(2, "max_pool2d_with_indices", input, w.kernel, w.stride, zeros(w), w.dilation)
      const wide = width + left + right
      const row = op("sub.Scalar", op("div.Scalar_mode", at!, wide, "floor"), top)
      const column = op("sub.Scalar", op("remainder.Scalar", at!, wide), left)
      const place = op("mul.Scalar", op("add.Tensor", op("mul.Scalar", row, width), column), w.inChannels)
      const channel = op.integers(
        Array.from({ length: w.inChannels }, (_, i) => i),
        [1, w.inChannels, 1, 1]
      )
      const start = op.integers(
        Array.from({ length: w.batch }, (_, i) => (a["includeBatchInIndex"] ? i * height * width * w.inChannels : 0)),
        [w.batch, 1, 1, 1]
      )
      const places = op("add.Tensor", op("add.Tensor", place, channel), start)
      return [channelsBack(op, largest!, w), channelsBack(op, places, w)]
    })
  })
}
