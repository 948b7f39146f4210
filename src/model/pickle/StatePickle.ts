/**
 * The pickle of a state dict of contiguous tensors, as `torch.save` writes it into its zip.
 *
 * Not a pickler: it is the one sentence that a dictionary of tensors needs, without a memo. Names and numbers go in,
 * nothing that could be run; torch takes it with `weights_only=True`, `Unpickle.ts` reads it back.
 */
import { Effect } from "effect"
import { type Dtype, dtypeBytes } from "../Dtype.ts"
import type { TensorSource } from "../Safetensors.ts"
import { TorchFileError } from "./TorchFileError.ts"

/** The names that torch's storages have in a pickle; formats that it has no such name for are not written. */
const storages: Partial<Record<Dtype, string>> = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  F64: "DoubleStorage",
  I64: "LongStorage"
}

type Shaped = Pick<TensorSource, "name" | "dtype" | "shape">

const countOf = ({ shape }: Shaped): number => shape.reduce((product, n) => product * n, 1)

/** Bytes of a tensor's storage. */
export const bytesOf = (tensor: Shaped): number => countOf(tensor) * dtypeBytes[tensor.dtype]

const text = (value: string): Buffer => {
  const raw = Buffer.from(value)
  const head = Buffer.from([0x58, 0, 0, 0, 0])
  head.writeUInt32LE(raw.length, 1)
  return Buffer.concat([head, raw])
}
const integer = (value: number): Buffer => {
  const out = Buffer.from([0x4a, 0, 0, 0, 0])
  out.writeInt32LE(value, 1)
  return out
}
const ascii = (value: string): Buffer => Buffer.from(value, "latin1")
const tuple = (items: ReadonlyArray<Buffer>): Buffer => Buffer.concat([ascii("("), ...items, ascii("t")])

/**
 * The pickle of a dictionary of contiguous tensors; tensor `i` is all of storage `i`. Fails for a format without a
 * storage of torch's; `path` is where the file will lie, for the error.
 *
 * @example
 * yield* statePickle("mm_projector.bin", [{ name: "model.mm_projector.0.bias", dtype: "F32", shape: [2560] }])
 */
export const statePickle = (
  path: string,
  tensors: ReadonlyArray<Shaped>
): Effect.Effect<Uint8Array, TorchFileError> => {
  const odd = tensors.find(({ dtype }) => storages[dtype] === undefined)
  if (odd !== undefined)
    return Effect.fail(
      new TorchFileError({
        path,
        reason: "refused",
        tensor: odd.name,
        message: `${odd.name} is ${odd.dtype}, which is not written`,
        hint: `Write it as one of ${Object.keys(storages).join(", ")}.`
      })
    )
  return Effect.sync(() =>
    Buffer.concat([
      Buffer.from([0x80, 2]),
      ascii("}("),
      ...tensors.flatMap((tensor, i) => {
        const { dtype, name, shape } = tensor
        const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, 1))
        const id = [
          text("storage"),
          ascii(`ctorch\n${storages[dtype]!}\n`),
          text(String(i)),
          text("cpu"),
          integer(countOf(tensor))
        ]
        return [
          text(name),
          ascii("ctorch._utils\n_rebuild_tensor_v2\n"),
          tuple([
            Buffer.concat([tuple(id), ascii("Q")]),
            integer(0),
            tuple(shape.map(integer)),
            tuple(strides.map(integer)),
            Buffer.from([0x89]),
            ascii("ccollections\nOrderedDict\n)R")
          ]),
          ascii("R")
        ]
      }),
      ascii("u.")
    ])
  )
}
