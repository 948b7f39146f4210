/** The rows of `npm run bench -- gpu`, in the order in which they are printed: first correctness, then speed. */
import type { Benchmark, Size } from "../Row.ts"
import { type Device, openGpu } from "./Gpu.ts"
import { gradientRows } from "./Gradients.ts"
import { kernelRows } from "./Kernels.ts"
import { phi2Rows } from "./Phi2.ts"
import { stageRows } from "./Stages.ts"

export const gpuRows = (device: Device, size: Size): ReadonlyArray<Benchmark> => {
  const gpu = openGpu(device, size === "tiny" ? "tiny" : "paper")
  return [...kernelRows(gpu), ...gradientRows(gpu), ...phi2Rows(gpu), ...stageRows(gpu)]
}
