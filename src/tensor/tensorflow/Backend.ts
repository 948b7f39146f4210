/**
 * The backend of the user's TensorFlow for Node, as an engine.
 *
 * The package brings a TF.js core of its own, but all copies of the core in a thread keep one engine and one registry
 * of kernels, on the global object: ours, which is there first. So loading the package registers its backend and
 * kernels where model code finds them; what is left to do is to see which backend came, and to keep arrays apart. Any
 * package that registers a TF.js backend can be given.
 *
 * Not regions: they run from plain operations, differentiated by `Tape.ts`. What this cannot do: anything but float32,
 * more than one GPU, the same bits on another GPU.
 */
import { createRequire } from "node:module"
import { join } from "node:path"
import type { DataType, KernelBackend } from "@tensorflow/tfjs-core"
import { EngineUnavailable } from "../Errors.ts"
import { tf } from "../Ops.ts"
import type { TfEngine } from "../Tensors.ts"
import { type TensorflowPackage, usablePackage } from "./Package.ts"

const unusable = ({ name, version }: TensorflowPackage, message: string, hint: string, cause?: unknown) =>
  new EngineUnavailable({ engine: "tensorflow", message: `${name} ${version} ${message}`, hint, cause })

const backendNames = (): ReadonlyArray<string> => Object.keys(tf.engine().registryFactory)

/** Loads the package; the name of the backend that it registered. */
const load = (found: TensorflowPackage): string => {
  const before = new Set(backendNames())
  try {
    createRequire(join(found.folder, "package.json"))(found.folder)
  } catch (cause) {
    const text = cause instanceof Error ? cause.message.split("\n")[0] : String(cause)
    throw unusable(
      found,
      `cannot be loaded: ${text}`,
      "Its binary may not have been downloaded: `npm rebuild` it. In a worker thread it may not load at all: use --workers 0.",
      cause
    )
  }
  const made = backendNames().filter((name) => !before.has(name))
  const name = made.includes("tensorflow") ? "tensorflow" : made[0]
  if (name === undefined)
    throw unusable(found, "registers no TF.js backend", "Give a package that does, as @tensorflow/tfjs-node.")
  return name
}

type Values = Parameters<KernelBackend["write"]>[0]

const copied = (values: Values): Values => (values === null || values === undefined ? values : values.slice()) as Values

/** A backend may keep the array that it was given and hand out its own; callers use theirs again. */
const keepApart = (backend: KernelBackend): void => {
  const { move, read, readSync, write } = backend
  Object.assign(backend, {
    write: (values: Values, shape: Array<number>, dtype: DataType) => write.call(backend, copied(values), shape, dtype),
    move: (id: object, values: Values, shape: Array<number>, dtype: DataType, references: number) =>
      move.call(backend, id, copied(values), shape, dtype, references),
    readSync: (id: object) => copied(readSync.call(backend, id)),
    read: async (id: object) => copied(await read.call(backend, id))
  })
}

/**
 * Loads the package that is installed where the process works, and makes its backend the active one.
 *
 * Throws `EngineUnavailable`: not installed, not for this Node, or no TF.js backend. Call once per process.
 */
export const startTensorflow = async (): Promise<TfEngine> => {
  const found = usablePackage()
  const backendName = load(found)
  if (!(await tf.setBackend(backendName)))
    throw unusable(found, `cannot start its backend ${backendName}`, "Its own warning above says why.")
  keepApart(tf.backend())
  return {
    name: "tensorflow",
    backendName,
    oneThread: false,
    native: {},
    engineBytes: () => tf.memory().numBytes
  }
}
