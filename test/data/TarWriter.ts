/** Writes small tar files in memory, in any of the dialects that `Tar` reads: for tests and fuzzing. */

/** How a long name or a size is written. `ustar` splits names at a slash and takes no long ones. */
export type TarDialect = "v7" | "ustar" | "gnu" | "pax"

export interface TarEntry {
  readonly name: string
  readonly data?: Uint8Array
  /** "0" unless given. */
  readonly type?: string
  readonly link?: string
  readonly dialect?: TarDialect
  /** Sizes in base 256, as GNU tar writes those over 8 GiB. */
  readonly base256?: boolean
}

const put = (block: Buffer, at: number, value: Uint8Array | string): void => {
  block.set(typeof value === "string" ? Buffer.from(value, "latin1") : value, at)
}

/** Writes the checksum of a header block. */
export const seal = (block: Buffer): Buffer => {
  put(block, 148, "        ")
  put(
    block,
    148,
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `
  )
  return block
}

const sizeField = (size: number, base256: boolean): Buffer => {
  const field = Buffer.alloc(12)
  if (!base256) field.write(size.toString(8).padStart(11, "0"), "latin1")
  else {
    field[0] = 0x80
    field.writeBigUInt64BE(BigInt(size), 4)
  }
  return field
}

/** One header block. */
export const tarHeader = (
  name: Uint8Array,
  options: {
    readonly prefix?: Uint8Array
    readonly size?: number
    readonly type?: string
    readonly link?: Uint8Array
    readonly dialect?: TarDialect
    readonly base256?: boolean
  } = {}
): Buffer => {
  const block = Buffer.alloc(512)
  const { base256 = false, dialect = "ustar", link, prefix, size = 0, type = "0" } = options
  put(block, 0, name.subarray(0, 100))
  put(block, 100, "0000644\0" + "0000000\0" + "0000000\0")
  put(block, 124, sizeField(size, base256))
  put(block, 136, "00000000000\0")
  put(block, 156, dialect === "v7" && type === "0" ? "\0" : type)
  if (link !== undefined) put(block, 157, link.subarray(0, 100))
  if (dialect === "ustar" || dialect === "pax") put(block, 257, "ustar\x0000")
  if (dialect === "gnu") put(block, 257, "ustar  \0")
  if (prefix !== undefined) put(block, 345, prefix)
  return seal(block)
}

const blocks = (data: Uint8Array): Buffer => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)])

export const paxRecord = (key: string, value: string): Buffer => {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + 1
  while (String(length).length + rest !== length) length = String(length).length + rest
  return Buffer.from(`${length} ${key}=${value}\n`)
}

/** The end of an archive: two blocks of zeros. */
export const tarEnd: Buffer = Buffer.alloc(1024)

/** One entry with whatever headers its dialect needs for it. */
export const tarEntry = (entry: TarEntry): Buffer => {
  const { base256 = false, data = new Uint8Array(0), dialect = "ustar", type = "0" } = entry
  const name = Buffer.from(entry.name)
  const link = entry.link === undefined ? undefined : Buffer.from(entry.link)
  const more = { size: data.length, type, dialect, base256, ...(link === undefined ? {} : { link }) }
  const parts: Array<Buffer> = []
  let short: Buffer = name
  let prefix: Buffer | undefined
  if (name.length > 100 || (link?.length ?? 0) > 100) {
    if (dialect === "gnu") {
      for (const [kind, value] of [
        ["L", name],
        ["K", link]
      ] as const) {
        if (value === undefined || value.length <= 100) continue
        const body = Buffer.concat([value, Buffer.alloc(1)])
        parts.push(tarHeader(Buffer.from("././@LongLink"), { size: body.length, type: kind, dialect }), blocks(body))
      }
    } else if (dialect === "pax") {
      const body = Buffer.concat([
        paxRecord("path", entry.name),
        ...(entry.link === undefined ? [] : [paxRecord("linkpath", entry.link)])
      ])
      parts.push(tarHeader(Buffer.from("PaxHeaders/x"), { size: body.length, type: "x", dialect }), blocks(body))
    } else {
      const cut = name.indexOf("/", Math.max(0, name.length - 101))
      if (cut < 0 || cut > 155) throw new Error(`${entry.name} does not fit into ustar`)
      prefix = name.subarray(0, cut)
      short = name.subarray(cut + 1)
    }
  }
  parts.push(tarHeader(short, prefix === undefined ? more : { ...more, prefix }), blocks(data))
  return Buffer.concat(parts)
}

/** A whole archive. */
export const tarBytes = (entries: Iterable<TarEntry>): Buffer =>
  Buffer.concat([...Array.from(entries, tarEntry), tarEnd])
