/**
 * Loads the stock TF.js wasm backend in plain Node, with this project's kernels inside the same heap.
 *
 * Not a fork: the binary is the package's own SIMD build; ours (`kernels.wasm`) imports its memory, so a tensor is the
 * same pointer for both. Differences from the stock loader: no fetch, an allocation that fails is an error rather than
 * the null pointer, and no process-wide exception handlers.
 */
import { readFile } from "node:fs/promises"
import { EngineUnavailable, OutOfMemory } from "../Errors.ts"
import { stockWasm } from "./Stock.ts"
import { type BackendWasm, tf } from "./Tf.ts"
import { type Imports, type Instance, instantiate, type Memory } from "./WebAssembly.ts"

/** The functions of `assembly/kernels.ts`. Pointers are byte offsets, counts are elements. */
export interface KernelExports {
  scratchBytes(rowFloats: number): number
  setup(scratch: number): void
  attentionFloats(keys: number): number
  gemm(
    M: number,
    N: number,
    K: number,
    a: number,
    sam: number,
    sak: number,
    b: number,
    sbk: number,
    sbn: number,
    c: number,
    ldc: number,
    alpha: number,
    addTo: number,
    bias: number
  ): void
  columnSums(x: number, M: number, N: number, out: number): void
  layerNorm(x: number, g: number, b: number, y: number, stats: number, M: number, D: number, eps: number): void
  layerNormGrad(
    dy: number,
    x: number,
    g: number,
    stats: number,
    dx: number,
    dg: number,
    db: number,
    M: number,
    D: number
  ): void
  gelu(x: number, y: number, n: number, kind: number): void
  geluGrad(dy: number, x: number, dx: number, n: number, kind: number): void
  rotary(
    x: number,
    positions: number,
    table: number,
    y: number,
    rows: number,
    heads: number,
    headDim: number,
    rotaryDim: number,
    sign: number
  ): void
  attention(
    q: number,
    k: number,
    v: number,
    seg: number,
    o: number,
    stats: number,
    B: number,
    Q: number,
    K: number,
    H: number,
    hd: number,
    kind: number,
    scale: number
  ): void
  attentionGrad(
    dO: number,
    q: number,
    k: number,
    v: number,
    seg: number,
    o: number,
    stats: number,
    dq: number,
    dk: number,
    dv: number,
    B: number,
    Q: number,
    K: number,
    H: number,
    hd: number,
    kind: number,
    scale: number
  ): void
  crossEntropy(logits: number, labels: number, loss: number, stats: number, N: number, V: number, scale: number): void
  crossEntropyGrad(
    dy: number,
    logits: number,
    labels: number,
    stats: number,
    out: number,
    N: number,
    V: number,
    scale: number
  ): void
  adamW(
    w: number,
    m: number,
    v: number,
    g: number,
    w2: number,
    m2: number,
    v2: number,
    n: number,
    keep: number,
    step: number,
    root: number,
    b1: number,
    o1: number,
    b2: number,
    o2: number,
    eps: number
  ): void
  squares(x: number, n: number): number
  segmentSum(x: number, ids: number, out: number, N: number, D: number, S: number): void
  gatherRows(x: number, ids: number, out: number, N: number, D: number): void
  dropout(x: number, keys: number, y: number, B: number, n: number, threshold: number, scale: number): void
}

/** The part of emscripten's module that is used here. */
interface Module {
  _malloc: (bytes: number) => number
  _free: (pointer: number) => void
  readonly HEAPU8: Uint8Array
  readonly cwrap: (name: string, returns: string | null, args: ReadonlyArray<string>) => unknown
  tfjs?: unknown
}

export interface WasmEngine {
  readonly backend: BackendWasm
  readonly kernels: KernelExports
  /** Bytes of the heap, which only grows. */
  readonly heapBytes: () => number
  /** Makes the attention scratch fit `keys` keys. */
  readonly reserveAttention: (keys: number) => void
}

const handled = ["uncaughtException", "unhandledRejection"] as const

/** Loads the backend. One per process is enough: TF.js keeps one registry. */
export const loadWasm = async (): Promise<WasmEngine> => {
  const [stock, own] = await Promise.all([readFile(stockWasm()), readFile(new URL("./kernels.wasm", import.meta.url))])
  let memory: Memory | undefined
  let allocate: Module["_malloc"] | undefined
  const before = handled.map((event) => new Set(process.listeners(event as "uncaughtException")))
  const loading = tf.wasmFactory({
    instantiateWasm: (imports: Imports, receive: (instance: Instance) => void) => {
      const instance = instantiate(stock, imports)
      memory = instance.exports["memory"] as Memory
      allocate = instance.exports["malloc"] as Module["_malloc"]
      receive(instance)
      return instance.exports
    }
  })
  handled.forEach((event, i) => {
    for (const listener of process.listeners(event as "uncaughtException"))
      if (!before[i]!.has(listener)) process.removeListener(event, listener)
  })
  const module = (await loading) as Module
  if (memory === undefined || allocate === undefined)
    throw new EngineUnavailable({
      engine: "wasm",
      message: "the TF.js wasm module exports no memory or no malloc",
      hint: "Install the pinned @tensorflow/tfjs-backend-wasm 4.22.0: run `npm ci`."
    })
  const heap = memory
  // The module's own `_malloc` replaces itself at the first call, so the export is wrapped.
  const malloc = allocate
  module._malloc = (bytes) => {
    // A size past 32 bits would wrap to a small one.
    const pointer = bytes < 2 ** 32 ? malloc(bytes) : 0
    if (pointer === 0 && bytes > 0) throw outOfMemory(bytes, heap.buffer.byteLength)
    return pointer
  }
  module.tfjs = {
    init: module.cwrap("init", null, []),
    initWithThreadsCount: module.cwrap("init_with_threads_count", null, ["number"]),
    getThreadsCount: module.cwrap("get_threads_count", "number", []),
    registerTensor: module.cwrap("register_tensor", null, ["number", "number", "number"]),
    disposeData: module.cwrap("dispose_data", null, ["number"]),
    dispose: module.cwrap("dispose", null, [])
  }
  const backend = new tf.BackendWasm(module as unknown as BackendWasm["wasm"])
  const kernels = instantiate(own, { env: { memory: heap, log: Math.log } }).exports as unknown as KernelExports

  let scratch = 0
  let reserved = -1
  const reserveAttention = (keys: number): void => {
    if (keys <= reserved) return
    const pointer = module._malloc(kernels.scratchBytes(kernels.attentionFloats(keys))) >>> 0
    if (scratch !== 0) module._free(scratch)
    scratch = pointer
    reserved = keys
    kernels.setup(scratch)
  }
  reserveAttention(512)
  return { backend, kernels, heapBytes: () => heap.buffer.byteLength, reserveAttention }
}

const outOfMemory = (requestedBytes: number, heldBytes: number): OutOfMemory =>
  new OutOfMemory({
    engine: "wasm",
    requestedBytes,
    heldBytes,
    hint: "The wasm engine has at most 4 GiB. Use smaller micro-batches, turn checkpointing on, or a shorter sequence."
  })
