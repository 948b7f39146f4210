/**
 * The wasm engine's own kernels (AssemblyScript, SIMD), of f32: one file a kernel, exported from here.
 *
 * They run inside the heap of tfjs-backend-wasm, so a tensor is a pointer (bytes); counts and strides are elements.
 *
 * Not a library: no allocation, no static data, no bounds checks. `wasm/Kernels.ts` validates shapes and indices and is
 * the only caller. Every sum has a fixed order, so equal inputs give equal bits.
 *
 * Built by scripts/vendor-tfjs.ts into ../kernels.wasm, which is committed.
 */
export { attention, attentionFloats, attentionGrad } from "./attention"
export { dropout } from "./dropout"
export { gelu, geluGrad } from "./gelu"
export { crossEntropy, crossEntropyGrad } from "./loss"
export { columnSums, layerNorm, layerNormGrad } from "./norm"
export { adamW } from "./optimiser"
export { gemm, scratchBytes, setup } from "./product"
export { rotary } from "./rotary"
export { gatherRows, segmentSum } from "./rows"
export { squares } from "./squares"
