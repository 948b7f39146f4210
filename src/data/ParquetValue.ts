/**
 * What a stored Parquet value is as a JavaScript value: exact, or an error.
 *
 * Text is a string, and bytes that are not UTF-8 are an error. JSON columns are parsed. Integers and floats are
 * numbers; an int64 that no number holds is an error unless bigints are asked for, for all of the column or for such
 * values alone. Decimals, dates, times and timestamps are texts with every digit that is stored (`12.30`, `2024-02-29`,
 * `2024-02-29T12:00:00.000001Z`, without `Z` where the file names no zone): a float or a `Date` would lose some. Pure.
 */
import { isUtf8 } from "node:buffer"
import { missing } from "../dag/Missing.ts"
import { parseJson } from "./JsonText.ts"
import { CellFault, damaged, ParquetFault } from "./ParquetError.ts"
import type { Leaf } from "./ParquetShape.ts"

const { parseFloat16 } = await import("hyparquet/src/convert.js").catch(missing("hyparquet"))

/**
 * How 64-bit integers are given: as numbers, where one that is not safe is an error; as bigints; or each as a number
 * where that is exact and as a bigint where not.
 */
export type Int64 = "number" | "bigint" | "exact"

/** One stored value (boolean, number, bigint or bytes) as the value of a row. Throws `ParquetFault`. */
export type Decode = (stored: never) => unknown

const pad = (value: bigint | number, digits: number): string => String(value).padStart(digits, "0")

/** Unscaled digits with a point: 1230 at scale 2 is 12.30. */
export const decimalText = (unscaled: bigint, scale: number): string => {
  const digits = pad(unscaled < 0n ? -unscaled : unscaled, scale + 1)
  const sign = unscaled < 0n ? "-" : ""
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** Days since 1970-01-01 as a date of the proleptic Gregorian calendar; years beyond 9999 and before 0 have a sign. */
export const dateText = (days: number): string => {
  // Howard Hinnant's civil_from_days: eras of 400 years that begin on 1 March.
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const sign = year < 0 ? "-" : year > 9999 ? "+" : ""
  return `${sign}${pad(Math.abs(year), sign === "" ? 4 : 6)}-${pad(month, 2)}-${pad(day, 2)}`
}

const PER_SECOND = { MILLIS: 1_000n, MICROS: 1_000_000n, NANOS: 1_000_000_000n } as const
type Unit = keyof typeof PER_SECOND

const timeText = (value: bigint, unit: Unit): string => {
  const perSecond = PER_SECOND[unit]
  if (value < 0n || value > 86_400n * perSecond)
    throw new CellFault(`${value} ${unit.toLowerCase()} are no time of a day`)
  const seconds = Number(value / perSecond)
  const fraction = pad(value % perSecond, String(perSecond).length - 1)
  return `${pad(Math.floor(seconds / 3600), 2)}:${pad(Math.floor(seconds / 60) % 60, 2)}:${pad(seconds % 60, 2)}.${fraction}`
}

/** A count of units since 1970-01-01T00:00 as text. */
export const timestampText = (value: bigint, unit: Unit, utc: boolean): string => {
  const perDay = 86_400n * PER_SECOND[unit]
  const inDay = ((value % perDay) + perDay) % perDay
  return `${dateText(Number((value - inDay) / perDay))}T${timeText(inDay, unit)}${utc ? "Z" : ""}`
}

/** Bytes of a decimal of 1,000 digits. */
const MAX_DECIMAL = 416
const NANOS_A_DAY = 86_400_000_000_000n

/** Big-endian two's complement. */
const bigEndian = (bytes: Uint8Array): bigint => {
  if (bytes.byteLength === 0) return 0n
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")
  return BigInt.asIntN(bytes.byteLength * 8, BigInt(`0x${hex}`))
}

/** UTF-8 bytes as a string; whatever is not UTF-8 is an error, and never a replacement character. */
export const textOf = (bytes: Buffer, start: number, end: number): string => {
  const text = bytes.toString("utf8", start, end)
  if (text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end))) throw new CellFault("a text is not UTF-8")
  return text
}

const stringOf = (bytes: Uint8Array): string =>
  textOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.byteLength)

const uuidText = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")

const jsonOf = (bytes: Uint8Array): unknown => {
  const text = stringOf(bytes)
  try {
    return parseJson(text)
  } catch (cause) {
    throw new CellFault("a value of the JSON column is not JSON", { cause })
  }
}

const safeInteger = (value: bigint): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) {
    throw new ParquetFault("out-of-range", `${value} is larger than a number can hold exactly`)
  }
  return number
}

/** True where values of the column are texts, which the page reader makes by itself. */
export const isText = ({ element }: Leaf): boolean =>
  element.type === "BYTE_ARRAY" &&
  (element.converted_type === "UTF8" ||
    element.converted_type === "ENUM" ||
    element.logical_type?.type === "STRING" ||
    element.logical_type?.type === "ENUM")

const same = (value: unknown): unknown => value

/**
 * How values of a column are read; JSON is parsed or left as its text. Throws `ParquetFault` for a type that is not.
 */
export const decodeOf = (leaf: Leaf, int64: Int64, json: "parsed" | "text"): Decode => {
  const { converted_type: converted, logical_type: logical, scale, type } = leaf.element
  const integer = (value: bigint): unknown => {
    if (int64 === "bigint") return value
    return int64 === "exact" && !Number.isSafeInteger(Number(value)) ? value : safeInteger(value)
  }
  const kind = logical?.type
  const refuse = (what: string): never => {
    throw new ParquetFault("unsupported", `${what} is not read`, { column: leaf.path })
  }
  if (kind === "DECIMAL" || converted === "DECIMAL") {
    const places = (logical?.type === "DECIMAL" ? logical.scale : scale) ?? 0
    if (places < 0 || places > 1000) throw damaged(`a decimal of scale ${places}`, leaf.path)
    const digits = (logical?.type === "DECIMAL" ? logical.precision : leaf.element.precision) ?? 0
    const beyond = digits > 0 && digits <= 1000 ? 10n ** BigInt(digits) : undefined
    return (stored: number | bigint | Uint8Array) => {
      if (stored instanceof Uint8Array && (stored.byteLength === 0 || stored.byteLength > MAX_DECIMAL))
        throw new CellFault(`a decimal of ${stored.byteLength} bytes`)
      const unscaled = stored instanceof Uint8Array ? bigEndian(stored) : BigInt(stored)
      if (beyond !== undefined && (unscaled >= beyond || -unscaled >= beyond))
        throw new CellFault(`a decimal of more than the ${digits} digits of its column`)
      return decimalText(unscaled, places)
    }
  }
  switch (type) {
    case "BOOLEAN":
    case "FLOAT":
    case "DOUBLE":
      return same
    case "INT32":
      if (kind === "DATE" || converted === "DATE") return dateText
      if (kind === "TIME" || converted === "TIME_MILLIS") return (stored: number) => timeText(BigInt(stored), "MILLIS")
      return converted === "UINT_32" || (logical?.type === "INTEGER" && !logical.isSigned)
        ? (stored: number) => stored >>> 0
        : same
    case "INT64": {
      if (logical?.type === "TIMESTAMP")
        return (stored: bigint) => timestampText(stored, logical.unit, logical.isAdjustedToUTC)
      if (converted === "TIMESTAMP_MILLIS") return (stored: bigint) => timestampText(stored, "MILLIS", true)
      if (converted === "TIMESTAMP_MICROS") return (stored: bigint) => timestampText(stored, "MICROS", true)
      if (logical?.type === "TIME") return (stored: bigint) => timeText(stored, logical.unit)
      if (converted === "TIME_MICROS") return (stored: bigint) => timeText(stored, "MICROS")
      return converted === "UINT_64" || (logical?.type === "INTEGER" && !logical.isSigned)
        ? (stored: bigint) => integer(BigInt.asUintN(64, stored))
        : integer
    }
    case "INT96":
      // Julian day in the upper 32 bits, nanoseconds of the day below: how Impala and older Spark write timestamps.
      return (stored: bigint) => {
        const nanos = BigInt.asUintN(64, stored)
        if (nanos >= NANOS_A_DAY) throw new CellFault(`${nanos} nanos are no time of a day`)
        return timestampText(((stored >> 64n) - 2_440_588n) * NANOS_A_DAY + nanos, "NANOS", false)
      }
    case "BYTE_ARRAY":
      if (isText(leaf)) return stringOf
      if (kind === "JSON" || converted === "JSON") return json === "text" ? stringOf : jsonOf
      if (kind !== undefined || converted !== undefined) return refuse(String(kind ?? converted))
      return (stored: Uint8Array) => new Uint8Array(stored)
    case "FIXED_LEN_BYTE_ARRAY":
      if (kind === "UUID" && leaf.element.type_length !== 16) throw damaged("a UUID of other than 16 bytes", leaf.path)
      if (kind === "UUID") return uuidText
      if (kind === "FLOAT16" && leaf.element.type_length !== 2)
        throw damaged("a FLOAT16 of other than 2 bytes", leaf.path)
      if (kind === "FLOAT16") return (stored: Uint8Array) => parseFloat16(stored)
      if (kind !== undefined || converted !== undefined) return refuse(String(kind ?? converted))
      return (stored: Uint8Array) => new Uint8Array(stored)
    default:
      return refuse(`physical type ${type}`)
  }
}
