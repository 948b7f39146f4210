/**
 * A linear whose matrix stays in four bits on the device: the addon's, with the tables of `../Nf4.ts`.
 *
 * Not the quantising: bytes come as that file makes them.
 */
import { checkNf4Linear, dynamicValues, nf4Values } from "../Nf4.ts"
import { type Tensor, tf } from "../Ops.ts"
import type { Compute } from "../Tensors.ts"
import { dtypes } from "./Addon.ts"
import { inSteps, type Keep } from "./Attention.ts"
import type { TorchBackend } from "./Backend.ts"

export const makeNf4 = (
  backend: TorchBackend,
  wide: (x: Tensor, keep: Keep) => number,
  weight: (x: Tensor, keep: Keep) => number
): Pick<Compute, "bytes" | "nf4Linear"> => {
  const { addon } = backend
  /** The two weights of a byte, and the magnitude of one: kept for the life of the process. */
  let tables: readonly [pairs: Tensor, dynamic: Tensor] | undefined
  const tablesOf = () => {
    tables ??= [
      tf.keep(
        tf.tensor2d(
          Float32Array.from({ length: 512 }, (_, i) => nf4Values[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]!),
          [256, 2]
        )
      ),
      tf.keep(tf.tensor1d(dynamicValues))
    ]
    return tables
  }
  return {
    // Of what TF.js knows, `bool` alone is a byte.
    bytes: (values, shape) => backend.tensor(addon.upload(values, shape, dtypes.uint8), "bool"),
    nf4Linear: (x, packed, bias) => {
      checkNf4Linear(x, packed, bias)
      return inSteps(backend, (keep) => {
        const parts = [packed.codes, packed.magnitudes, packed.scales, ...tablesOf()]
        return addon.own(
          "nf4Linear",
          [
            wide(x, keep),
            ...parts.map((part) => backend.handle(part)),
            ...(bias === undefined ? [0] : [1, weight(bias, keep)])
          ],
          (results) => results.tensor()
        )
      })
    }
  }
}
