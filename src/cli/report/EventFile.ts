/**
 * Scalars as a TensorBoard event file: bytes from values, nothing is written here.
 *
 * Not a protobuf library. The two layers are those of TensorFlow's sources: `lib/io/record_writer.h` (a record is its
 * length as uint64, the masked CRC-32C of that, the data, the masked CRC-32C of the data; little-endian) and
 * `util/event.proto` with `framework/summary.proto`, of which five fields are used:
 *
 * | message         | field | number | wire type    |
 * |-----------------|-------|--------|--------------|
 * | `Event`         | `wall_time` (seconds)  | 1 | fixed64, double |
 * | `Event`         | `step`                 | 2 | varint          |
 * | `Event`         | `file_version`         | 3 | bytes           |
 * | `Event`         | `summary`              | 5 | bytes           |
 * | `Summary`       | `value` (repeated)     | 1 | bytes           |
 * | `Summary.Value` | `tag`                  | 1 | bytes           |
 * | `Summary.Value` | `simple_value`         | 2 | fixed32, float  |
 */

/** Table of CRC-32C (Castagnoli), reflected polynomial 0x82f63b78; zlib has the other CRC-32 only. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc >>> 0
})

/** CRC-32C of bytes. */
export const crc32c = (bytes: Uint8Array): number => {
  let crc = 0xffffffff
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

/** Rotated and shifted, as records want it: a CRC over data that holds CRCs would be weak. */
const masked = (bytes: Uint8Array): number => {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** One record around its data. */
const framed = (data: Uint8Array): Uint8Array => {
  const out = Buffer.alloc(16 + data.length)
  out.writeBigUInt64LE(BigInt(data.length), 0)
  out.writeUInt32LE(masked(out.subarray(0, 8)), 8)
  out.set(data, 12)
  out.writeUInt32LE(masked(data), 12 + data.length)
  return out
}

const varint = (value: number): ReadonlyArray<number> => {
  const out: Array<number> = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  out.push(rest)
  return out
}

const bytesField = (number: number, data: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.from([(number << 3) | 2, ...varint(data.length)]), data])

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

const wallTime = (atMs: number): Uint8Array => {
  const out = Buffer.alloc(9)
  out[0] = (1 << 3) | 1
  out.writeDoubleLE(atMs / 1000, 1)
  return out
}

/** The record that every event file starts with. `atMs` is milliseconds since 1970. */
export const fileVersion = (atMs: number): Uint8Array =>
  framed(Buffer.concat([wallTime(atMs), bytesField(3, text("brain.Event:2"))]))

/**
 * One record: figures after a step, a tag each. `step` is a whole number from 0 to 2^53 - 1; figures become float32.
 *
 * @example
 * scalars(Date.now(), 120, { "sft/train/loss": 1.25 })
 */
export const scalars = (atMs: number, step: number, figures: Readonly<Record<string, number>>): Uint8Array => {
  if (!Number.isSafeInteger(step) || step < 0) throw new RangeError(`${step} is no step`)
  const values = Object.entries(figures).map(([tag, value]) => {
    const simple = Buffer.alloc(5)
    simple[0] = (2 << 3) | 5
    simple.writeFloatLE(value, 1)
    return bytesField(1, Buffer.concat([bytesField(1, text(tag)), simple]))
  })
  return framed(
    Buffer.concat([wallTime(atMs), Uint8Array.from([2 << 3, ...varint(step)]), bytesField(5, Buffer.concat(values))])
  )
}

/** Name of an event file: TensorBoard looks for `tfevents` in it and sorts by the seconds. */
export const eventFileName = (atMs: number): string =>
  `events.out.tfevents.${String(Math.floor(atMs / 1000)).padStart(10, "0")}.millrace`
