/**
 * Compression of Parquet pages: zstd, gzip and brotli of `node:zlib`, snappy of `hyparquet`.
 *
 * Not LZO and not Hadoop's LZ4: both are rare, and Node has neither. A page never grows beyond what its header says,
 * which its reader has checked.
 */
import { brotliDecompressSync, gunzipSync, constants as zlib, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { missing } from "../dag/Missing.ts"
import { damaged, ParquetFault } from "./ParquetError.ts"

const { snappyUncompress } = await import("hyparquet").catch(missing("hyparquet"))

const inflate = (codec: string, bytes: Buffer, maxOutputLength: number): Uint8Array => {
  switch (codec) {
    case "UNCOMPRESSED":
      return bytes
    case "SNAPPY": {
      const out = new Uint8Array(maxOutputLength)
      snappyUncompress(bytes, out)
      return out
    }
    case "ZSTD":
      return zstdDecompressSync(bytes, { maxOutputLength })
    case "GZIP":
      return gunzipSync(bytes, { maxOutputLength })
    case "BROTLI":
      return brotliDecompressSync(bytes, { maxOutputLength })
    default:
      throw new ParquetFault("unsupported", `compression ${codec} is not read`, {
        hint: "Write the file again with zstd, snappy or gzip."
      })
  }
}

/** `size` bytes of a page out of its compressed ones. Throws `ParquetFault`. */
export const decompress = (codec: string, bytes: Buffer, size: number): Buffer => {
  if (size === 0) return Buffer.alloc(0)
  const out = inflate(codec, bytes, size)
  if (out.byteLength !== size) throw damaged(`a page of ${out.byteLength} bytes in place of ${size}`)
  return Buffer.from(out.buffer, out.byteOffset, out.byteLength)
}

/** zstd at its default level, with a checksum, so that damage is noticed. Equal bytes with one version of Node. */
export const compressZstd = (bytes: Uint8Array): Uint8Array =>
  zstdCompressSync(bytes, { params: { [zlib.ZSTD_c_checksumFlag]: 1 } })
