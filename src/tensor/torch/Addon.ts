/**
 * The door to the addon: loads it, calls its operations, and turns its errors into typed ones.
 *
 * Not a tensor library: a tensor here is a handle, a number that is freed by hand (`free`); nothing is left to the
 * garbage collector. Arguments and results travel in one Float64Array that both sides see (`native/torch/core.h`).
 */
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { isEmpty, passOn, read, variables } from "../../dag/Environment.ts"
import { EngineFailure, EngineUnavailable, OutOfMemory } from "../Errors.ts"
import { addonPath, buildCommand } from "./Place.ts"

/** What the addon exports. */
interface Native {
  readonly torchVersion: string
  readonly attach: (scratch: Float64Array) => ReadonlyArray<string>
  readonly call: (operation: number) => void
  readonly upload: (values: TypedArray, dtype: number) => void
  readonly read: (into: TypedArray, handle: number) => void
  readonly readLater: <A extends TypedArray>(into: A, handle: number) => Promise<A>
  readonly findOperator: (name: string, overload: string) => Found | null
  readonly intern: (text: string) => number
  readonly join: Distributed["join"]
  readonly collective: Distributed["collective"]
  readonly numbers: Distributed["numbers"]
  readonly sinkWait: Distributed["sinkWait"]
}

/** Collectives as `native/torch/dist.cc` has them: each is started by the call and waited for by its promise. */
export interface Distributed {
  readonly join: (
    host: string,
    port: number,
    /** The numeric address at which this process opens the store; empty where another does. */
    listen: string,
    waits: boolean,
    prefix: string,
    kind: "gloo" | "nccl",
    rank: number,
    world: number,
    meetingMs: number,
    limitMs: number,
    beside: number
  ) => Promise<number>
  readonly collective: (
    group: number,
    kind: "sum" | "sumScattered" | "gather" | "broadcast",
    handle: number,
    root: number,
    limitMs: number
  ) => Promise<void>
  readonly numbers: (
    group: number,
    kind: "sum" | "tell",
    numbers: Float64Array,
    limitMs: number
  ) => Promise<Float64Array>
  readonly sinkWait: (sink: number, bucket: number) => Promise<void>
}

type TypedArray = Float32Array | Int32Array | Uint8Array | Float64Array | Uint16Array

/** An operator as its schema has it. */
interface Found {
  readonly index: number
  readonly schema: string
  readonly arguments: ReadonlyArray<{
    readonly name: string
    readonly kind: "tensor" | "int" | "float" | "bool" | "number" | "string" | "device" | "list" | "other"
    readonly element: string
    readonly optional: boolean
  }>
}

/** ATen's numbers of element types. */
export const dtypes = {
  uint8: 0,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15
} as const

/** A tensor of the addon: its handle, element type and sizes. */
export interface Made {
  readonly handle: number
  readonly dtype: number
  readonly shape: Array<number>
}

/**
 * One argument of an operator: handles and numbers, lists of them, text, or null for an optional one that is left out.
 */
export type Argument = number | boolean | string | null | ReadonlyArray<number>

export interface Addon {
  readonly torchVersion: string
  /** Runs an operation of the addon's own; `put` writes its arguments, `take` reads its results. */
  readonly own: <A>(name: string, args: ReadonlyArray<number>, take: (results: Results) => A) => A
  /** An ATen operator such as `add.Tensor` or `gelu`. Arguments in the schema's order; those left out have defaults. */
  readonly aten: (name: string) => (...args: ReadonlyArray<Argument>) => Results
  readonly upload: (values: TypedArray, shape: ReadonlyArray<number>, dtype: number) => Made
  readonly read: <A extends TypedArray>(into: A, handle: number) => A
  readonly readLater: <A extends TypedArray>(into: A, handle: number) => Promise<A>
  readonly free: (handles: ReadonlyArray<number>) => void
  readonly distributed: Distributed
}

/** Reads what a call gave, in order. */
export interface Results {
  readonly number: () => number
  /** A tensor; undefined where the operation gave none. */
  readonly maybe: () => Made | undefined
  readonly tensor: () => Made
}

interface Sidecar {
  readonly torch: string
  readonly cuda: boolean
}

const sidecar = (): Sidecar | undefined => {
  const file = `${addonPath()}.json`
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Sidecar) : undefined
}

/** The version of the libtorch that the addon was built over; `unbuilt` where there is none. */
export const builtOver = (): string => sidecar()?.torch ?? "unbuilt"

/**
 * What computes: `cuda` where libtorch was built with it and an NVIDIA driver is there, else `cpu`.
 * `CUDA_VISIBLE_DEVICES` empty keeps to the CPU. Known without loading libtorch, since it is part of keys.
 */
export const deviceType = (): "cpu" | "cuda" =>
  sidecar()?.cuda === true && existsSync("/dev/nvidiactl") && !isEmpty(variables.devices) ? "cuda" : "cpu"

/**
 * Whether a GPU is to give the same bits each time, at some cost in speed: `--deterministic`, or
 * `MILLRACE_DETERMINISTIC`. A CPU always does.
 */
export const deterministic = (): boolean => read(variables.deterministic)

/**
 * Makes `deviceType` compute from now on: of GPUs, number `LOCAL_RANK`, or `SLURM_LOCALID` (0 without them). Throws
 * `EngineUnavailable`.
 */
export const useDevice = (addon: Addon): "cpu" | "cuda" => {
  const device = deviceType()
  const index = read(variables.localRank) ?? read(variables.slurmLocal) ?? 0
  // Read by cuBLAS when it begins.
  if (deterministic() && read(variables.cublas) === undefined) passOn(variables.cublas, ":4096:8")
  const devices = addon.own("cudaDevices", [], (results) => results.number())
  if (device === "cuda" && !(index < devices))
    throw new EngineUnavailable({
      engine: "torch",
      message: `libtorch can use ${devices} GPUs, and number ${index} was asked for`,
      hint:
        devices === 0
          ? "The driver may be older than libtorch's CUDA (nvidia-smi says). With CUDA_VISIBLE_DEVICES empty the CPU computes."
          : "Start at most one process for each GPU of this machine."
    })
  addon.own("useDevice", [device === "cuda" ? index : -1, deterministic() ? 1 : 0], () => undefined)
  return device
}

const BUILD = `Run \`${buildCommand}\` where a C++ compiler and libtorch 2.4 or newer are (\`pip install torch\`), or use --engine wasm.`

const load = (path: string): Native => {
  if (!existsSync(path))
    throw new EngineUnavailable({ engine: "torch", message: `the addon is not built: ${path}`, hint: BUILD })
  try {
    return createRequire(import.meta.url)(path) as Native
  } catch (cause) {
    throw new EngineUnavailable({
      engine: "torch",
      message: `${path} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: `It is bound to the libtorch that it was built with. Build it again: \`${buildCommand}\`.`,
      cause
    })
  }
}

/** Numbers that one call may have, arguments or results. */
const SCRATCH = 1 << 16

const opened = new Map<string, Addon>()

/** Loads the addon into this thread, once: calls of a thread share one array. Throws `EngineUnavailable`. */
export const openAddon = (path: string = addonPath()): Addon => {
  const before = opened.get(path)
  if (before !== undefined) return before
  const addon = attach(path)
  opened.set(path, addon)
  return addon
}

/**
 * Binds the addon at a path.
 *
 * Long: a list of calls into the addon, over one scratch buffer.
 */
const attach = (path: string): Addon => {
  const native = load(path)
  const scratch = new Float64Array(SCRATCH)
  const numbers = new Map(native.attach(scratch).map((name, number) => [name, number]))
  const heldBytes = (): number => {
    native.call(numbers.get("held")!)
    return scratch[1]!
  }
  /** Runs native code; what it throws becomes a typed error. */
  const guarded = <A>(what: string, run: () => A): A => {
    try {
      return run()
    } catch (cause) {
      const code = (cause as { readonly code?: unknown }).code
      const message = cause instanceof Error ? cause.message : String(cause)
      if (code === "ERR_TORCH_OUT_OF_MEMORY") {
        const asked = /(?:Tried to allocate|you tried to allocate) ([\d.]+) ?(\w+)/.exec(message)
        const unit = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[asked?.[2] ?? ""] ?? 0
        throw new OutOfMemory({
          engine: "torch",
          requestedBytes: Number(asked?.[1] ?? 0) * unit,
          heldBytes: heldBytes(),
          hint: "Take fewer rows or tokens at a time (smaller micro-batches), or recompute more of the forward pass."
        })
      }
      throw new EngineFailure({
        engine: "torch",
        message: `${what}: ${message}`,
        hint:
          code === "ERR_TORCH_DEVICE"
            ? "The device is lost for this process: run the same command again, it goes on from its checkpoint."
            : "An operation failed inside libtorch. Check shapes and element types there.",
        cause
      })
    }
  }
  const results = (): Results => {
    let at = 0
    const maybe = (): Made | undefined => {
      const [dtype, rank] = [scratch[at]!, scratch[at + 1]!]
      if (rank < 0) {
        at += 3
        return undefined
      }
      const shape = Array.from(scratch.subarray(at + 2, at + 2 + rank))
      const handle = scratch[at + 2 + rank]!
      at += 3 + rank
      return { handle, dtype, shape }
    }
    return {
      number: () => scratch[at++]!,
      maybe,
      tensor: () => {
        const made = maybe()
        if (made === undefined)
          throw new EngineFailure({
            engine: "torch",
            message: "no tensor was given",
            hint: "Report it: this is a bug."
          })
        return made
      }
    }
  }
  const interned = new Map<string, number>()
  const textNumber = (text: string): number => {
    const known = interned.get(text)
    if (known !== undefined) return known
    const number = native.intern(text)
    interned.set(text, number)
    return number
  }
  const known = new Map<string, (...args: ReadonlyArray<Argument>) => Results>()
  const atenCall = numbers.get("aten")!
  const define = (name: string): ((...args: ReadonlyArray<Argument>) => Results) => {
    const [base, overload = ""] = name.split(".") as [string, string?]
    const found = native.findOperator(`aten::${base}`, overload)
    if (found === null)
      throw new EngineFailure({
        engine: "torch",
        message: `libtorch ${native.torchVersion} has no operator aten::${name}`,
        hint: "Build over another libtorch, 2.4 or newer."
      })
    return (...args) => {
      scratch[0] = found.index
      scratch[1] = args.length
      let at = 2
      for (let i = 0; i < args.length; i++) {
        const { kind, element, optional } = found.arguments[i]!
        const value = args[i]!
        if (optional) scratch[at++] = value === null ? 0 : 1
        if (value === null) continue
        if (kind === "device") continue
        if (typeof value === "string") scratch[at++] = textNumber(value)
        else if (typeof value === "boolean") scratch[at++] = value ? 1 : 0
        else if (typeof value === "number") scratch[at++] = value
        else {
          scratch[at++] = value.length
          for (const one of value) {
            if (element === "tensor?") scratch[at++] = 1
            scratch[at++] = one
          }
        }
      }
      guarded(`aten::${name}`, () => native.call(atenCall))
      return results()
    }
  }
  return {
    torchVersion: native.torchVersion,
    own: (name, args, take) => {
      const number = numbers.get(name)
      if (number === undefined)
        throw new EngineFailure({ engine: "torch", message: `the addon has no operation ${name}`, hint: BUILD })
      scratch.set(args)
      guarded(name, () => native.call(number))
      return take(results())
    },
    aten: (name) => {
      const there = known.get(name)
      if (there !== undefined) return there
      const made = define(name)
      known.set(name, made)
      return made
    },
    upload: (values, shape, dtype) => {
      scratch[0] = shape.length
      scratch.set(shape, 1)
      guarded("upload", () => native.upload(values, dtype))
      return results().tensor()
    },
    read: (into, handle) => {
      guarded("read", () => native.read(into, handle))
      return into
    },
    readLater: (into, handle) => guarded("read", () => native.readLater(into, handle)),
    free: (handles) => {
      for (let from = 0; from < handles.length; from += SCRATCH - 1) {
        const some = handles.slice(from, from + SCRATCH - 1)
        scratch[0] = some.length
        scratch.set(some, 1)
        native.call(numbers.get("free")!)
      }
    },
    distributed: native
  }
}
