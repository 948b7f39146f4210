/** Sums, products and the like over axes; running ones; the largest; products of matrices; softmax. */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { tf } from "../../Ops.ts"
import { dtypes } from "../Addon.ts"
import { codeOf } from "../Backend.ts"
import { axesOf, type Define, type Steps } from "./Define.ts"
import { activate } from "./Elementwise.ts"

export const registerReduce = (to: Define): void => {
  const { as, backend, h, kernel, op, steps } = to
  const same = (x: TensorInfo, dtype = x.dtype): TensorInfo =>
    as(
      backend.addon.own("share", [h(x)], (results) => results.tensor()),
      dtype
    )

  for (const [name, operator] of Object.entries({ Max: "amax", Min: "amin" }))
    kernel(name, ({ x }, { axis, keepDims, reductionIndices }) => {
      const axes = axesOf(axis ?? reductionIndices, x!.shape.length)
      return axes.length === 0 ? backend.share(x!) : as(op(operator, h(x), axes, keepDims), x!.dtype)
    })
  for (const [name, operator] of Object.entries({ All: "all.dims", Any: "any.dims" }))
    kernel(name, ({ x }, { axis, keepDims }) => {
      const axes = axesOf(axis, x!.shape.length)
      return axes.length === 0 ? same(x!, "bool") : as(op(operator, h(x), axes, keepDims), "bool")
    })
  kernel("Sum", ({ x }, { axis, keepDims }) => {
    const dtype = x!.dtype === "bool" ? "int32" : x!.dtype
    const axes = axesOf(axis, x!.shape.length)
    return axes.length === 0 ? same(x!, dtype) : as(op("sum.dim_IntList", h(x), axes, keepDims, codeOf(dtype)), dtype)
  })
  kernel("Mean", ({ x }, { axis, keepDims }) => {
    const axes = axesOf(axis, x!.shape.length)
    return axes.length === 0 ? same(x!, "float32") : as(op("mean.dim", h(x), axes, keepDims, dtypes.float32), "float32")
  })
  // ATen multiplies over one axis at a time: the last ones first, so that the others keep their places.
  kernel("Prod", ({ x }, { axis, keepDims }) => {
    const axes = axesOf(axis, x!.shape.length).toSorted((a, b) => b - a)
    return steps(x!.dtype === "bool" ? "int32" : x!.dtype, (op) =>
      axes.reduce((made, at) => op("prod.dim_int", made, at, keepDims), h(x))
    )
  })

  for (const [name, operator, never] of [
    ["ArgMax", "argmax", Number.NEGATIVE_INFINITY],
    ["ArgMin", "argmin", Number.POSITIVE_INFINITY]
  ] as const)
    kernel(name, ({ x }, { axis }) =>
      steps("int32", (op) => {
        // What is no number never wins.
        const numbers =
          x!.dtype === "float32"
            ? op("nan_to_num", h(x), never, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
            : op("to.dtype", h(x), dtypes.int32)
        return op(operator, numbers, axesOf(axis, x!.shape.length)[0]!)
      })
    )
  // Sorted, not `topk`: of equal values the first comes first.
  kernel("TopK", ({ x }, { k }) =>
    to.manySteps([x!.dtype, "int32"], (op) =>
      op.several(2, "sort.stable", h(x), true, -1, true).map((all) => op("narrow", all, -1, 0, k))
    )
  )

  for (const [name, operator, first] of [
    ["Cumsum", "cumsum", 0],
    ["Cumprod", "cumprod", 1]
  ] as const)
    kernel(name, ({ x }, { axis, exclusive, reverse }) => {
      const at = axesOf(axis, x!.shape.length)[0]!
      const turn = (op: Steps, y: number): number => (reverse ? op("flip", y, [at]) : y)
      return steps(x!.dtype, (op) => {
        const all = op(operator, turn(op, h(x)), at)
        if (!exclusive) return turn(op, all)
        // One place on: the last falls off, and nothing comes before the first.
        const room = [...Array<number>(2 * (x!.shape.length - 1 - at)).fill(0), 1, -1]
        return turn(op, op("constant_pad_nd", all, room, first))
      })
    })

  kernel("Softmax", ({ logits }, { dim }) => as(op("softmax.int", h(logits), dim), "float32"))
  kernel("LogSoftmax", ({ logits }, { axis }) => as(op("log_softmax.int", h(logits), axis), "float32"))
  registerProducts(to)
}

const registerProducts = ({ h, kernel, steps }: Define): void => {
  const product = (op: Steps, a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean): number => {
    const [rows, inner] = [a.shape.at(-2), a.shape.at(-1)]
    const [other, columns] = [b.shape.at(-2), b.shape.at(-1)]
    tf.util.assert(
      a.shape.length >= 2 && b.shape.length >= 2 && (transposeA ? rows : inner) === (transposeB ? columns : other),
      () =>
        `Error in matMul: inner shapes of [${a.shape}] and [${b.shape}] with transposeA=${transposeA} and transposeB=${transposeB} must match.`
    )
    const turned = (x: TensorInfo, turn: boolean): number => (turn ? op("transpose.int", h(x), -2, -1) : h(x))
    return op("matmul", turned(a, transposeA), turned(b, transposeB))
  }
  kernel("BatchMatMul", ({ a, b }, { transposeA, transposeB }) =>
    steps(a!.dtype, (op) => product(op, a!, b!, transposeA, transposeB))
  )
  kernel("_FusedMatMul", ({ a, b, bias, preluActivationWeights }, attributes) =>
    steps(a!.dtype, (op) => {
      const made = product(op, a!, b!, attributes["transposeA"], attributes["transposeB"])
      const sum = bias == null ? made : op("add.Tensor", made, h(bias))
      const weights = preluActivationWeights == null ? undefined : h(preluActivationWeights)
      return activate(op, sum, attributes["activation"], weights, attributes["leakyreluAlpha"])
    })
  )
  kernel("Einsum", (inputs, { equation }) => {
    const all = Object.values(inputs)
    const { allDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, all.length)
    tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, all as never)
    return steps(all[0]!.dtype, (op) => op("einsum", equation, all.map(h)))
  })
}
