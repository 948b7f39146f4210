/**
 * TensorFlow.js kernels as ATen operators, by name: all of `kernels/`, registered.
 *
 * Not fused regions (`Regions.ts`). Each kernel is one operator or a few; what TF.js's shape functions decide (axes,
 * paddings, splits) is decided there as they do. What is left out is in `Absent.ts`, with the reason.
 */
import { registerAbsent } from "./Absent.ts"
import type { TorchBackend } from "./Backend.ts"
import { registerConv } from "./kernels/Conv.ts"
import { define } from "./kernels/Define.ts"
import { registerElementwise } from "./kernels/Elementwise.ts"
import { registerGather } from "./kernels/Gather.ts"
import { registerPool } from "./kernels/Pool.ts"
import { registerReduce } from "./kernels/Reduce.ts"
import { registerShape } from "./kernels/Shape.ts"

/** Registers all kernels for `backend` under `name`. */
export const registerKernels = (backend: TorchBackend, name: string): void => {
  const to = define(backend, name)
  for (const register of [
    registerElementwise,
    registerShape,
    registerReduce,
    registerGather,
    registerConv,
    registerPool
  ])
    register(to)
  registerAbsent(name)
}
