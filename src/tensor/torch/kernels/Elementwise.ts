/** Element by element, with broadcasting: arithmetic, functions, comparisons, activations, choices. */
import type { DataType, TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import { dtypes } from "../Addon.ts"
import { codeOf } from "../Backend.ts"
import type { Define, Steps } from "./Define.ts"

/** Operators of one tensor whose result has its element type. */
const unary: Readonly<Record<string, string>> = {
  Abs: "abs",
  Acos: "acos",
  Acosh: "acosh",
  Asin: "asin",
  Asinh: "asinh",
  Atan: "atan",
  Atanh: "atanh",
  Ceil: "ceil",
  Cos: "cos",
  Cosh: "cosh",
  Elu: "elu",
  Erf: "erf",
  Expm1: "expm1",
  Floor: "floor",
  Log: "log",
  Log1p: "log1p",
  Neg: "neg",
  OnesLike: "ones_like",
  Reciprocal: "reciprocal",
  Relu: "relu",
  Relu6: "relu6",
  Round: "round",
  Rsqrt: "rsqrt",
  Selu: "selu",
  Sigmoid: "sigmoid",
  Sign: "sign",
  Sin: "sin",
  Sinh: "sinh",
  Softplus: "softplus",
  Sqrt: "sqrt",
  Square: "square",
  Tan: "tan",
  Tanh: "tanh",
  ZerosLike: "zeros_like"
}

const predicates: Readonly<Record<string, string>> = {
  IsFinite: "isfinite",
  IsInf: "isinf",
  IsNan: "isnan",
  LogicalNot: "logical_not"
}

const binary: Readonly<Record<string, string>> = {
  Add: "add.Tensor",
  Atan2: "atan2",
  BitwiseAnd: "bitwise_and.Tensor",
  FloorDiv: "floor_divide",
  Maximum: "maximum",
  Minimum: "minimum",
  Mod: "remainder.Tensor",
  Multiply: "mul.Tensor",
  Pow: "pow.Tensor_Tensor",
  Sub: "sub.Tensor"
}

const comparisons: Readonly<Record<string, string>> = {
  Equal: "eq.Tensor",
  Greater: "gt.Tensor",
  GreaterEqual: "ge.Tensor",
  Less: "lt.Tensor",
  LessEqual: "le.Tensor",
  LogicalAnd: "logical_and",
  LogicalOr: "logical_or",
  NotEqual: "ne.Tensor"
}

/** x where it is not below 0, else alpha x. */
const prelu = (op: Steps, x: number, alpha: number): number =>
  op("where.self", op("lt.Scalar", x, 0), op("mul.Tensor", alpha, x), x)

const activations: Readonly<Record<string, string>> = {
  elu: "elu",
  relu: "relu",
  relu6: "relu6",
  sigmoid: "sigmoid"
}

/** The activation that a fused kernel of TF.js ends with. */
export const activate = (
  op: Steps,
  x: number,
  activation: string | undefined,
  preluWeights: number | undefined,
  leakyreluAlpha: number | undefined
): number => {
  if (activation === undefined || activation === null || activation === "linear") return x
  if (activation === "prelu") return prelu(op, x, preluWeights!)
  if (activation === "leakyrelu") return op("leaky_relu", x, leakyreluAlpha ?? 0.2)
  const known = activations[activation]
  if (known === undefined) throw new Error(`there is no activation called ${activation}`)
  return op(known, x)
}

export const registerElementwise = ({ as, backend, h, kernel, op, steps }: Define): void => {
  for (const [name, operator] of Object.entries(unary)) kernel(name, ({ x }) => as(op(operator, h(x)), x!.dtype))
  for (const [name, operator] of Object.entries(predicates)) kernel(name, ({ x }) => as(op(operator, h(x)), "bool"))
  for (const [name, operator] of Object.entries(binary))
    kernel(name, ({ a, b }) => as(op(operator, h(a), h(b)), a!.dtype))
  for (const [name, operator] of Object.entries(comparisons))
    kernel(name, ({ a, b }) => as(op(operator, h(a), h(b)), "bool"))
  kernel("Exp", ({ x }) => as(op("exp", h(x)), "float32"))
  // Integers are divided as integers, towards zero.
  kernel("RealDiv", ({ a, b }) =>
    a!.dtype === "int32"
      ? as(op("div.Tensor_mode", h(a), h(b), "trunc"), "int32")
      : as(op("div.Tensor", h(a), h(b)), a!.dtype)
  )
  kernel("SquaredDifference", ({ a, b }) => steps(a!.dtype, (op) => op("square", op("sub.Tensor", h(a), h(b)))))
  // 1 above 0 and alpha elsewhere; what is no number stays so.
  kernel("Step", ({ x }, { alpha }) =>
    steps(x!.dtype, (op) => {
      const stepped = op("where.Scalar", op("gt.Scalar", h(x), 0), 1, alpha ?? 0)
      return op("where.self", op("isnan", h(x)), h(x), op("to.dtype", stepped, codeOf(x!.dtype)))
    })
  )
  kernel("ClipByValue", ({ x }, { clipValueMax, clipValueMin }) =>
    as(op("clamp", h(x), clipValueMin, clipValueMax), x!.dtype)
  )
  kernel("LeakyRelu", ({ x }, { alpha }) =>
    steps("float32", (op) => op("leaky_relu", op("to.dtype", h(x), codeOf("float32")), alpha))
  )
  kernel("Prelu", ({ alpha, x }) => steps("float32", (op) => prelu(op, h(x), h(alpha))))
  // y is the result of elu.
  kernel("EluGrad", ({ dy, y }) =>
    steps("float32", (op) => {
      const below = op("mul.Tensor", h(dy), op("add.Scalar", h(y), 1))
      return op("where.self", op("ge.Scalar", h(y), 0), h(dy), below)
    })
  )
  kernel("Select", ({ condition, e, t }) =>
    steps(t!.dtype, (op) => {
      let mask = op("to.dtype", h(condition), dtypes.bool)
      for (let rank = condition!.shape.length; rank > 0 && rank < t!.shape.length; rank++)
        mask = op("unsqueeze", mask, -1)
      return op("where.self", mask, h(t), h(e))
    })
  )
  kernel("AddN", (inputs) => {
    const all = Object.values(inputs)
    return steps(all[0]!.dtype, (op) => all.slice(1).reduce((sum, one) => op("add.Tensor", sum, h(one)), h(all[0])))
  })
  kernel("Cast", ({ x }, { dtype }) =>
    dtype === x!.dtype ? backend.share(x!) : backend.info(op("to.dtype", h(x), codeOf(dtype)), dtype)
  )
  kernel("Identity", ({ x }) => backend.share(x!))
  registerMade({ as, backend, h, kernel, op, steps } as Define)
  registerNormalisation({ h, kernel, steps } as Define)
}

/** Tensors from numbers alone. */
const registerMade = ({ as, kernel, op }: Define): void => {
  kernel("Fill", (_, { dtype, shape, value }) => {
    const type: DataType = dtype ?? "float32"
    return as(op("full", shape, value, codeOf(type), null, "device", null), type)
  })
  kernel("Range", (_, { dtype, start, step, stop }) => {
    // As TF.js has it: the usual step of 1 goes down where the end is below, another that leads away gives nothing.
    const towards = stop < start && step === 1 ? -1 : step
    const none = start === stop || start < stop !== towards > 0
    const [from, to, by] = none ? [0, 0, 1] : [start, stop, towards]
    return as(op("arange.start_step", from, to, by, codeOf(dtype), null, "device", null), dtype)
  })
  kernel("LinSpace", (_, { num, start, stop }) =>
    as(op("linspace", start, stop, num, codeOf("float32"), null, "device", null), "float32")
  )
}

const registerNormalisation = ({ h, kernel, steps }: Define): void => {
  kernel("FusedBatchNorm", ({ mean, offset, scale, variance, x }, { varianceEpsilon }) => {
    const same = (other: TensorInfo | undefined): boolean =>
      other === undefined || other === null || other.shape.length === mean!.shape.length
    tf.util.assert(
      same(variance) && same(offset) && same(scale),
      () => "Batch normalization gradient requires mean, variance, offset and scale to have equal ranks."
    )
    return steps(x!.dtype, (op) => {
      const inverse = op("rsqrt", op("add.Scalar", h(variance), varianceEpsilon ?? 0.001))
      const centred = op("mul.Tensor", op("sub.Tensor", h(x), h(mean)), inverse)
      const scaled = scale == null ? centred : op("mul.Tensor", centred, h(scale))
      return offset == null ? scaled : op("add.Tensor", scaled, h(offset))
    })
  })
}
