/** Temporary. */
import { crc32 } from "node:zlib"

export const storedZip = (
  entries: ReadonlyArray<{ readonly name: string; readonly bytes: Uint8Array }>
): Uint8Array => {
  const utf8 = new TextEncoder()
  const chunks: Array<Uint8Array> = []
  const directory: Array<Uint8Array> = []
  let offset = 0
  const header = (size: number, fields: ReadonlyArray<readonly [2 | 4, number]>): Uint8Array => {
    const out = new Uint8Array(size)
    const view = new DataView(out.buffer)
    let at = 0
    for (const [width, value] of fields) {
      if (width === 2) view.setUint16(at, value, true)
      else view.setUint32(at, value, true)
      at += width
    }
    return out
  }
  for (const { name, bytes } of entries) {
    const n = utf8.encode(name)
    const crc = crc32(bytes)
    chunks.push(
      header(30, [
        [4, 0x04034b50],
        [2, 20],
        [2, 0x800],
        [2, 0],
        [2, 0],
        [2, 0x21],
        [4, crc],
        [4, bytes.length],
        [4, bytes.length],
        [2, n.length],
        [2, 0]
      ]),
      n,
      bytes
    )
    directory.push(
      header(46, [
        [4, 0x02014b50],
        [2, 20],
        [2, 20],
        [2, 0x800],
        [2, 0],
        [2, 0],
        [2, 0x21],
        [4, crc],
        [4, bytes.length],
        [4, bytes.length],
        [2, n.length],
        [2, 0],
        [2, 0],
        [2, 0],
        [2, 0],
        [4, 0],
        [4, offset]
      ]),
      n
    )
    offset += 30 + n.length + bytes.length
  }
  const size = directory.reduce((sum, d) => sum + d.length, 0)
  const end = header(22, [
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, entries.length],
    [2, entries.length],
    [4, size],
    [4, offset],
    [2, 0]
  ])
  return Buffer.concat([...chunks, ...directory, end])
}
