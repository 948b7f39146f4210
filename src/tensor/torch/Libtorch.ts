/**
 * Finds the user's libtorch: headers, libraries, version, and whether it computes on CUDA.
 *
 * Not the build (`scripts/build-torch.ts`) and not the addon (`Addon.ts`). Nothing is downloaded. Places, in order:
 * what is asked for, `$LIBTORCH`, the `torch` package of `python3`, Debian's `libtorch-dev`.
 */
import { execFile } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { promisify } from "node:util"
import { Effect } from "effect"
import { read, variables } from "../../dag/Environment.ts"
import { EngineUnavailable } from "../Errors.ts"

/** The oldest libtorch that the addon is written for. */
export const OLDEST = [2, 4] as const

export interface Libtorch {
  /** The folder that holds `include` and `lib`. */
  readonly root: string
  readonly version: string
  readonly includes: ReadonlyArray<string>
  readonly libraries: string
  readonly cuda: boolean
}

const unavailable = (message: string, hint: string): EngineUnavailable =>
  new EngineUnavailable({ engine: "torch", message, hint })

const HINT =
  "Install PyTorch (`pip install torch`) or unpack libtorch, 2.4 or newer, and name it: --torch DIR, --torch python:PATH, or LIBTORCH."

/** The version of the libtorch under a folder; undefined where there is none with headers. */
const look = (root: string): Libtorch | undefined => {
  const libraries = ["lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"]
    .map((name) => join(root, name))
    .find((path) => existsSync(join(path, "libtorch_cpu.so")) || existsSync(join(path, "libtorch_cpu.dylib")))
  const include = join(root, "include")
  const header = ["torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"]
    .map((name) => join(include, name))
    .find((path) => existsSync(path) && /TORCH_VERSION_MAJOR \d/.test(readFileSync(path, "utf8")))
  if (libraries === undefined || header === undefined) return undefined
  const text = readFileSync(header, "utf8")
  const part = (name: string): string => new RegExp(`TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1] ?? "0"
  return {
    root,
    version: [part("MAJOR"), part("MINOR"), part("PATCH")].join("."),
    includes: [include, join(include, "torch/csrc/api/include")],
    libraries,
    cuda: existsSync(join(libraries, "libtorch_cuda.so"))
  }
}

/** The folder of the `torch` package that an interpreter would import; undefined where it has none. */
const packageOf = (python: string): Effect.Effect<string | undefined> =>
  Effect.promise(async () => {
    const code = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')"
    const { stdout } = await promisify(execFile)(python, ["-c", code]).catch(() => ({ stdout: "" }))
    const origin = stdout.trim()
    return origin === "" ? undefined : dirname(origin)
  })

/**
 * Finds libtorch. `wanted` is a folder, or `python:PATH` for the package of an interpreter.
 *
 * Fails with `EngineUnavailable`: none there, no headers, or older than 2.4.
 *
 * @example const libtorch = yield* findLibtorch("python:/opt/venv/bin/python")
 */
export const findLibtorch = Effect.fnUntraced(function* (
  wanted: string | undefined = read(variables.libtorch)
): Effect.fn.Return<Libtorch, EngineUnavailable> {
  const places: Array<readonly [name: string, root: string | undefined]> = []
  if (wanted?.startsWith("python:")) places.push([wanted.slice(7), yield* packageOf(wanted.slice(7))])
  else if (wanted !== undefined) places.push([wanted, resolve(wanted)])
  else places.push(["python3", yield* packageOf("python3")], ["/usr", "/usr"])
  for (const [, root] of places) {
    const found = root === undefined ? undefined : look(root)
    if (found === undefined) continue
    const [major, minor] = found.version.split(".").map(Number) as [number, number]
    if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
      return yield* unavailable(
        `libtorch in ${found.root} is ${found.version}; ${OLDEST.join(".")} is the oldest that is taken`,
        HINT
      )
    return found
  }
  return yield* unavailable(
    `there is no libtorch with headers: looked at ${places.map(([name, root]) => (root === undefined ? `${name} (no torch package)` : root)).join(", ")}`,
    HINT
  )
})
