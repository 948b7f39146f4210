/**
 * Event files are what TensorBoard reads: decoded here by a second reader, written from the format's description alone
 * (records by length and CRC, protobuf by wire types), with a CRC taken bit by bit.
 */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { crc32c, eventFileName, fileVersion, scalars } from "../../../src/cli/report/EventFile.ts"

/** CRC-32C as polynomial division, most significant bit first on reflected bytes; no table. */
const crcBits = (bytes: Uint8Array): number => {
  let register = 0xffffffffn
  for (const byte of bytes)
    for (let bit = 0n; bit < 8n; bit++) {
      const out = (register ^ (BigInt(byte) >> bit)) & 1n
      register = (register >> 1n) ^ (out === 1n ? 0x82f63b78n : 0n)
    }
  return Number(register ^ 0xffffffffn)
}

const unmask = (crc: number): number => {
  const rotated = (crc - 0xa282ead8) >>> 0
  return ((rotated >>> 17) | (rotated << 15)) >>> 0
}

/** Data of each record; throws on any length or CRC that does not hold. */
const records = (file: Uint8Array): ReadonlyArray<Uint8Array> => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const out: Array<Uint8Array> = []
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true))
    if (unmask(view.getUint32(at + 8, true)) !== crcBits(file.subarray(at, at + 8))) throw new Error("length CRC")
    const data = file.subarray(at + 12, at + 12 + length)
    if (unmask(view.getUint32(at + 12 + length, true)) !== crcBits(data)) throw new Error("data CRC")
    out.push(data)
    at += 16 + length
  }
  return out
}

type Field = { readonly number: number; readonly value: bigint | Uint8Array }

/** Fields of a protobuf message, by wire type. */
const fields = (message: Uint8Array): ReadonlyArray<Field> => {
  const out: Array<Field> = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const key = Number(varint())
    const take = (length: number) => message.subarray(at, (at += length))
    const kind = key & 7
    const value = kind === 0 ? varint() : take(kind === 1 ? 8 : kind === 5 ? 4 : Number(varint()))
    out.push({ number: key >> 3, value })
  }
  return out
}

const double = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true)
const float = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true)
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

const decode = (message: Uint8Array) => {
  const found = new Map(fields(message).map(({ number, value }) => [number, value]))
  const values = found.has(5) ? fields(found.get(5) as Uint8Array).map(({ value }) => fields(value as Uint8Array)) : []
  return {
    wallTime: double(found.get(1) as Uint8Array),
    step: found.get(2),
    version: found.has(3) ? text(found.get(3) as Uint8Array) : undefined,
    figures: values.map(([tag, simple]) => [text(tag!.value as Uint8Array), float(simple!.value as Uint8Array)])
  }
}

it("the CRC is Castagnoli's", () => {
  // Check values of RFC 3720, appendix B.4.
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283)
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
})

it("a file starts with the version, and its name is one that TensorBoard looks for", () => {
  expect(records(fileVersion(1_500)).map(decode)).toEqual([
    { wallTime: 1.5, step: undefined, version: "brain.Event:2", figures: [] }
  ])
  expect(eventFileName(1_795_393_913_494)).toBe("events.out.tfevents.1795393913.millrace")
})

const Steps = Arbitrary.array(
  Arbitrary.schema(
    Schema.Struct({
      at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4e12 })),
      step: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
      figures: Schema.Record(Schema.String.check(Schema.isMaxLength(200)), Schema.Finite)
    })
  ),
  { maxLength: 8 }
)

it.prop("a second reader gets back time, step, tags and figures as float32", [Steps], ([steps]) => {
  const file = Buffer.concat(steps.map(({ at, figures, step }) => scalars(at, step, figures)))
  const read = records(file).map(decode)
  expect(read).toHaveLength(steps.length)
  for (const [i, { at, figures, step }] of steps.entries()) {
    expect([read[i]!.wallTime, read[i]!.step]).toEqual([at / 1000, BigInt(step)])
    // A tag is text: halves of a character become the replacement character.
    expect(read[i]!.figures).toEqual(
      Object.entries(figures).map(([tag, value]) => [tag.toWellFormed(), Math.fround(value)])
    )
  }
})

it("a figure that is not a number is kept as such, a step that is none is refused", () => {
  expect(decode(records(scalars(0, 7, { loss: Number.NaN }))[0]!).figures).toEqual([["loss", Number.NaN]])
  for (const step of [-1, 0.5, 2 ** 53]) expect(() => scalars(0, step, { loss: 1 })).toThrow(RangeError)
})
