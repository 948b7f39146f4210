/**
 * Convolutions of two and three dimensions, depthwise ones, and their gradients.
 *
 * TF.js has channels last and filters `[..space, in, out]`; ATen has channels first and `[out, in, ..space]`. Paddings
 * may be uneven, so the input is padded (or cut) to what the output needs, and ATen pads nothing.
 *
 * Shapes: N images, S the sizes of space, C channels.
 */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import { codeOf } from "../Backend.ts"
import type { Attributes, Define, Steps } from "./Define.ts"
import { activate } from "./Elementwise.ts"
import { paddingOf } from "./Shape.ts"

const { backend_util } = tf

/** A convolution or a pooling, one number for each dimension of space. */
export interface Window {
  readonly kernel: Array<number>
  readonly stride: Array<number>
  readonly dilation: Array<number>
  /** Room before and after, so that the output has its size; negative where the end of the input is not looked at. */
  readonly room: ReadonlyArray<readonly [number, number]>
  readonly inSpace: ReadonlyArray<number>
  readonly outSpace: ReadonlyArray<number>
  readonly batch: number
  readonly inChannels: number
  readonly outChannels: number
  readonly channelsLast: boolean
}

type Info2 = ReturnType<typeof backend_util.computeConv2DInfo>
type Info3 = ReturnType<typeof backend_util.computeConv3DInfo>

export const windowOf = (info: Info2 | Info3): Window => {
  const three = "inDepth" in info ? info : undefined
  const kernel = [...(three ? [three.filterDepth] : []), info.filterHeight, info.filterWidth]
  const stride = [...(three ? [three.strideDepth] : []), info.strideHeight, info.strideWidth]
  const dilation = [...(three ? [three.dilationDepth] : []), info.dilationHeight, info.dilationWidth]
  const inSpace = [...(three ? [three.inDepth] : []), info.inHeight, info.inWidth]
  const outSpace = [...(three ? [three.outDepth] : []), info.outHeight, info.outWidth]
  const before = [...(three ? [three.padInfo.front] : []), info.padInfo.top, info.padInfo.left]
  return {
    kernel,
    stride,
    dilation,
    inSpace,
    outSpace,
    room: inSpace.map((size, i) => {
      const seen = (outSpace[i]! - 1) * stride[i]! + (kernel[i]! - 1) * dilation[i]! + 1
      return [before[i]!, seen - size - before[i]!]
    }),
    batch: info.batchSize,
    inChannels: info.inChannels,
    outChannels: info.outChannels,
    channelsLast: info.dataFormat === "channelsLast"
  }
}

/** `[N, ..S, C]` to `[N, C, ..S]`. */
export const channelsFirst = (op: Steps, x: number, { channelsLast, kernel }: Window): number =>
  channelsLast ? op("permute", x, [0, kernel.length + 1, ...kernel.map((_, i) => i + 1)]) : x

/** `[N, C, ..S]` to where TF.js wants the channels. */
export const channelsBack = (op: Steps, x: number, { channelsLast, kernel }: Window): number =>
  channelsLast ? op("permute", x, [0, ...kernel.map((_, i) => i + 2), 1]) : x

export const padded = (op: Steps, x: number, { room }: Window, value: number): number =>
  room.every(([before, after]) => before === 0 && after === 0) ? x : op("constant_pad_nd", x, paddingOf(room), value)

/** The part of a padded gradient that belongs to the input. */
export const unpadded = (op: Steps, x: number, { room }: Window): number =>
  padded(op, x, { room: room.map(([before, after]) => [-before, -after]) } as unknown as Window, 0)

const paddedSpace = ({ inSpace, room }: Window): Array<number> =>
  inSpace.map((size, i) => size + room[i]![0] + room[i]![1])

/** The filter as ATen has it, `[out, in / groups, ..S]`. */
const weightOf = (op: Steps, filter: number, w: Window, depthwise: boolean): number => {
  const n = w.kernel.length
  const space = w.kernel.map((_, i) => i)
  return depthwise
    ? op("reshape", op("permute", filter, [n, n + 1, ...space]), [w.outChannels, 1, ...w.kernel])
    : op("permute", filter, [n + 1, n, ...space])
}

const zeros = (w: Window): Array<number> => w.kernel.map(() => 0)

const forward = (op: Steps, x: number, filter: number, w: Window, depthwise: boolean): number => {
  const input = padded(op, channelsFirst(op, x, w), w, 0)
  const groups = depthwise ? w.inChannels : 1
  const weight = weightOf(op, filter, w, depthwise)
  return op("convolution", input, weight, null, w.stride, zeros(w), w.dilation, false, zeros(w), groups)
}

/** The gradient by the input (`which` 0) or by the filter (1), as ATen has them. */
const backward = (
  op: Steps,
  which: 0 | 1,
  dy: number,
  input: number,
  weight: number,
  w: Window,
  groups: number
): number =>
  op.several(
    3,
    "convolution_backward",
    channelsFirst(op, dy, w),
    input,
    weight,
    null,
    w.stride,
    zeros(w),
    w.dilation,
    false,
    zeros(w),
    groups,
    [which === 0, which === 1, false].map(Number)
  )[which]!

/**
 * Registers the kernels of convolutions.
 *
 * Long: a list of kernels, each of a few lines.
 */
export const registerConv = ({ h, kernel, steps }: Define): void => {
  const blank = (op: Steps, shape: ReadonlyArray<number>): number =>
    op("zeros", shape, codeOf("float32"), null, "device", null)
  const inputGradient = (dy: TensorInfo, filter: TensorInfo, w: Window, depthwise: boolean): TensorInfo =>
    steps("float32", (op) => {
      const input = blank(op, [w.batch, w.inChannels, ...paddedSpace(w)])
      const weight = weightOf(op, h(filter), w, depthwise)
      const made = backward(op, 0, h(dy), input, weight, w, depthwise ? w.inChannels : 1)
      return channelsBack(op, unpadded(op, made, w), w)
    })
  const filterGradient = (x: TensorInfo, dy: TensorInfo, w: Window, depthwise: boolean): TensorInfo =>
    steps("float32", (op) => {
      const input = padded(op, channelsFirst(op, h(x), w), w, 0)
      const n = w.kernel.length
      const space = w.kernel.map((_, i) => i + 2)
      const weight = blank(op, [w.outChannels, depthwise ? 1 : w.inChannels, ...w.kernel])
      const made = backward(op, 1, h(dy), input, weight, w, depthwise ? w.inChannels : 1)
      if (!depthwise) return op("permute", made, [...space, 1, 0])
      const parts = op("reshape", made, [w.inChannels, w.outChannels / w.inChannels, ...w.kernel])
      return op("permute", parts, [...w.kernel.map((_, i) => i + 2), 0, 1].slice(0, n + 2))
    })

  const window2 = (
    xShape: ReadonlyArray<number>,
    filterShape: ReadonlyArray<number>,
    a: Attributes,
    depthwise: boolean
  ) =>
    windowOf(
      backend_util.computeConv2DInfo(
        xShape as [number, number, number, number],
        filterShape as [number, number, number, number],
        a["strides"],
        a["dilations"] ?? [1, 1],
        a["pad"],
        a["dimRoundingMode"],
        depthwise,
        depthwise ? "channelsLast" : backend_util.convertConv2DDataFormat(a["dataFormat"] ?? "NHWC")
      )
    )
  for (const [name, depthwise] of [
    ["Conv2D", false],
    ["DepthwiseConv2dNative", true]
  ] as const)
    kernel(name, ({ filter, x }, attributes) => {
      const w = window2(x!.shape, filter!.shape, attributes, depthwise)
      return steps(x!.dtype, (op) => channelsBack(op, forward(op, h(x), h(filter), w, depthwise), w))
    })
  for (const [name, depthwise] of [
    ["FusedConv2D", false],
    ["FusedDepthwiseConv2D", true]
  ] as const)
    kernel(name, ({ bias, filter, preluActivationWeights, x }, attributes) => {
      const w = window2(x!.shape, filter!.shape, attributes, depthwise)
      return steps("float32", (op) => {
        // With channels first, a vector belongs to the channels.
        const broadcast = (y: TensorInfo): number =>
          !w.channelsLast && y.shape.length === 1 ? op("reshape", h(y), [y.shape[0]!, 1, 1]) : h(y)
        const made = channelsBack(op, forward(op, h(x), h(filter), w, depthwise), w)
        const sum = bias == null ? made : op("add.Tensor", made, broadcast(bias))
        const weights = preluActivationWeights == null ? undefined : broadcast(preluActivationWeights)
        return activate(op, sum, attributes["activation"], weights, attributes["leakyreluAlpha"])
      })
    })
  kernel("Conv2DBackpropInput", ({ dy, filter }, a) =>
    inputGradient(dy!, filter!, window2(a["inputShape"], filter!.shape, { ...a, dilations: 1 }, false), false)
  )
  kernel("DepthwiseConv2dNativeBackpropInput", ({ dy, filter }, a) =>
    inputGradient(dy!, filter!, window2(a["inputShape"], filter!.shape, a, true), true)
  )
  kernel("Conv2DBackpropFilter", ({ dy, x }, a) =>
    filterGradient(x!, dy!, window2(x!.shape, a["filterShape"], { ...a, dilations: 1 }, false), false)
  )
  kernel("DepthwiseConv2dNativeBackpropFilter", ({ dy, x }, a) =>
    filterGradient(x!, dy!, window2(x!.shape, a["filterShape"], a, true), true)
  )

  type Five = [number, number, number, number, number]
  const window3 = (xShape: ReadonlyArray<number>, filterShape: ReadonlyArray<number>, a: Attributes) =>
    windowOf(
      backend_util.computeConv3DInfo(xShape as Five, filterShape as Five, a["strides"], a["dilations"] ?? 1, a["pad"])
    )
  kernel("Conv3D", ({ filter, x }, a) => {
    const w = window3(x!.shape, filter!.shape, a)
    return steps(x!.dtype, (op) => channelsBack(op, forward(op, h(x), h(filter), w, false), w))
  })
  kernel("Conv3DBackpropInputV2", ({ dy, filter }, a) =>
    inputGradient(dy!, filter!, window3(a["inputShape"], filter!.shape, a), false)
  )
  kernel("Conv3DBackpropFilterV2", ({ dy, x }, a) =>
    filterGradient(x!, dy!, window3(x!.shape, a["filterShape"], a), false)
  )
}
