/**
 * By index: rows taken, rows put, rows added, counts.
 *
 * An index that is out of range is `ShapeMismatch`. Kernels that models use leave the check to libtorch; those with
 * coordinates of several axes read them and make row numbers of them here.
 */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { EngineFailure } from "../../Errors.ts"
import { tf } from "../../Ops.ts"
import { dtypes } from "../Addon.ts"
import { codeOf } from "../Backend.ts"
import { expectInRange, expectKnownInRange, withIndices } from "../Indices.ts"
import { axesOf, type Define } from "./Define.ts"

const { sizeFromShape } = tf.util
const { backend_util } = tf

export const registerGather = (to: Define): void => {
  const { backend, h, kernel, read, steps } = to

  kernel("GatherV2", ({ indices, x }, { axis, batchDims = 0 }) => {
    const at = axesOf(axis, x!.shape.length)[0]!
    const { batchSize, dimSize, outerSize, outputShape, sliceSize } =
      backend_util.segment_util.collectGatherOpShapeInfo(x as never, indices as never, at, batchDims)
    const count = sizeFromShape(indices!.shape) / batchSize
    expectKnownInRange(backend, "GatherV2", indices!, dimSize)
    const look = (): TensorInfo =>
      steps(x!.dtype, (op) => {
        const flat = op("reshape", h(indices), [-1])
        if (batchSize === 1 && batchDims === 0) return op("reshape", op("index_select", h(x), at, flat), outputShape)
        // Rows of all batches behind one another; the indices of a batch begin where its rows do.
        expectInRange("GatherV2", read(indices!), dimSize)
        const rows = op("permute", op("reshape", h(x), [batchSize, outerSize, dimSize, sliceSize]), [0, 2, 1, 3])
        const starts = op.integers(
          Array.from({ length: batchSize }, (_, i) => i * dimSize),
          [batchSize, 1]
        )
        const places = op("reshape", op("add.Tensor", op("reshape", flat, [batchSize, count]), starts), [-1])
        const taken = op("index_select", op("reshape", rows, [batchSize * dimSize, outerSize, sliceSize]), 0, places)
        const turned = op("permute", op("reshape", taken, [batchSize, count, outerSize, sliceSize]), [0, 2, 1, 3])
        return op("reshape", turned, outputShape)
      })
    return withIndices(look, () => expectInRange("GatherV2", read(indices!), dimSize))
  })
  kernel("OneHot", ({ indices }, { depth, dtype, offValue, onValue }) =>
    steps(dtype, (op) => {
      const ids = op("unsqueeze", op("to.dtype", h(indices), dtypes.int64), -1)
      const hot = op("eq.Tensor", ids, op("arange", depth, dtypes.int64, null, "device", null))
      return op("where.Scalar", hot, onValue, offValue)
    })
  )
  // Rows of a segment outside 0..numSegments - 1 belong to none: they are added to one more, which is cut off.
  kernel("UnsortedSegmentSum", ({ segmentIds, x }, { numSegments }) => {
    const rest = x!.shape.slice(segmentIds!.shape.length)
    const count = sizeFromShape(segmentIds!.shape)
    return steps(x!.dtype, (op) => {
      const ids = op("reshape", h(segmentIds), [-1])
      const inside = op("logical_and", op("ge.Scalar", ids, 0), op("lt.Scalar", ids, numSegments))
      const places = op("where.ScalarOther", inside, ids, numSegments)
      const zeros = op("zeros", [numSegments + 1, ...rest], codeOf(x!.dtype), null, "device", null)
      const rows = op("reshape", h(x), [count, ...rest])
      return op("narrow", op("index_add", zeros, 0, op("to.dtype", places, dtypes.int32), rows), 0, 0, numSegments)
    })
  })
  registerCoordinates(to)
  registerCounts(to)
}

/** Kernels whose indices are coordinates of the leading axes. */
const registerCoordinates = ({ h, kernel, read, steps }: Define): void => {
  /** Row numbers of coordinates; a row is what the coordinates leave open. */
  const rowsOf = (
    operation: string,
    indices: TensorInfo,
    rank: number,
    strides: ReadonlyArray<number>,
    shape: ReadonlyArray<number>
  ): Int32Array => {
    const values = read(indices)
    const rows = new Int32Array(rank === 0 ? 0 : values.length / rank)
    for (let i = 0; i < rows.length; i++)
      for (let j = 0; j < rank; j++) {
        const index = values[i * rank + j]!
        expectInRange(
          `Invalid indices: ${values.subarray(i * rank, (i + 1) * rank)} does not index into ${shape}: ${operation}`,
          [index],
          shape[j]!
        )
        rows[i]! += index * strides[j]!
      }
    return rows
  }

  kernel("GatherNd", ({ indices, params }) => {
    const [outShape, count, sliceSize, strides] = backend_util.prepareAndValidate(params as never, indices as never)
    const rank = indices!.shape.at(-1)!
    return steps(params!.dtype, (op) => {
      const rows = op("reshape", h(params), [-1, Math.max(1, sliceSize)])
      if (count === 0) return op("reshape", op("narrow", rows, 0, 0, 0), outShape)
      const places = rowsOf("GatherNd", indices!, rank, strides, params!.shape)
      return op("reshape", op("index_select", rows, 0, op.integers(places)), outShape)
    })
  })
  const placed = (
    operation: "index_add" | "index_copy",
    name: string,
    indices: TensorInfo,
    updates: TensorInfo,
    shape: Array<number>,
    start: (op: Parameters<Parameters<typeof steps>[1]>[0]) => number
  ): TensorInfo => {
    const { numUpdates, sliceRank, sliceSize, strides } = backend_util.calculateShapes(
      updates as never,
      indices as never,
      shape
    )
    const places = rowsOf(name, indices, sliceRank, strides, shape)
    return steps(updates.dtype, (op) => {
      const rows = op("reshape", start(op), [-1, sliceSize])
      const some = op(
        "expand",
        op("reshape", h(updates), updates.shape.length === 0 ? [1, 1] : [numUpdates, sliceSize]),
        [numUpdates, sliceSize]
      )
      return op("reshape", op(operation, rows, 0, op("to.dtype", op.integers(places), dtypes.int64), some), shape)
    })
  }
  kernel("ScatterNd", ({ indices, updates }, { shape }) =>
    placed("index_add", "ScatterNd", indices!, updates!, shape, (op) =>
      op("zeros", shape, codeOf(updates!.dtype), null, "device", null)
    )
  )
  kernel("TensorScatterUpdate", ({ indices, tensor, updates }) =>
    placed("index_copy", "TensorScatterUpdate", indices!, updates!, [...tensor!.shape], () => h(tensor))
  )
  kernel("SparseToDense", ({ defaultValue, sparseIndices, sparseValues }, { outputShape }) =>
    placed("index_copy", "SparseToDense", sparseIndices!, sparseValues!, outputShape, (op) =>
      op("clone", op("expand", h(defaultValue), outputShape))
    )
  )
}

const registerCounts = ({ h, kernel, steps }: Define): void => {
  kernel("SearchSorted", ({ sortedSequence, values }, { side }) =>
    steps("int32", (op) => op("searchsorted.Tensor", h(sortedSequence), h(values), true, side === "right"))
  )
  /** How often each number below `size` is in a row, or the sum of its weights; numbers past it are not counted. */
  const counts = (x: TensorInfo, weights: TensorInfo, size: number, binary: boolean): TensorInfo => {
    const [rows, columns] = x.shape.length === 1 ? [1, x.shape[0]!] : [x.shape[0]!, x.shape[1]!]
    return steps(weights.dtype, (op) => {
      const ids = op("to.dtype", op("reshape", h(x), [rows, columns]), dtypes.int64)
      const starts = op.integers(
        Array.from({ length: rows }, (_, i) => i * (size + 1)),
        [rows, 1]
      )
      const places = op("reshape", op("add.Tensor", op("clamp_max", ids, size), starts), [-1])
      const weighed = sizeFromShape(weights.shape) === 0 || binary ? null : op("reshape", h(weights), [-1])
      const all = op("reshape", op("bincount", places, weighed, rows * (size + 1)), [rows, size + 1])
      const known = op("narrow", all, 1, 0, size)
      return op("reshape", binary ? op("gt.Scalar", known, 0) : known, x.shape.length === 1 ? [size] : [rows, size])
    })
  }
  const checked = (x: TensorInfo): void => {
    if (x.shape.length <= 2) return
    throw new EngineFailure({
      engine: "torch",
      message: `Error in denseBincount: input must be at most rank 2, but got rank ${x.shape.length}.`,
      hint: "Count row by row."
    })
  }
  kernel("Bincount", ({ weights, x }, { size }) =>
    counts({ ...x!, shape: [sizeFromShape(x!.shape)] }, weights!, size, false)
  )
  kernel("DenseBincount", ({ weights, x }, { binaryOutput, size }) => {
    checked(x!)
    return counts(x!, weights!, size, binaryOutput)
  })
}
