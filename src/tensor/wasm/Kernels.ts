/**
 * Registers this project's kernels with TF.js for the `wasm` backend: products, segment sum, row gather, and the fused
 * regions with their gradients.
 *
 * Why: the stock backend multiplies fast only when nothing is transposed and the batch is one, and lacks
 * UnsortedSegmentSum. Here every product, of any transposition and batch, goes through one blocked SIMD kernel.
 *
 * Not numerics: those are in `assembly/kernels.ts`. This file finds pointers, allocates outputs and states gradients.
 */
import { EngineFailure, expectShape } from "../Errors.ts"
import type { Tensor } from "../Ops.ts"
import { cachedRotaryTable, check, type GeluKind, type Mask, type Regions, type RotaryOptions } from "../Regions.ts"
import type { WasmEngine } from "./Backend.ts"
import { tf } from "./Tf.ts"

type Info = tf.TensorInfo
type Inputs = Readonly<Record<string, Info>>
type Attributes = Readonly<Record<string, unknown>>
type Dtype = "float32" | "int32"

const size = (x: Info): number => tf.util.sizeFromShape(x.shape)
const lastOf = (x: Info): number => x.shape[x.shape.length - 1]!
const maskKinds = { none: 0, causal: 1, keys: 2 } as const
const geluKinds = { tanh: 0, erf: 1, quick: 2 } as const

/**
 * Registers everything and returns the native regions. Call once per process, after the backend `wasm` is registered.
 *
 * Long: a list of kernels, each of a few lines, over the handles of one engine.
 */
export const registerKernels = (engine: WasmEngine): Regions => {
  const { backend, kernels, reserveAttention } = engine
  const at = (x: Info): number => backend.dataIdMap.get(x.dataId).memoryOffset
  /** Kernels follow indices without looking, so they are checked here, where the numbers can be named. */
  const inRange = (operation: string, indices: Info, limit: number, ignored = -1): void => {
    const values = backend.typedArrayFromHeap(indices)
    for (let i = 0; i < values.length; i++)
      expectShape(
        (values[i]! >= 0 && values[i]! < limit) || (ignored < -1 && values[i] === ignored),
        operation,
        () => `index ${values[i]} at ${i} is outside 0..${limit - 1}`,
        "Check that the tokenizer and the vocabulary size agree, and that positions fit the model's context length."
      )
  }
  const make = (shape: Array<number>, dtype: Dtype = "float32"): Info => backend.makeOutput(shape, dtype)
  const kernel = (
    kernelName: string,
    kernelFunc: (inputs: Inputs, attributes: Attributes) => Info | Array<Info>
  ): void => {
    if (tf.getKernel(kernelName, "wasm") !== undefined) tf.unregisterKernel(kernelName, "wasm")
    tf.registerKernel({
      kernelName,
      backendName: "wasm",
      kernelFunc: ({ inputs, attrs }) => kernelFunc(inputs as Inputs, (attrs ?? {}) as Attributes)
    })
  }
  /** Runs one of the kernels below from a gradient, where nothing is recorded. */
  const call = <A extends Tensor | Array<Tensor>>(
    name: string,
    inputs: Readonly<Record<string, Tensor>>,
    attrs: object
  ): A => tf.engine().runKernel(`Millrace${name}`, inputs, attrs as tf.NamedAttrMap) as A

  registerProducts(kernel, kernels, at, make)

  // The stock kernel copies; every tensor saved for a gradient goes through here, so share the data as `Reshape` does.
  kernel("Identity", ({ x }) => {
    backend.incRef(x!.dataId)
    return { dataId: x!.dataId, shape: x!.shape, dtype: x!.dtype }
  })

  kernel("UnsortedSegmentSum", ({ x, segmentIds }, { numSegments }) => {
    const segments = numSegments as number
    const columns = size(x!) / Math.max(1, segmentIds!.shape[0]!)
    requireFloat("UnsortedSegmentSum", x!)
    const out = make([segments, ...x!.shape.slice(segmentIds!.shape.length)])
    kernels.segmentSum(at(x!), at(segmentIds!), at(out), size(segmentIds!), columns, segments)
    return out
  })

  kernel("MillraceLinear", ({ x, w, b }) => {
    const [outputs, inner] = w!.shape as [number, number]
    const rows = size(x!) / inner
    const out = make([...x!.shape.slice(0, -1), outputs])
    kernels.gemm(
      rows,
      outputs,
      inner,
      at(x!),
      inner,
      1,
      at(w!),
      1,
      inner,
      at(out),
      outputs,
      1,
      0,
      b === undefined ? 0 : at(b)
    )
    return out
  })
  // dx = dy W; dW = dy^T x.
  kernel("MillraceLinearGradX", ({ dy, w }) => {
    const [outputs, inner] = w!.shape as [number, number]
    const out = make([...dy!.shape.slice(0, -1), inner])
    kernels.gemm(size(dy!) / outputs, inner, outputs, at(dy!), outputs, 1, at(w!), inner, 1, at(out), inner, 1, 0, 0)
    return out
  })
  kernel("MillraceLinearGradW", ({ dy, x }) => {
    const outputs = lastOf(dy!)
    const inner = lastOf(x!)
    const out = make([outputs, inner])
    kernels.gemm(outputs, inner, size(dy!) / outputs, at(dy!), 1, outputs, at(x!), inner, 1, at(out), inner, 1, 0, 0)
    return out
  })
  kernel("MillraceColumnSums", ({ x }) => {
    const columns = lastOf(x!)
    const out = make([columns])
    kernels.columnSums(at(x!), size(x!) / columns, columns, at(out))
    return out
  })
  tf.registerGradient({
    kernelName: "MillraceLinear",
    inputsToSave: ["x", "w"],
    gradFunc: (dy, saved) => {
      const [x, w] = saved as [Tensor, Tensor]
      const d = dy as Tensor
      return {
        x: () => call<Tensor>("LinearGradX", { dy: d, w }, {}),
        w: () => call<Tensor>("LinearGradW", { dy: d, x }, {}),
        b: () => call<Tensor>("ColumnSums", { x: d }, {})
      }
    }
  })

  kernel("MillraceLayerNorm", ({ x, w, b }, { eps }) => {
    const columns = lastOf(x!)
    const rows = size(x!) / columns
    const y = make(x!.shape)
    const stats = make([rows, 2])
    kernels.layerNorm(at(x!), at(w!), at(b!), at(y), at(stats), rows, columns, eps as number)
    return [y, stats]
  })
  kernel("MillraceLayerNormGrad", ({ dy, x, w, stats }) => {
    const columns = lastOf(x!)
    const [dx, dw, db] = [make(x!.shape), make([columns]), make([columns])]
    kernels.layerNormGrad(at(dy!), at(x!), at(w!), at(stats!), at(dx), at(dw), at(db), size(x!) / columns, columns)
    return [dx, dw, db]
  })
  tf.registerGradient({
    kernelName: "MillraceLayerNorm",
    inputsToSave: ["x", "w"],
    outputsToSave: [false, true],
    gradFunc: (dys, saved) => {
      const [x, w, stats] = saved as [Tensor, Tensor, Tensor]
      const [dx, dw, db] = call<Array<Tensor>>("LayerNormGrad", { dy: (dys as Array<Tensor>)[0]!, x, w, stats }, {})
      return { x: () => dx!, w: () => dw!, b: () => db! }
    }
  })

  kernel("MillraceGelu", ({ x }, { kind }) => {
    const y = make(x!.shape)
    kernels.gelu(at(x!), at(y), size(x!), kind as number)
    return y
  })
  kernel("MillraceGeluGrad", ({ dy, x }, { kind }) => {
    const dx = make(x!.shape)
    kernels.geluGrad(at(dy!), at(x!), at(dx), size(x!), kind as number)
    return dx
  })
  tf.registerGradient({
    kernelName: "MillraceGelu",
    inputsToSave: ["x"],
    gradFunc: (dy, saved, attrs) => ({
      x: () => call<Tensor>("GeluGrad", { dy: dy as Tensor, x: (saved as Array<Tensor>)[0]! }, attrs!)
    })
  })

  kernel("MillraceRotary", ({ x, positions, table }, attrs) => {
    const [batch, time, width] = x!.shape as [number, number, number]
    const heads = attrs["heads"] as number
    inRange("rotary", positions!, table!.shape[0]!)
    const y = make(x!.shape)
    kernels.rotary(
      at(x!),
      at(positions!),
      at(table!),
      at(y),
      batch * time,
      heads,
      width / heads,
      table!.shape[1]!,
      attrs["sign"] as number
    )
    return y
  })
  tf.registerGradient({
    kernelName: "MillraceRotary",
    inputsToSave: ["positions", "table"],
    gradFunc: (dy, saved, attrs) => {
      const [positions, table] = saved as [Tensor, Tensor]
      return { x: () => call<Tensor>("Rotary", { x: dy as Tensor, positions, table }, { ...attrs, sign: -1 }) }
    }
  })

  kernel("MillraceAttention", ({ q, k, v, segments }, attrs) => {
    const [batch, queries, width] = q!.shape as [number, number, number]
    const keys = k!.shape[1]!
    const heads = attrs["heads"] as number
    reserveAttention(keys)
    const out = make(q!.shape)
    const stats = make([batch, heads, queries, 2])
    kernels.attention(
      at(q!),
      at(k!),
      at(v!),
      segments === undefined ? 0 : at(segments),
      at(out),
      at(stats),
      batch,
      queries,
      keys,
      heads,
      width / heads,
      attrs["kind"] as number,
      1 / Math.sqrt(width / heads)
    )
    return [out, stats]
  })
  kernel("MillraceAttentionGrad", ({ dy, q, k, v, segments, out, stats }, attrs) => {
    const [batch, queries, width] = q!.shape as [number, number, number]
    const keys = k!.shape[1]!
    const heads = attrs["heads"] as number
    reserveAttention(keys)
    const [dq, dk, dv] = [make(q!.shape), make(k!.shape), make(v!.shape)]
    kernels.attentionGrad(
      at(dy!),
      at(q!),
      at(k!),
      at(v!),
      segments === undefined ? 0 : at(segments),
      at(out!),
      at(stats!),
      at(dq),
      at(dk),
      at(dv),
      batch,
      queries,
      keys,
      heads,
      width / heads,
      attrs["kind"] as number,
      1 / Math.sqrt(width / heads)
    )
    return [dq, dk, dv]
  })
  for (const masked of [false, true])
    tf.registerGradient({
      kernelName: masked ? "MillraceMaskedAttention" : "MillraceAttention",
      inputsToSave: masked ? ["q", "k", "v", "segments"] : ["q", "k", "v"],
      outputsToSave: [true, true],
      gradFunc: (dys, saved, attrs) => {
        const tensors = saved as Array<Tensor>
        const [q, k, v] = tensors as [Tensor, Tensor, Tensor]
        const [out, stats] = tensors.slice(-2) as [Tensor, Tensor]
        const inputs = { dy: (dys as Array<Tensor>)[0]!, q, k, v, out, stats }
        const [dq, dk, dv] = call<Array<Tensor>>(
          "AttentionGrad",
          masked ? { ...inputs, segments: tensors[3]! } : inputs,
          attrs!
        )
        return { q: () => dq!, k: () => dk!, v: () => dv! }
      }
    })
  const unmasked = tf.getKernel("MillraceAttention", "wasm")
  tf.registerKernel({ ...unmasked, kernelName: "MillraceMaskedAttention" })

  kernel("MillraceCrossEntropy", ({ logits, labels }, { scale }) => {
    const [rows, classes] = logits!.shape as [number, number]
    inRange("crossEntropy", labels!, classes, -100)
    const loss = make([])
    const stats = make([rows, 2])
    kernels.crossEntropy(at(logits!), at(labels!), at(loss), at(stats), rows, classes, scale as number)
    return [loss, stats]
  })
  kernel("MillraceCrossEntropyGrad", ({ dy, logits, labels, stats }, { scale }) => {
    const [rows, classes] = logits!.shape as [number, number]
    const out = make(logits!.shape)
    kernels.crossEntropyGrad(at(dy!), at(logits!), at(labels!), at(stats!), at(out), rows, classes, scale as number)
    return out
  })
  tf.registerGradient({
    kernelName: "MillraceCrossEntropy",
    inputsToSave: ["logits", "labels"],
    outputsToSave: [false, true],
    gradFunc: (dys, saved, attrs) => {
      const [logits, labels, stats] = saved as [Tensor, Tensor, Tensor]
      const dy = (dys as Array<Tensor>)[0]!
      return { logits: () => call<Tensor>("CrossEntropyGrad", { dy, logits, labels, stats }, attrs!) }
    }
  })

  kernel("MillraceRows", ({ table, indices }) => {
    inRange("rows", indices!, table!.shape[0]!)
    const out = make([...indices!.shape, table!.shape[1]!])
    kernels.gatherRows(at(table!), at(indices!), at(out), size(indices!), table!.shape[1]!)
    return out
  })
  tf.registerGradient({
    kernelName: "MillraceRows",
    inputsToSave: ["table", "indices"],
    gradFunc: (dy, saved) => {
      const [table, indices] = saved as [Tensor, Tensor]
      return {
        table: () =>
          tf.unsortedSegmentSum(
            tf.reshape(dy as Tensor, [indices.size, table.shape[1]!]),
            tf.reshape(indices, [-1]) as tf.Tensor1D,
            table.shape[0]!
          )
      }
    }
  })

  kernel("MillraceDropout", ({ x, keys }, { rate }) => {
    const y = make(x!.shape)
    const [batch, r] = [keys!.shape[0]!, rate as number]
    kernels.dropout(at(x!), at(keys!), at(y), batch, size(x!) / Math.max(1, batch), Math.ceil(r * 2 ** 24), 1 / (1 - r))
    return y
  })
  tf.registerGradient({
    kernelName: "MillraceDropout",
    inputsToSave: ["keys"],
    gradFunc: (dy, saved, attrs) => ({
      x: () => call<Tensor>("Dropout", { x: dy as Tensor, keys: (saved as Array<Tensor>)[0]! }, attrs!)
    })
  })

  kernel("MillraceAdamW", ({ w, m, v, g }, a) => {
    const [w2, m2, v2] = [make(w!.shape), make(w!.shape), make(w!.shape)]
    const n = (name: string) => a[name] as number
    kernels.adamW(
      at(w!),
      at(m!),
      at(v!),
      at(g!),
      at(w2),
      at(m2),
      at(v2),
      size(w!),
      n("keep"),
      n("step"),
      n("root"),
      n("b1"),
      n("o1"),
      n("b2"),
      n("o2"),
      n("eps")
    )
    return [w2, m2, v2]
  })

  return nativeRegions(call)
}

const requireFloat = (operation: string, x: Info): void => {
  if (x.dtype !== "float32")
    throw new EngineFailure({
      engine: "wasm",
      message: `${operation} of ${x.dtype}`,
      hint: "The wasm engine computes this in float32: cast first."
    })
}

/** For a flat index over the shape `outer`, the flat index over `shape` that broadcasts to it. */
const broadcastIndex = (shape: ReadonlyArray<number>, outer: ReadonlyArray<number>): ((i: number) => number) => {
  const padded = [...new Array<number>(outer.length - shape.length).fill(1), ...shape]
  if (padded.every((n, d) => n === outer[d])) return (i) => i
  return (i) => {
    let [rest, stride, index] = [i, 1, 0]
    for (let d = outer.length - 1; d >= 0; d--) {
      if (padded[d] !== 1) index += (rest % outer[d]!) * stride
      stride *= padded[d]!
      rest = Math.floor(rest / outer[d]!)
    }
    return index
  }
}

/** BatchMatMul and _FusedMatMul over `gemm`, with broadcast batches, for any transposition. */
const registerProducts = (
  kernel: (name: string, f: (inputs: Inputs, attributes: Attributes) => Info) => void,
  kernels: WasmEngine["kernels"],
  at: (x: Info) => number,
  make: (shape: Array<number>) => Info
): void => {
  const product = (a: Info, b: Info, transposeA: boolean, transposeB: boolean, bias: Info | undefined): Info => {
    requireFloat("a matrix product", a)
    requireFloat("a matrix product", b)
    expectShape(
      a.shape.length >= 2 && b.shape.length >= 2,
      "matMul",
      () => `[${a.shape.join(", ")}] by [${b.shape.join(", ")}]`,
      "A product takes matrices: give a vector a second dimension of 1."
    )
    const [ra, ca] = a.shape.slice(-2) as [number, number]
    const [rb, cb] = b.shape.slice(-2) as [number, number]
    const [rows, inner] = transposeA ? [ca, ra] : [ra, ca]
    const columns = transposeB ? rb : cb
    expectShape(
      inner === (transposeB ? cb : rb),
      "matMul",
      () => `[${a.shape.join(", ")}]${transposeA ? "^T" : ""} by [${b.shape.join(", ")}]${transposeB ? "^T" : ""}`,
      "The inner sizes of a product must be equal."
    )
    const outer = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
    const batch = tf.util.sizeFromShape(outer)
    const batchOfA = broadcastIndex(a.shape.slice(0, -2), outer)
    const batchOfB = broadcastIndex(b.shape.slice(0, -2), outer)
    const out = make([...outer, rows, columns])
    for (let i = 0; i < batch; i++)
      kernels.gemm(
        rows,
        columns,
        inner,
        at(a) + batchOfA(i) * rows * inner * 4,
        transposeA ? 1 : ca,
        transposeA ? ca : 1,
        at(b) + batchOfB(i) * columns * inner * 4,
        transposeB ? 1 : cb,
        transposeB ? cb : 1,
        at(out) + i * rows * columns * 4,
        columns,
        1,
        0,
        bias === undefined ? 0 : at(bias)
      )
    return out
  }
  kernel("BatchMatMul", ({ a, b }, { transposeA, transposeB }) =>
    product(a!, b!, transposeA === true, transposeB === true, undefined)
  )
  // What our product does not fuse (an activation, a bias that is no vector) stays with the stock kernel.
  const stock = tf.getKernel("_FusedMatMul", "wasm")
  const fused: typeof stock.kernelFunc = (args) => {
    const { a, b, bias } = args.inputs as Inputs
    const { transposeA, transposeB, activation } = (args.attrs ?? {}) as Attributes
    const plain = activation === undefined || activation === "linear"
    return plain && (bias == null || bias.shape.length === 1)
      ? product(a!, b!, transposeA === true, transposeB === true, bias ?? undefined)
      : stock.kernelFunc(args)
  }
  tf.unregisterKernel("_FusedMatMul", "wasm")
  tf.registerKernel({ ...stock, kernelFunc: fused })
}

const nativeRegions = (
  call: <A extends Tensor | Array<Tensor>>(name: string, inputs: Readonly<Record<string, Tensor>>, attrs: object) => A
): Regions => {
  const rotaryTables = new Map<string, Tensor>()
  const tableOf = (options: RotaryOptions): Tensor => {
    const key = `${options.rotaryDim}/${options.theta}/${options.maxPositions}`
    const known = rotaryTables.get(key)
    if (known !== undefined) return known
    const made = tf.keep(tf.tensor2d(cachedRotaryTable(options), [options.maxPositions, options.rotaryDim]))
    rotaryTables.set(key, made)
    return made
  }
  return {
    linear: (x, w, b) => {
      check.linear(x, w, b)
      return call<Tensor>("Linear", b === undefined ? { x, w } : { x, w, b }, {})
    },
    layerNorm: (x, w, b, eps) => {
      check.layerNorm(x, w, b)
      return call<Array<Tensor>>("LayerNorm", { x, w, b }, { eps })[0]!
    },
    gelu: (x, kind: GeluKind) => call<Tensor>("Gelu", { x }, { kind: geluKinds[kind] }),
    rotary: (x, positions, options) => {
      check.rotary(x, positions, options)
      return call<Tensor>("Rotary", { x, positions, table: tableOf(options) }, { heads: options.heads, sign: 1 })
    },
    attention: (q, k, v, { heads, mask }: { readonly heads: number; readonly mask: Mask }) => {
      check.attention(q, k, v, heads, mask)
      const attrs = { heads, kind: maskKinds[mask.kind] }
      if (mask.kind === "none") return call<Array<Tensor>>("Attention", { q, k, v }, attrs)[0]!
      const segments = mask.kind === "causal" ? mask.segments_BT : mask.segments_BK
      return call<Array<Tensor>>("MaskedAttention", { q, k, v, segments }, attrs)[0]!
    },
    crossEntropy: (logits, labels, normaliser) => {
      check.crossEntropy(logits, labels)
      return call<Array<Tensor>>("CrossEntropy", { logits, labels }, { scale: 1 / normaliser })[0]!
    },
    dropout: (x, streams, rate) => {
      check.dropout(x, streams, rate)
      const keys = Int32Array.from(streams.flatMap(({ low, high }) => [low | 0, high | 0]))
      return call<Tensor>("Dropout", { x, keys: tf.tensor2d(keys, [streams.length, 2], "int32") }, { rate })
    },
    rows: (table, indices) => {
      check.rows(table, indices)
      return call<Tensor>("Rows", { table, indices }, {})
    }
  }
}
