/** Types of the cpu bundle made by scripts/vendor-tfjs.ts (tests only). */
import type { KernelBackend } from "@tensorflow/tfjs-core"
export const MathBackendCPU: new () => KernelBackend
