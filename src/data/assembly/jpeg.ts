/**
 * AssemblyScript: decodes one scan of a sequential Huffman JPEG into planes of samples. Bit-identical to `Jpeg.ts`.
 *
 * No memory management and no markers: the host (`JpegWasm.ts`) reads the segments, lays out linear memory and passes
 * addresses in bytes. Whatever is irregular gives 0, and the host leaves the picture to another decoder.
 *
 * A Huffman table is 1,024 entries of u32 for codes of up to 10 bits, then `first` and `shift` of each length for longer
 * ones, then its symbols. An entry is (bits of code and value) << 24 | step << 16 | bits of value << 8 | bits of code.
 */
import { idct } from "./jpegTransform"

export { convert, upsample } from "./jpegColour"

const LOOK: u32 = 10
const LONG: usize = 4 << 10
const SYMBOLS: usize = LONG + 17 * 8

/** Steps past the end of a block: its end, and a code that is not in the first part of the table. */
const END_OF_BLOCK = 64
const LONG_CODE = 128

/** Byte offset in a block, by place in zigzag order. */
const ZIGZAG = memory.data<u8>([
  0, 2, 16, 32, 18, 4, 6, 20, 34, 48, 64, 50, 36, 22, 8, 10, 24, 38, 52, 66, 80, 96, 82, 68, 54, 40, 26, 12, 14, 28, 42,
  56, 70, 84, 98, 112, 114, 100, 86, 72, 58, 44, 30, 46, 60, 74, 88, 102, 116, 118, 104, 90, 76, 62, 78, 92, 106, 120,
  122, 108, 94, 110, 124, 126
])

/** The block that is being decoded: 64 i16. */
const BLOCK = memory.data(128, 16)

/** The first byte of linear memory that is free. */
export function heap(): usize {
  return __heap_base
}

// @ts-ignore: decorator
@inline
function entryOf(symbol: u32, length: u32, ac: bool): u32 {
  const size = symbol & 15
  const step: u32 = !ac ? 0 : symbol == 0 ? END_OF_BLOCK : symbol == 0xf0 ? 16 : (symbol >> 4) + 1
  return ((length + size) << 24) | (step << 16) | (size << 8) | length
}

/**
 * Builds a Huffman table.
 * @param counts 16 bytes: codes of each length
 * @param symbols as many bytes as there are codes
 * @param table 4,488 bytes
 * @returns 1, or 0 where the codes do not fit or a symbol is not one of 8-bit pictures
 */
export function huffman(counts: usize, symbols: usize, table: usize, ac: bool): i32 {
  memory.fill(table, 0, LONG)
  let code: u32 = 0
  let used: u32 = 0
  for (let length: u32 = 1; length <= 16; length++) {
    const count: u32 = load<u8>(counts + length - 1)
    // No code may be all ones.
    if (code + count >= <u32>1 << length) return 0
    store<u32>(table + LONG + (length << 3), (code + count) << (16 - length))
    store<u32>(table + LONG + (length << 3), used - code, 4)
    for (let i: u32 = 0; i < count; i++) {
      const symbol: u32 = load<u8>(symbols + used)
      store<u8>(table + SYMBOLS + used, <u8>symbol)
      if (ac ? (symbol & 15) > 10 || ((symbol & 15) == 0 && symbol != 0 && symbol != 0xf0) : symbol > 11) return 0
      if (length <= LOOK) {
        const entry = entryOf(symbol, length, ac)
        let at = table + (<usize>code << (LOOK - length + 2))
        for (let n = 1 << (LOOK - length); n > 0; n--, at += 4) store<u32>(at, entry)
      }
      code++
      used++
    }
    code <<= 1
  }
  // Codes that begin no short one.
  for (let at = table; at < table + LONG; at += 4) if (load<u32>(at) == 0) store<u32>(at, LONG_CODE << 16)
  return 1
}

/** The entry of a code of more than `LOOK` bits, or 0. */
function longCode(table: usize, next: u32, ac: bool): u32 {
  for (let length: u32 = LOOK + 1; length <= 16; length++) {
    if (next < load<u32>(table + LONG + (length << 3))) {
      const place = (next >> (16 - length)) + load<u32>(table + LONG + (length << 3), 4)
      return entryOf(load<u8>(table + SYMBOLS + place), length, ac)
    }
  }
  return 0
}

/** The bits: `held` has `count` of them at its top, and perhaps some of those that follow. `next` falls: see `unstuff`. */
let held: u64 = 0
let count: i32 = 0
let next: usize = 0

/** One of the fields of an entry, sign-extended as the standard's EXTEND does: `bits` begins behind the code. */
// @ts-ignore: decorator
@inline
function valueOf(bits: u64, entry: u32): i32 {
  const size = entry >> 8
  const value = <i32>((bits >> 1) >> (63 - (size & 63)))
  return value + (~(<i32>(<i64>bits >> 63)) & ((-1 << size) + 1))
}

/**
 * Decodes a block's coefficients into `BLOCK`, which holds zeros.
 * @returns the place of the last coefficient, or -1 where something is wrong
 */
function readBlock(dc: usize, ac: usize, prediction: usize): i32 {
  let bits = held
  let n = count
  let from = next
  bits |= load<u64>(from - 7) >> n
  from -= (63 - n) >> 3
  n |= 56
  let entry = load<u32>(dc + <usize>((bits >> (64 - <u64>LOOK)) << 2))
  if (entry == LONG_CODE << 16) {
    entry = longCode(dc, <u32>(bits >> 48), false)
    if (entry == 0) return -1
  }
  bits <<= entry
  const value = load<i32>(prediction) + valueOf(bits, entry)
  bits <<= entry >> 8
  n -= entry >> 24
  store<i32>(prediction, value)
  store<i16>(BLOCK, <i16>value)
  let k: i32 = 0
  let twice = false
  while (k < 63) {
    // A coefficient takes 26 bits at most: a refill is enough for two.
    if (twice) {
      bits |= load<u64>(from - 7) >> n
      from -= (63 - n) >> 3
      n |= 56
    }
    twice = !twice
    entry = load<u32>(ac + <usize>((bits >> (64 - <u64>LOOK)) << 2))
    let to = k + ((entry >> 16) & 255)
    if (to > 63) {
      if (entry == LONG_CODE << 16) {
        entry = longCode(ac, <u32>(bits >> 48), true)
        if (entry == 0) return -1
        to = k + ((entry >> 16) & 255)
      }
      if (to > 63) {
        if (((entry >> 16) & 255) != END_OF_BLOCK) return -1
        bits <<= entry
        n -= entry >> 24
        break
      }
    }
    bits <<= entry
    store<i16>(BLOCK + <usize>load<u8>(ZIGZAG + to), <i16>valueOf(bits, entry))
    bits <<= entry >> 8
    n -= entry >> 24
    k = to
  }
  held = bits
  count = n
  next = from
  return k
}

/**
 * Copies entropy-coded bytes up to the next marker, backwards and without stuffing: they end below `top`, so that eight
 * bytes loaded as a number have the earlier ones in its higher bits. A marker must come; 32 readable bytes follow it.
 * @returns the marker's address; `bottom` becomes the last byte's
 */
function unstuff(from: usize, top: usize): usize {
  const marks = i8x16.splat(-1)
  let out = top
  for (;;) {
    const chunk = v128.load(from)
    v128.store(out - 16, i8x16.shuffle(chunk, chunk, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
    const found = i8x16.bitmask(i8x16.eq(chunk, marks))
    if (found == 0) {
      from += 16
      out -= 16
      continue
    }
    const at: usize = ctz(found)
    if (load<u8>(from + at + 1) != 0) {
      out -= at
      from += at
      break
    }
    out -= at + 1
    from += at + 2
  }
  v128.store(out - 16, i8x16.splat(0))
  bottom = out
  return from
}
let bottom: usize = 0

/** Per component of a scan, in i32: plane, its stride, blocks a unit across and down, tables, quantisation, prediction. */
const PLANE: usize = 0
const STRIDE: usize = 4
const ACROSS: usize = 8
const DOWN: usize = 12
const DC: usize = 16
const AC: usize = 20
const QUANT: usize = 24
const PREDICTION: usize = 28
const COMPONENT_BYTES: usize = 32

/**
 * Decodes a scan: every block goes through the inverse transform into its component's plane.
 * @param from the first byte behind the scan's header; a marker must be found by `end`, and 32 bytes be readable there
 * @param top end of room for the bytes without stuffing and 4 KiB before them
 * @param restart units between restart markers, 0 for none
 * @returns the address of the marker that ends the scan, or 0
 */
export function scan(
  from: usize, end: usize, top: usize,
  components: usize, componentCount: i32, unitsAcross: i32, unitsDown: i32, restart: i32
): usize {
  const componentsEnd = components + <usize>componentCount * COMPONENT_BYTES
  const units = unitsAcross * unitsDown
  let done = 0
  let x = 0
  let y = 0
  let marker: u8 = 0xd0
  // What a scan that went wrong has left.
  memory.fill(BLOCK, 0, 128)
  while (true) {
    const stop = unstuff(from, top)
    if (stop >= end) return 0
    const total = <i32>(top - bottom) << 3
    held = 0
    count = 0
    next = top - 1
    for (let c = components; c < componentsEnd; c += COMPONENT_BYTES) store<i32>(c, 0, PREDICTION)
    const until = restart > 0 ? min(done + restart, units) : units
    for (; done < until; done++) {
      for (let c = components; c < componentsEnd; c += COMPONENT_BYTES) {
        const across = load<i32>(c, ACROSS)
        const down = load<i32>(c, DOWN)
        const stride = load<usize>(c, STRIDE)
        const dc = load<usize>(c, DC)
        const ac = load<usize>(c, AC)
        const quant = load<usize>(c, QUANT)
        let plane = load<usize>(c, PLANE) + <usize>(y * down) * 8 * stride + <usize>(x * across) * 8
        for (let v = 0; v < down; v++, plane += 8 * stride) {
          for (let h = 0; h < across; h++) {
            const last = readBlock(dc, ac, c + PREDICTION)
            if (last < 0) return 0
            idct(BLOCK, quant, plane + <usize>h * 8, stride, last)
          }
        }
      }
      if ((<i32>(top - 1 - next) << 3) - count > total) return 0
      if (++x == unitsAcross) {
        x = 0
        y++
      }
    }
    // What is left are the bits that fill the last byte.
    if (total - (<i32>(top - 1 - next) << 3) + count > 7) return 0
    if (done == units) return stop
    if (load<u8>(stop + 1) != marker) return 0
    marker = marker == 0xd7 ? 0xd0 : marker + 1
    from = stop + 2
  }
}
