/**
 * A Parquet file on the local disk: its footer, and bytes by range.
 *
 * Not the rows. Nothing is read beyond the footer when it is opened; every range asked for is checked against the
 * file's size first.
 */
import { type FileHandle, open } from "node:fs/promises"
import type { FileMetaData } from "hyparquet"
import { missing } from "../dag/Missing.ts"
import { HEAD_BYTES, wrongFile } from "../dag/WrongFile.ts"
import { thriftEnd } from "./ParquetBounds.ts"
import { damaged, errorOf, ParquetFault } from "./ParquetError.ts"

const { parquetMetadata } = await import("hyparquet").catch(missing("hyparquet"))

/** A footer larger than this is no footer: some million column chunks. */
const MAX_FOOTER = 1 << 28

/** An open file. Close it. */
export interface OpenFile {
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly metadata: FileMetaData
  /** Bytes `at ... at + length`, in memory of their own. */
  readonly read: (at: number, length: number) => Promise<Buffer>
  readonly close: () => Promise<void>
}

const pread = async (file: FileHandle, size: number, at: number, length: number): Promise<Buffer> => {
  if (!(at >= 0 && length >= 0 && at + length <= size)) throw damaged(`bytes ${at}+${length} lie outside of ${size}`)
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done)
    if (bytesRead === 0) throw new ParquetFault("truncated", `the file ended at byte ${at + done} while it was read`)
    done += bytesRead
  }
  return bytes
}

/** What a file that is not Parquet seems to be. */
const foreign = (head: Buffer, size: number): ParquetFault => {
  const encrypted = head.toString("latin1", 0, 4) === "PARE"
  const wrong = encrypted
    ? { message: "is encrypted, which is not read", hint: "Write it again without encryption." }
    : wrongFile(head, size, "parquet")
  return new ParquetFault("not-parquet", wrong?.message ?? "does not begin with PAR1", wrong ?? {})
}

const footerOf = async (read: OpenFile["read"], size: number): Promise<FileMetaData> => {
  const head = await read(0, Math.min(size, HEAD_BYTES))
  if (head.toString("latin1", 0, 4) !== "PAR1") throw foreign(head, size)
  if (size < 12) throw new ParquetFault("truncated", `${size} bytes are too few for a Parquet file`)
  const tail = await read(size - 8, 8)
  if (tail.toString("latin1", 4) !== "PAR1") throw new ParquetFault("truncated", "the file does not end with PAR1")
  const length = tail.readUInt32LE(0)
  if (length > Math.min(size - 12, MAX_FOOTER)) throw damaged(`a footer of ${length} bytes cannot be`)
  const footer = new Uint8Array(await read(size - 8 - length, length + 8))
  thriftEnd(footer.subarray(0, length), 0)
  // Geospatial columns are not read, so the file's own JSON about them need not be either.
  return parquetMetadata(footer, { geoparquet: false })
}

/** Opens a file and reads its footer. Rejects with `ParquetError`. */
export const openFile = async (path: string): Promise<OpenFile> => {
  const file = await open(path, "r").catch((cause) => {
    throw errorOf(path, cause, { reason: "unreadable" })
  })
  try {
    const { size } = await file.stat()
    const read: OpenFile["read"] = (at, length) => pread(file, size, at, length)
    const metadata = await footerOf(read, size)
    return { path, size, metadata, read, close: () => file.close() }
  } catch (cause) {
    await file.close()
    const isIo = cause instanceof Error && "syscall" in cause
    throw errorOf(path, cause, isIo ? { reason: "unreadable" } : {})
  }
}
