/**
 * Compiles the AssemblyScript kernels of `src/data/assembly` to committed `.wasm` files.
 *
 *     npm run build:wasm [-- --check]
 *
 * `--check` compiles without writing and fails when a committed file differs. The compiler version is pinned by the
 * lockfile, so equal sources give equal bytes.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import asc from "assemblyscript/asc"

/** Each kernel: its source and where its bytes are committed, from the repository's root. */
export const kernels = [
  { source: "src/data/assembly/resample.ts", wasm: "src/data/wasm/resample.wasm" },
  { source: "src/data/assembly/jpeg.ts", wasm: "src/data/wasm/jpeg.wasm" }
] as const

export const root = fileURLToPath(new URL("../", import.meta.url))

/** Compiles one AssemblyScript file (path from the root) and gives the bytes; throws with the compiler's messages. */
export const compileKernel = async (source: string): Promise<Uint8Array> => {
  let wasm: Uint8Array | undefined
  const { error, stderr } = await asc.main(
    [
      source,
      ...["--baseDir", root, "--outFile", "kernel.wasm", "--runtime", "stub", "--use", "abort=", "--noAssert"],
      ...["--enable", "simd", "-O3", "--converge", "--initialMemory", "1"]
    ],
    {
      writeFile: (name, contents) => {
        if (name === "kernel.wasm" && typeof contents !== "string") wasm = contents
      }
    }
  )
  if (error !== null || wasm === undefined) {
    throw new Error(`${source} does not compile:\n${stderr.toString()}`, { cause: error })
  }
  return wasm
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const check = process.argv.includes("--check")
  for (const { source, wasm } of kernels) {
    const path = `${root}${wasm}`
    const bytes = await compileKernel(source)
    const same = existsSync(path) && Buffer.compare(readFileSync(path), bytes) === 0
    if (check && !same) throw new Error(`${wasm} is not what ${source} compiles to; run: npm run build:wasm`)
    if (!same) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, bytes)
    }
    console.log(`${wasm}: ${bytes.length} bytes, ${same ? "unchanged" : "written"}`)
  }
}
