/**
 * Number formats of checkpoint files, to and from float32 and int32.
 *
 * Pure; little-endian, as safetensors and every machine Node runs on. bfloat16 and float16 round to nearest even.
 */

/** Bytes an element. */
export const dtypeBytes = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1
} as const

export type Dtype = keyof typeof dtypeBytes

const isDtypeTable: Readonly<Record<string, number>> = dtypeBytes
export const isDtype = (name: string): name is Dtype => Object.hasOwn(isDtypeTable, name)

/** The bytes as a typed array; copied when they do not start on a boundary of the element. */
const aligned = (bytes: Uint8Array, size: number): Uint8Array => (bytes.byteOffset % size === 0 ? bytes : bytes.slice())

let halves: Float32Array | undefined
/** All 65,536 float16 values as float32. */
const halfTable = (): Float32Array => {
  if (halves !== undefined) return halves
  const table = new Float32Array(65536)
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN
          : (1 + fraction / 1024) * 2 ** (exponent - 15)
    table[bits] = bits & 0x8000 ? -magnitude : magnitude
  }
  halves = table
  return table
}

/** Floats of any width as float32; F64 rounds. May alias `bytes` for F32. `undefined` for another kind of number. */
export const toFloat32 = (bytes: Uint8Array, dtype: Dtype): Float32Array | undefined => {
  const n = bytes.byteLength / dtypeBytes[dtype]
  const own = aligned(bytes, dtypeBytes[dtype])
  switch (dtype) {
    case "F32":
      return new Float32Array(own.buffer, own.byteOffset, n)
    case "F64":
      return Float32Array.from(new Float64Array(own.buffer, own.byteOffset, n))
    case "BF16": {
      const from = new Uint16Array(own.buffer, own.byteOffset, n)
      const bits = new Uint32Array(n)
      for (let i = 0; i < n; i++) bits[i] = from[i]! << 16
      return new Float32Array(bits.buffer)
    }
    case "F16": {
      const from = new Uint16Array(own.buffer, own.byteOffset, n)
      const table = halfTable()
      const out = new Float32Array(n)
      for (let i = 0; i < n; i++) out[i] = table[from[i]!]!
      return out
    }
    default:
      return undefined
  }
}

/**
 * Gives the memory behind an array back at once, where the collector would let it lie. The array is empty afterwards:
 * only for arrays that nobody else has.
 */
export const release = ({ buffer }: Uint8Array | Float32Array): void => {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}

/** `toFloat32` of bytes that nobody else has: they are given back where the result is a copy. */
export const intoFloat32 = (bytes: Uint8Array, dtype: Dtype): Float32Array | undefined => {
  const values = toFloat32(bytes, dtype)
  if (values !== undefined && values.buffer !== bytes.buffer) release(bytes)
  return values
}

/** Integers of any width as int32; `undefined` for floats, for an unknown format, or when a value does not fit. */
export const toInt32 = (bytes: Uint8Array, dtype: Dtype): Int32Array | undefined => {
  const n = bytes.byteLength / dtypeBytes[dtype]
  const own = aligned(bytes, dtypeBytes[dtype])
  const args = [own.buffer, own.byteOffset, n] as const
  switch (dtype) {
    case "I32":
      return new Int32Array(...args)
    case "I64": {
      const words = new Int32Array(own.buffer, own.byteOffset, 2 * n)
      const out = new Int32Array(n)
      for (let i = 0; i < n; i++) {
        out[i] = words[2 * i]!
        if (words[2 * i + 1] !== out[i]! >> 31) return undefined
      }
      return out
    }
    case "U32": {
      const from = new Uint32Array(...args)
      return from.every((x) => x < 2 ** 31) ? Int32Array.from(from) : undefined
    }
    case "I16":
      return Int32Array.from(new Int16Array(...args))
    case "U16":
      return Int32Array.from(new Uint16Array(...args))
    case "I8":
      return Int32Array.from(new Int8Array(...args))
    case "U8":
    case "BOOL":
      return Int32Array.from(own)
    default:
      return undefined
  }
}

/** Float32 values as the bytes of a float format. F32 aliases `values`. */
export const fromFloat32 = (values: Float32Array, dtype: "F32" | "F16" | "BF16"): Uint8Array => {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  const encode = dtype === "BF16" ? bfloat : half
  for (let i = 0; i < bits.length; i++) out[i] = encode(bits[i]!)
  return new Uint8Array(out.buffer)
}

/** float32 bits to bfloat16 bits; a NaN stays one. */
const bfloat = (x: number): number =>
  (x & 0x7fffffff) > 0x7f800000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16

/** float32 bits to float16 bits; past 65504 rounds to infinity, below 2^-24 to zero. */
const half = (x: number): number => {
  const sign = (x >>> 16) & 0x8000
  const magnitude = x & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x47800000) return sign | 0x7c00
  const exponent = magnitude >>> 23
  if (exponent >= 113) {
    const value = magnitude - (112 << 23)
    return sign | ((value + 0xfff + ((value >>> 13) & 1)) >>> 13)
  }
  if (exponent < 102) return sign
  const shift = 126 - exponent
  const fraction = (magnitude & 0x7fffff) | 0x800000
  const rounded = (fraction + (1 << (shift - 1)) - 1 + ((fraction >>> shift) & 1)) >>> shift
  return sign | rounded
}
