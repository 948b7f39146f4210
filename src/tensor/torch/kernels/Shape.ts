/** The same values in other places: sizes, order of axes, parts, joins, paddings. */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import { axesOf, type Define, type Steps } from "./Define.ts"

const { inferFromImplicitShape, sizeFromShape } = tf.util
const { backend_util, slice_util } = tf

/** Room before and after each axis, as `constant_pad_nd` takes it: the last axis first. Negative room cuts. */
export const paddingOf = (paddings: ReadonlyArray<readonly [number, number]>): Array<number> =>
  paddings.toReversed().flat()

/** `count` places from `begin` in steps, along one axis; steps may go back. */
const strided = (op: Steps, x: number, axis: number, begin: number, stride: number, count: number): number => {
  const end = begin + (count - 1) * stride
  if (count <= 0) return op("narrow", x, axis, 0, 0)
  if (stride > 0) return op("slice.Tensor", x, axis, begin, end + 1, stride)
  return op("flip", op("slice.Tensor", x, axis, end, begin + 1, -stride), [axis])
}

/** A box of `x`; axes behind those of `begin` are whole, and so is what has size -1. */
const part = (
  op: Steps,
  x: number,
  shape: ReadonlyArray<number>,
  begin: number | Array<number>,
  size: number | Array<number>
): number => {
  const of = { shape } as never
  const [from, sizes] = slice_util.parseSliceParams(of, begin, size) as [Array<number>, Array<number>]
  slice_util.assertParamsValid(of, from, sizes)
  return shape.reduce(
    (made, all, axis) => (sizes[axis] === all ? made : op("narrow", made, axis, from[axis]!, sizes[axis]!)),
    x
  )
}

export const registerShape = (to: Define): void => {
  const { as, backend, h, kernel, op, read, steps } = to
  const reshape = (x: TensorInfo, shape: ReadonlyArray<number>): TensorInfo =>
    backend.info(op("reshape", h(x), shape), x.dtype)

  kernel("Reshape", ({ x }, { shape }) => reshape(x!, inferFromImplicitShape(shape, sizeFromShape(x!.shape))))
  kernel("ExpandDims", ({ input }, { dim }) => {
    const shape = [...input!.shape]
    tf.util.assert(
      dim >= -(shape.length + 1) && dim <= shape.length,
      () => `Axis must be in the interval [${-(shape.length + 1)}, ${shape.length}]`
    )
    shape.splice(dim < 0 ? shape.length + 1 + dim : dim, 0, 1)
    return reshape(input!, shape)
  })
  kernel("Transpose", ({ x }, { perm }) => backend.info(op("permute", h(x), perm), x!.dtype))
  kernel("Reverse", ({ x }, { dims }) => backend.info(op("flip", h(x), axesOf(dims, x!.shape.length)), x!.dtype))
  kernel("Tile", ({ x }, { reps }) => backend.info(op("repeat", h(x), reps), x!.dtype))
  kernel("BroadcastTo", ({ x }, { shape }) => backend.info(op("expand", h(x), shape), x!.dtype))
  kernel("BroadcastArgs", ({ s0, s1 }) =>
    steps("int32", (op) =>
      op.integers(backend_util.assertAndGetBroadcastShape(Array.from(read(s0!)), Array.from(read(s1!))))
    )
  )
  kernel("Diag", ({ x }) =>
    steps(x!.dtype, (op) => op("reshape", op("diag", op("reshape", h(x), [-1])), [...x!.shape, ...x!.shape]))
  )

  kernel("Concat", (inputs, { axis }) => {
    const all = Object.values(inputs)
    const at = axesOf(axis, all[0]!.shape.length)[0]!
    return as(op("cat", all.map(h), at), all[0]!.dtype)
  })
  kernel("Pack", (inputs, { axis }) => {
    const all = Object.values(inputs)
    for (const one of all)
      tf.util.assert(one.dtype === all[0]!.dtype, () => "All tensors passed to stack must have matching dtypes")
    return as(op("stack", all.map(h), axis), all[0]!.dtype)
  })
  const several = (name: string, x: TensorInfo, ...args: ReadonlyArray<number | Array<number>>): Array<TensorInfo> => {
    const made = backend.addon.aten(name)(h(x), ...args)
    return Array.from({ length: made.number() }, () => made.tensor()).map((one) => backend.info(one, x.dtype))
  }
  kernel("Unpack", ({ value }, { axis }) => several("unbind.int", value!, axis))
  kernel("SplitV", ({ x }, { axis, numOrSizeSplits }) => {
    const at = axesOf(axis, x!.shape.length)[0]!
    return several("split_with_sizes", x!, backend_util.prepareSplitSize(x as never, numOrSizeSplits, at), at)
  })

  kernel("Slice", ({ x }, { begin, size }) => steps(x!.dtype, (op) => part(op, h(x), x!.shape, begin, size)))
  kernel("StridedSlice", ({ x }, attributes) => {
    const { begin, ellipsisMask, end, endMask, beginMask, newAxisMask, shrinkAxisMask, strides } = attributes
    const info = slice_util.sliceInfo(
      x!.shape,
      begin,
      end,
      strides,
      beginMask,
      endMask,
      ellipsisMask,
      newAxisMask,
      shrinkAxisMask
    )
    return steps(x!.dtype, (op) => {
      const counts = slice_util.computeOutShape(info.begin, info.end, info.strides)
      const made = counts.reduce(
        (before, count, axis) => strided(op, before, axis, info.begin[axis]!, info.strides[axis]!, count),
        h(x)
      )
      return op("reshape", info.isIdentity ? h(x) : made, info.finalShape)
    })
  })
  registerPaddings(to)
}

const registerPaddings = ({ as, h, kernel, op, steps }: Define): void => {
  kernel("PadV2", ({ x }, { constantValue, paddings }) =>
    as(op("constant_pad_nd", h(x), paddingOf(paddings), constantValue), x!.dtype)
  )
  kernel("MirrorPad", ({ x }, { mode, paddings }) => {
    const edge = mode === "reflect" ? 0 : 1
    return steps(x!.dtype, (op) =>
      (paddings as ReadonlyArray<readonly [number, number]>).reduce((made, [before, after], axis) => {
        if (before === 0 && after === 0) return made
        const size = x!.shape[axis]!
        const places = Array.from({ length: before + size + after }, (_, i) => {
          const at = i - before
          return at < 0 ? -at - edge : at >= size ? 2 * (size - 1) - at + edge : at
        })
        return op("index_select", made, axis, op.integers(places))
      }, h(x))
    )
  })
  kernel("SpaceToBatchND", ({ x }, { blockShape, paddings }) => {
    const block = blockShape as Array<number>
    const rest = x!.shape.length - 1 - block.length
    const all = [[0, 0], ...paddings, ...Array.from({ length: rest }, () => [0, 0])] as Array<[number, number]>
    const padded = x!.shape.map((size, axis) => size + all[axis]![0] + all[axis]![1])
    const count = sizeFromShape(block)
    const reshaped = backend_util.getReshaped(padded, block, count, false)
    const order = backend_util.getPermuted(reshaped.length, block.length, false)
    return steps(x!.dtype, (op) => {
      const room = op("constant_pad_nd", h(x), paddingOf(all), 0)
      const turned = op("permute", op("reshape", room, reshaped), order)
      return op("reshape", turned, backend_util.getReshapedPermuted(padded, block, count, false))
    })
  })
  kernel("BatchToSpaceND", ({ x }, { blockShape, crops }) => {
    const block = blockShape as Array<number>
    const count = sizeFromShape(block)
    const reshaped = backend_util.getReshaped(x!.shape, block, count)
    const order = backend_util.getPermuted(reshaped.length, block.length)
    const joined = backend_util.getReshapedPermuted(x!.shape, block, count)
    const begin = backend_util.getSliceBeginCoords(crops, block.length)
    const size = backend_util.getSliceSize(joined, crops, block.length)
    return steps(x!.dtype, (op) => {
      const turned = op("permute", op("reshape", h(x), reshaped), order)
      return part(op, op("reshape", turned, joined), joined, begin, size)
    })
  })
  kernel("DepthToSpace", ({ x }, { blockSize, dataFormat }) => {
    tf.util.assert(dataFormat === "NHWC", () => `Only NHWC is taken for depthToSpace, not ${dataFormat}`)
    const [batch, height, width, depth] = x!.shape as [number, number, number, number]
    const left = depth / blockSize ** 2
    return steps(x!.dtype, (op) => {
      const blocks = op("reshape", h(x), [batch, height, width, blockSize, blockSize, left])
      const turned = op("permute", blocks, [0, 1, 3, 2, 4, 5])
      return op("reshape", turned, [batch, height * blockSize, width * blockSize, left])
    })
  })
}
