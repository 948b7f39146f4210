/**
 * TensorFlow.js kernels as ATen operators, by name.
 *
 * Not fused regions (`Regions.ts`). Each kernel is one operator or two; what TF.js's shape functions decide (axes,
 * paddings, splits) is decided here as they do.
 */
import type { DataType, TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../Ops.ts"
import { dtypes, type Made } from "./Addon.ts"
import { codeOf, type TorchBackend } from "./Backend.ts"

type Inputs = Readonly<Record<string, TensorInfo>>
type Attributes = Readonly<Record<string, any>>

const { parseAxisParam, inferFromImplicitShape, sizeFromShape } = tf.util

/** Operators of one tensor whose result has its element type. */
const unary: Readonly<Record<string, string>> = {
  Abs: "abs",
  Ceil: "ceil",
  Cos: "cos",
  Erf: "erf",
  Exp: "exp",
  Expm1: "expm1",
  Floor: "floor",
  Log: "log",
  Log1p: "log1p",
  Neg: "neg",
  OnesLike: "ones_like",
  Reciprocal: "reciprocal",
  Relu: "relu",
  Round: "round",
  Rsqrt: "rsqrt",
  Sigmoid: "sigmoid",
  Sign: "sign",
  Sin: "sin",
  Sqrt: "sqrt",
  Square: "square",
  Tanh: "tanh",
  ZerosLike: "zeros_like"
}

const binary: Readonly<Record<string, string>> = {
  Add: "add.Tensor",
  Sub: "sub.Tensor",
  Multiply: "mul.Tensor",
  Maximum: "maximum",
  Minimum: "minimum",
  Mod: "remainder.Tensor",
  Pow: "pow.Tensor_Tensor",
  FloorDiv: "floor_divide"
}

const comparisons: Readonly<Record<string, string>> = {
  Equal: "eq.Tensor",
  Greater: "gt.Tensor",
  GreaterEqual: "ge.Tensor",
  Less: "lt.Tensor",
  LessEqual: "le.Tensor",
  NotEqual: "ne.Tensor",
  LogicalAnd: "logical_and",
  LogicalOr: "logical_or"
}

/** Registers all kernels for `backend` under `name`. */
export const registerKernels = (backend: TorchBackend, name: string): void => {
  const { addon } = backend
  const h = (x: TensorInfo | undefined): number => backend.handle(x!)
  const kernel = (
    kernelName: string,
    run: (inputs: Inputs, attributes: Attributes) => TensorInfo | Array<TensorInfo>
  ): void =>
    tf.registerKernel({
      kernelName,
      backendName: name,
      kernelFunc: ({ attrs, inputs }) => run(inputs as Inputs, (attrs ?? {}) as Attributes)
    })
  const as = (made: Made, dtype: DataType): TensorInfo => backend.as(made, dtype)
  /** Frees what was only a step. */
  const through = (step: Made, next: (handle: number) => Made): Made => {
    const made = next(step.handle)
    addon.free([step.handle])
    return made
  }
  const axesOf = (axis: number | Array<number> | undefined, rank: number): Array<number> =>
    parseAxisParam(axis as Array<number>, Array<number>(rank).fill(1))

  for (const [kernelName, op] of Object.entries(unary))
    kernel(kernelName, ({ x }) => as(addon.aten(op)(h(x)).tensor(), x!.dtype))
  for (const [kernelName, op] of Object.entries(binary))
    kernel(kernelName, ({ a, b }) => as(addon.aten(op)(h(a), h(b)).tensor(), a!.dtype))
  for (const [kernelName, op] of Object.entries(comparisons))
    kernel(kernelName, ({ a, b }) => as(addon.aten(op)(h(a), h(b)).tensor(), "bool"))
  kernel("LogicalNot", ({ x }) => as(addon.aten("logical_not")(h(x)).tensor(), "bool"))
  kernel("IsNan", ({ x }) => as(addon.aten("isnan")(h(x)).tensor(), "bool"))
  // Integers are divided as integers, towards zero.
  kernel("RealDiv", ({ a, b }) =>
    a!.dtype === "int32"
      ? as(addon.aten("div.Tensor_mode")(h(a), h(b), "trunc").tensor(), "int32")
      : as(addon.aten("div.Tensor")(h(a), h(b)).tensor(), a!.dtype)
  )
  kernel("SquaredDifference", ({ a, b }) =>
    as(
      through(addon.aten("sub.Tensor")(h(a), h(b)).tensor(), (d) => addon.aten("square")(d).tensor()),
      a!.dtype
    )
  )
  kernel("Step", ({ x }, { alpha }) =>
    as(
      addon
        .aten("gt.Scalar")(h(x), alpha === undefined || alpha === 0 ? 0 : alpha)
        .tensor(),
      x!.dtype
    )
  )
  kernel("ClipByValue", ({ x }, { clipValueMax, clipValueMin }) =>
    as(addon.aten("clamp")(h(x), clipValueMin, clipValueMax).tensor(), x!.dtype)
  )
  kernel("Select", ({ condition, e, t }) => {
    let mask = addon.aten("to.dtype")(h(condition), dtypes.bool).tensor()
    while (mask.shape.length > 0 && mask.shape.length < t!.shape.length)
      mask = through(mask, (x) => addon.aten("unsqueeze")(x, -1).tensor())
    return as(
      through(mask, (m) => addon.aten("where.self")(m, h(t), h(e)).tensor()),
      t!.dtype
    )
  })
  kernel("Cast", ({ x }, { dtype }) =>
    dtype === x!.dtype ? backend.share(x!) : backend.info(addon.aten("to.dtype")(h(x), codeOf(dtype)).tensor(), dtype)
  )
  kernel("Identity", ({ x }) => backend.share(x!))

  // ---- sizes

  const reshape = (x: TensorInfo, shape: ReadonlyArray<number>): TensorInfo =>
    backend.info(addon.aten("reshape")(h(x), shape).tensor(), x.dtype)
  kernel("Reshape", ({ x }, { shape }) => reshape(x!, inferFromImplicitShape(shape, sizeFromShape(x!.shape))))
  kernel("ExpandDims", ({ input }, { dim }) => {
    const shape = [...input!.shape]
    shape.splice(dim < 0 ? shape.length + 1 + dim : dim, 0, 1)
    return reshape(input!, shape)
  })
  kernel("Transpose", ({ x }, { perm }) => backend.info(addon.aten("permute")(h(x), perm).tensor(), x!.dtype))
  kernel("Concat", (inputs, { axis }) => {
    const all = Object.values(inputs)
    const at = axesOf(axis, all[0]!.shape.length)[0]!
    return as(addon.aten("cat")(all.map(h), at).tensor(), all[0]!.dtype)
  })
  kernel("Pack", (inputs, { axis }) => {
    const all = Object.values(inputs)
    return as(addon.aten("stack")(all.map(h), axis).tensor(), all[0]!.dtype)
  })
  kernel("Unpack", ({ value }, { axis }) => {
    const made = addon.aten("unbind.int")(h(value), axis)
    return Array.from({ length: made.number() }, () => made.tensor()).map((one) => backend.info(one, value!.dtype))
  })
  kernel("Slice", ({ x }, { begin, size }) => {
    let made: Made = addon.own("share", [h(x)], (results) => results.tensor())
    for (let axis = 0; axis < x!.shape.length; axis++) {
      const count = size[axis] < 0 ? x!.shape[axis]! - begin[axis] : size[axis]
      if (count === x!.shape[axis]) continue
      made = through(made, (one) => addon.aten("narrow")(one, axis, begin[axis], count).tensor())
    }
    return backend.info(made, x!.dtype)
  })
  kernel("SplitV", ({ x }, { axis, numOrSizeSplits }) => {
    const at = axesOf(axis, x!.shape.length)[0]!
    const sizes = tf.backend_util.prepareSplitSize(x as never, numOrSizeSplits, at)
    const made = addon.aten("split_with_sizes")(h(x), sizes, at)
    return Array.from({ length: made.number() }, () => made.tensor()).map((one) => backend.info(one, x!.dtype))
  })
  kernel("PadV2", ({ x }, { constantValue, paddings }) => {
    const flat = (paddings as ReadonlyArray<readonly [number, number]>).toReversed().flat()
    return as(addon.aten("constant_pad_nd")(h(x), flat, constantValue).tensor(), x!.dtype)
  })
  kernel("Tile", ({ x }, { reps }) => backend.info(addon.aten("repeat")(h(x), reps).tensor(), x!.dtype))
  kernel("BroadcastTo", ({ x }, { shape }) => backend.info(addon.aten("expand")(h(x), shape).tensor(), x!.dtype))

  // ---- sums and products

  for (const [kernelName, op] of Object.entries({ Max: "amax", Min: "amin" }))
    kernel(kernelName, ({ x }, { axis, keepDims, reductionIndices }) => {
      const axes = axesOf(axis ?? reductionIndices, x!.shape.length)
      return axes.length === 0 ? backend.share(x!) : as(addon.aten(op)(h(x), axes, keepDims).tensor(), x!.dtype)
    })
  kernel("Sum", ({ x }, { axis, keepDims }) => {
    const dtype = x!.dtype === "bool" ? "int32" : x!.dtype
    const axes = axesOf(axis, x!.shape.length)
    if (axes.length === 0)
      return as(
        addon.own("share", [h(x)], (results) => results.tensor()),
        dtype
      )
    return as(addon.aten("sum.dim_IntList")(h(x), axes, keepDims, codeOf(dtype)).tensor(), dtype)
  })
  kernel("Mean", ({ x }, { axis, keepDims }) => {
    const axes = axesOf(axis, x!.shape.length)
    return axes.length === 0
      ? backend.share(x!)
      : as(addon.aten("mean.dim")(h(x), axes, keepDims, dtypes.float32).tensor(), "float32")
  })
  kernel("ArgMax", ({ x }, { axis }) =>
    as(addon.aten("argmax")(h(x), axesOf(axis, x!.shape.length)[0]!).tensor(), "int32")
  )
  kernel("Cumsum", ({ x }, { axis }) => as(addon.aten("cumsum")(h(x), axis).tensor(), x!.dtype))
  kernel("AddN", (inputs) => {
    const all = Object.values(inputs)
    let sum: Made = addon.own("share", [h(all[0])], (results) => results.tensor())
    for (const one of all.slice(1)) sum = through(sum, (before) => addon.aten("add.Tensor")(before, h(one)).tensor())
    return backend.info(sum, all[0]!.dtype)
  })
  kernel("BatchMatMul", ({ a, b }, { transposeA, transposeB }) => {
    const turned = (x: TensorInfo, turn: boolean): Made =>
      turn
        ? addon.aten("transpose.int")(h(x), -2, -1).tensor()
        : addon.own("share", [h(x)], (results) => results.tensor())
    const left = turned(a!, transposeA)
    const right = turned(b!, transposeB)
    const made = addon.aten("matmul")(left.handle, right.handle).tensor()
    addon.free([left.handle, right.handle])
    return backend.info(made, "float32")
  })
  kernel("Softmax", ({ logits }, { dim }) => as(addon.aten("softmax.int")(h(logits), dim).tensor(), "float32"))
  kernel("LogSoftmax", ({ logits }, { axis }) => as(addon.aten("log_softmax.int")(h(logits), axis).tensor(), "float32"))

  // ---- by index

  kernel("GatherV2", ({ indices, x }, { axis }) => {
    const at = axesOf(axis, x!.shape.length)[0]!
    const flat = addon.aten("reshape")(h(indices), [-1]).tensor()
    const rows = through(flat, (ids) => addon.aten("index_select")(h(x), at, ids).tensor())
    const shape = [...x!.shape.slice(0, at), ...indices!.shape, ...x!.shape.slice(at + 1)]
    return backend.info(
      through(rows, (made) => addon.aten("reshape")(made, shape).tensor()),
      x!.dtype
    )
  })
  kernel("OneHot", ({ indices }, { depth, dtype, offValue, onValue }) => {
    const ids = addon.aten("to.dtype")(h(indices), dtypes.int64).tensor()
    const places = addon.aten("arange")(depth, dtypes.int64).tensor()
    const hot = through(addon.aten("unsqueeze")(ids.handle, -1).tensor(), (x) =>
      addon.aten("eq.Tensor")(x, places.handle).tensor()
    )
    addon.free([ids.handle, places.handle])
    const values = through(hot, (x) => addon.aten("where.Scalar")(x, onValue, offValue).tensor())
    return as(values, dtype)
  })
  kernel("Fill", (_, { dtype, shape, value }) => {
    const type: DataType = dtype ?? "float32"
    return as(addon.aten("full")(shape, value, codeOf(type), null, "device", null).tensor(), type)
  })
  kernel("Range", (_, { dtype, start, step, stop }) =>
    as(addon.aten("arange.start_step")(start, stop, step, codeOf(dtype), null, "device", null).tensor(), dtype)
  )
}
