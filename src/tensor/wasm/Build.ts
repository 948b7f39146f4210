/** How the kernels are compiled: shared by scripts/vendor-tfjs.ts and the test that the committed binary is current. */

/**
 * Arguments of the AssemblyScript compiler. The kernels import TF.js's memory, so they hold no static data and no
 * runtime.
 *
 * @example await main([...kernelFlags(root, "src/tensor/wasm/kernels.wasm")])
 */
export const kernelFlags = (root: string, outFile: string): ReadonlyArray<string> => [
  "src/tensor/wasm/assembly/kernels.ts",
  "--outFile",
  outFile,
  "--baseDir",
  root,
  ...["--importMemory", "--noExportMemory", "--runtime", "stub", "--optimizeLevel", "3", "--noAssert"],
  ...["--enable", "simd", "--enable", "relaxed-simd", "--enable", "bulk-memory"]
]
