/**
 * Pixels made on the device from the bytes that are stored: a quarter of what normalised floats would take on the way.
 *
 * Not a decoder. The same numbers as on the host, bit for bit: each byte looks up what it is normalised to.
 */
import type { Compute } from "../Tensors.ts"
import { dtypes } from "./Addon.ts"
import { inSteps } from "./Attention.ts"
import type { TorchBackend } from "./Backend.ts"

/** `Compute.pixels` by a look-up on the device. */
export const gatherPixels =
  (backend: TorchBackend): Compute["pixels"] =>
  (bytes_MHWC, shape, levels) =>
    inSteps(backend, (keep) => {
      const { addon } = backend
      const channels = shape[3]
      const flat = new Float32Array(256 * channels)
      for (const [channel, level] of levels.entries()) flat.set(level, 256 * channel)
      const table = keep(addon.upload(flat, [256 * channels, 1], dtypes.float32))
      const starts = keep(
        addon.upload(
          Int32Array.from({ length: channels }, (_, channel) => 256 * channel),
          [channels],
          dtypes.int32
        )
      )
      const bytes = keep(addon.upload(bytes_MHWC, shape, dtypes.uint8))
      const rows = keep(addon.aten("add.Tensor")(bytes, starts).tensor())
      const looked = keep(addon.aten("embedding")(table, rows).tensor())
      const turned = keep(
        addon
          .aten("permute")(keep(addon.aten("squeeze.dim")(looked, -1).tensor()), [0, 3, 1, 2])
          .tensor()
      )
      return addon.aten("contiguous")(turned).tensor()
    })
