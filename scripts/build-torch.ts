#!/usr/bin/env node
/**
 * `npm run build:torch [-- --torch DIR|python:PATH] [--out DIR] [--jobs N]`, or `npx millrace-build-torch` with the
 * same flags where the package is installed: builds the addon over the user's libtorch with a plain C++ compiler.
 *
 * No node-gyp, no cmake, no network: Node's headers are an npm package, libtorch's are beside its libraries. A file is
 * compiled again when it, a header, or the libtorch is another one. Takes half a minute to a minute.
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { EngineUnavailable } from "../src/tensor/Errors.ts"
import { findLibtorch, type Libtorch } from "../src/tensor/torch/Libtorch.ts"
import { addonPath, addonSources, buildFolder } from "../src/tensor/torch/Place.ts"

const sources = addonSources
const { values } = parseArgs({
  options: {
    torch: { type: "string" },
    out: { type: "string", default: buildFolder() },
    jobs: { type: "string", default: String(Math.min(4, availableParallelism())) }
  }
})
const compiler = process.env["CXX"] ?? "c++"

const failed = (message: string, hint: string): EngineUnavailable =>
  new EngineUnavailable({ engine: "torch", message, hint })

/** Runs the compiler; its last words are in the error. */
const compile = (args: ReadonlyArray<string>): Effect.Effect<void, EngineUnavailable> =>
  Effect.callback((resume) => {
    const child = spawn(compiler, args, { stdio: ["ignore", "ignore", "pipe"] })
    let said = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000)
    })
    child.once("error", () =>
      resume(
        Effect.fail(
          failed(
            `there is no C++ compiler called ${compiler}`,
            "Install one (Debian: `apt install g++`), or name it with CXX."
          )
        )
      )
    )
    child.once("close", (code) =>
      resume(
        code === 0
          ? Effect.void
          : Effect.fail(
              failed(
                `${compiler} ended with ${code}:\n${said}`,
                "A C++20 compiler is needed (g++ 11, clang 14 or newer), and headers and libraries of one libtorch."
              )
            )
      )
    )
    return Effect.sync(() => child.kill())
  })

/** Headers that c10d's over NCCL takes, of NCCL and of CUDA's libraries. */
const ncclHeaders = ["nccl.h", "cuda_runtime_api.h", "cublas_v2.h", "cusparse.h", "cusolverDn.h"]

/**
 * Flags for NCCL, where the libtorch has it and the headers are found: beside it in wheels, or of the system. What
 * wheels lack of CUDA's compiler (`crt/`, `nv/target`) a plain C++ compiler needs little of: it stands in
 * `native/torch/cuda`.
 */
const ncclFor = (
  libtorch: Libtorch
): { readonly flags: ReadonlyArray<string>; readonly missing: string | undefined } => {
  if (!libtorch.cuda) return { flags: [], missing: undefined }
  const wheels = join(libtorch.root, "../nvidia")
  const places = [
    ...(existsSync(wheels) ? readdirSync(wheels).map((name) => join(wheels, name, "include")) : []),
    ...[process.env["CUDA_HOME"], "/usr/local/cuda"].flatMap((root) =>
      root === undefined ? [] : [join(root, "include")]
    ),
    "/usr/include"
  ]
  const found = ncclHeaders.map((name) => places.find((place) => existsSync(join(place, name))))
  const missing = ncclHeaders.filter((_, i) => found[i] === undefined)
  if (missing.length > 0) return { flags: [], missing: missing.join(", ") }
  const folders = [...new Set(found)].filter((place) => place !== "/usr/include")
  return {
    flags: ["-DMILLRACE_NCCL", ...[...folders, join(sources, "cuda")].flatMap((place) => ["-isystem", place!])],
    missing: undefined
  }
}

const flagsFor = (libtorch: Libtorch): ReadonlyArray<string> => [
  ...["-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall"],
  `-I${(createRequire(import.meta.url)("node-api-headers") as { readonly include_dir: string }).include_dir}`,
  ...libtorch.includes.flatMap((folder) => ["-isystem", folder]),
  // Wheels ship c10d's header over Gloo without Gloo's own.
  ...(libtorch.includes.some((folder) => existsSync(join(folder, "gloo/context.h")))
    ? []
    : ["-isystem", join(sources, "gloo")])
]

const build = Effect.gen(function* () {
  const libtorch = yield* findLibtorch(values.torch)
  yield* Console.log(`libtorch ${libtorch.version}${libtorch.cuda ? ", CUDA" : ", CPU"} in ${libtorch.root}`)
  const started = performance.now()
  mkdirSync(values.out, { recursive: true })
  const flags = flagsFor(libtorch)
  const nccl = ncclFor(libtorch)
  if (nccl.missing !== undefined)
    yield* Console.log(
      `Without NCCL: several GPUs cannot train together. Its headers are not all here: ${nccl.missing}`
    )
  const headers = readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".h") || name.endsWith("/target"))
    .filter((name) => !name.startsWith("build"))
  const common = createHash("sha256").update(JSON.stringify([compiler, flags, nccl, libtorch]))
  for (const name of headers) common.update(readFileSync(join(sources, name)))
  const files = readdirSync(sources).filter((name) => name.endsWith(".cc"))
  const made = yield* Effect.forEach(
    files,
    Effect.fnUntraced(function* (name) {
      const digest = common
        .copy()
        .update(readFileSync(join(sources, name)))
        .digest("hex")
      const object = join(values.out, `${name}.o`)
      const known = `${object}.sha256`
      if (existsSync(object) && existsSync(known) && readFileSync(known, "utf8") === digest) return 0
      const plain = compile([...flags, "-c", join(sources, name), "-o", object])
      const withNccl = compile([...flags, ...nccl.flags, "-c", join(sources, name), "-o", object])
      // NCCL's headers may be of another version than libtorch's: one GPU needs none of them.
      yield* name !== "dist.cc" || nccl.flags.length === 0
        ? plain
        : Effect.catch(withNccl, (error) =>
            Effect.andThen(
              Console.log(
                `Without NCCL, whose headers do not fit: several GPUs cannot train together. ${error.message}`
              ),
              plain
            )
          )
      writeFileSync(known, digest)
      return 1
    }),
    { concurrency: Number(values.jobs) }
  )
  const addon = join(values.out, "millrace-torch.node")
  const cuda = libtorch.cuda ? ["-ltorch_cuda", "-lc10_cuda"] : []
  yield* compile([
    ...["-shared", "-o", `${addon}.tmp`, ...files.map((name) => join(values.out, `${name}.o`))],
    ...[`-L${libtorch.libraries}`, `-Wl,-rpath,${libtorch.libraries}`, "-Wl,--no-as-needed"],
    ...["-ltorch", "-ltorch_cpu", ...cuda, "-lc10"]
  ])
  renameSync(`${addon}.tmp`, addon)
  writeFileSync(
    `${addon}.json`,
    `${JSON.stringify({ torch: libtorch.version, cuda: libtorch.cuda, root: libtorch.root })}\n`
  )
  const seconds = ((performance.now() - started) / 1000).toFixed(0)
  const compiled = made.reduce<number>((sum, one) => sum + one, 0)
  yield* Console.log(
    `${addon}: ${(statSync(addon).size / 1024).toFixed(0)} KiB, ${compiled} of ${files.length} files compiled, ${seconds} s`
  )
  if (addonPath() !== resolve(addon))
    yield* Console.log(`The engine takes it with MILLRACE_TORCH_ADDON=${resolve(addon)}`)
})

NodeRuntime.runMain(
  Effect.catchTag(build, "EngineUnavailable", ({ hint, message }) =>
    Effect.andThen(
      Console.error(`${message}\n  hint: ${hint}`),
      Effect.sync(() => {
        process.exitCode = 1
      })
    )
  )
)
