/**
 * Parquet files byte by byte, with whatever counts and sizes a test wants them to claim. Not a writer: nothing is
 * checked.
 */

const varint = (value: number | bigint): Buffer => {
  const out: Array<number> = []
  let left = BigInt(value)
  for (; left > 127n; left >>= 7n) out.push(Number(left & 127n) | 128)
  return Buffer.from([...out, Number(left)])
}
const zigzag = (value: number): Buffer => varint(value < 0 ? BigInt(-value) * 2n - 1n : BigInt(value) * 2n)

/** A field of a Thrift struct: type and bytes. */
type Field = readonly [type: number, bytes: Buffer]
export const i32 = (value: number): Field => [5, zigzag(value)]
export const i64 = (value: number): Field => [6, zigzag(value)]
export const text = (value: string): Field => [8, Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)])]
export const struct = (fields: Readonly<Record<number, Field>>): Field => {
  const out: Array<Buffer> = []
  let last = 0
  for (const [id, [type, bytes]] of Object.entries(fields)) {
    out.push(Buffer.from([((Number(id) - last) << 4) | type]), bytes)
    last = Number(id)
  }
  return [12, Buffer.concat([...out, Buffer.from([0])])]
}
export const list = (items: ReadonlyArray<Field>, type = items[0]?.[0] ?? 12): Field => [
  9,
  Buffer.concat([Buffer.from([0xf0 | type]), varint(items.length), ...items.map(([, bytes]) => bytes)])
]

/** A run of one value of less than a byte. */
export const run = (value: number, count: number): Buffer => Buffer.concat([varint(count * 2), Buffer.from([value])])
const lengthed = (bytes: Buffer): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(bytes.length)
  return Buffer.concat([head, bytes])
}
/** Texts as PLAIN has them. */
export const plain = (...texts: ReadonlyArray<string | Buffer>): Buffer =>
  Buffer.concat(texts.map((one) => lengthed(Buffer.from(one as string))))

const encodings = { PLAIN: 0, RLE_DICTIONARY: 8, DELTA_BYTE_ARRAY: 7 } as const

/** A data page of version 1, uncompressed; `claims` is what its header says it unfolds to. */
export const page = (options: {
  readonly values: number
  readonly encoding: keyof typeof encodings
  readonly reps?: Buffer
  readonly defs?: Buffer
  readonly data: Buffer
  readonly claims?: number
}): Buffer => {
  const { claims, data, defs, encoding, reps, values } = options
  const body = Buffer.concat([
    ...(reps === undefined ? [] : [lengthed(reps)]),
    ...(defs === undefined ? [] : [lengthed(defs)]),
    data
  ])
  const of = struct({ 1: i32(values), 2: i32(encodings[encoding]), 3: i32(3), 4: i32(3) })
  const header = struct({ 1: i32(0), 2: i32(claims ?? body.length), 3: i32(body.length), 5: of })
  return Buffer.concat([header[1], body])
}

export const dictionary = (values: number, data: Buffer): Buffer =>
  Buffer.concat([
    struct({ 1: i32(2), 2: i32(data.length), 3: i32(data.length), 7: struct({ 1: i32(values), 2: i32(0) }) })[1],
    data
  ])

/** A column of texts: required, or a repeated one (rep 1, def 1 where an item is). */
export interface TextColumn {
  readonly name: string
  readonly repeated?: boolean
  readonly pages: ReadonlyArray<Buffer>
}

/** A file of text columns in one row group. */
export const parquetBytes = (rows: number, columns: ReadonlyArray<TextColumn>, footer?: Buffer): Buffer => {
  const out: Array<Buffer> = [Buffer.from("PAR1")]
  let at = 4
  const chunks = columns.map(({ name, pages }) => {
    const bytes = Buffer.concat(pages)
    const chunk = struct({
      2: i64(at),
      3: struct({
        1: i32(6),
        2: list([i32(0)]),
        3: list([text(name)]),
        4: i32(0),
        5: i64(rows),
        6: i64(bytes.length),
        7: i64(bytes.length),
        9: i64(at)
      })
    })
    out.push(bytes)
    at += bytes.length
    return chunk
  })
  const schema = [
    struct({ 4: text("schema"), 5: i32(columns.length) }),
    ...columns.map(({ name, repeated }) =>
      struct({ 1: i32(6), 3: i32(repeated === true ? 2 : 0), 4: text(name), 6: i32(0) })
    )
  ]
  const metadata =
    footer ??
    struct({
      1: i32(1),
      2: list(schema),
      3: i64(rows),
      4: list([struct({ 1: list(chunks), 2: i64(at), 3: i64(rows) })])
    })[1]
  const length = Buffer.alloc(4)
  length.writeUInt32LE(metadata.length)
  return Buffer.concat([...out, metadata, length, Buffer.from("PAR1")])
}
