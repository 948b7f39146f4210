/**
 * Reads FlatBuffers tables without trusting them: every offset is checked against the bytes there are.
 *
 * Not a writer and not generated code: fields are asked for by slot number (0, 1, 2, ... in the order of the schema).
 * Pure; no I/O. Layout: https://flatbuffers.dev/internals (a table begins with the distance back to its vtable; a
 * vtable holds u16 byte counts, its own size, the table's, then one position per slot or 0).
 */

/** The bytes are no such table. Callers turn it into their own typed error. */
export class FlatTableError extends Error {
  override readonly name = "FlatTableError"
}

/** A vector: `length` items from byte `at`. */
export interface FlatVector {
  readonly at: number
  readonly length: number
}

/** One table inside of `view`. Absent fields give the default. */
export class FlatTable {
  readonly view: DataView
  readonly at: number
  readonly #slots: number
  readonly #vtable: number

  /** Follows the table that starts at byte `at`. */
  constructor(view: DataView, at: number) {
    this.view = view
    this.at = at
    this.#need(at, 4)
    this.#vtable = at - view.getInt32(at, true)
    this.#need(this.#vtable, 4)
    const bytes = view.getUint16(this.#vtable, true)
    if (bytes < 4) throw new FlatTableError(`a vtable of ${bytes} bytes`)
    this.#need(this.#vtable, bytes)
    this.#slots = (bytes - 4) >> 1
  }

  /** The root table of a buffer. */
  static root(bytes: Uint8Array): FlatTable {
    if (bytes.byteLength < 8) throw new FlatTableError(`${bytes.byteLength} bytes are too few for a table`)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return new FlatTable(view, view.getUint32(0, true))
  }

  u8(slot: number, absent = 0): number {
    const at = this.#field(slot, 1)
    return at === undefined ? absent : this.view.getUint8(at)
  }

  i16(slot: number, absent = 0): number {
    const at = this.#field(slot, 2)
    return at === undefined ? absent : this.view.getInt16(at, true)
  }

  i32(slot: number, absent = 0): number {
    const at = this.#field(slot, 4)
    return at === undefined ? absent : this.view.getInt32(at, true)
  }

  /** A 64-bit number that must be a safe integer of 0 or more. */
  size(slot: number): number {
    const at = this.#field(slot, 8)
    return at === undefined ? 0 : this.sizeAt(at)
  }

  /** The same, at a byte inside of a struct. */
  sizeAt(at: number): number {
    this.#need(at, 8)
    const value = this.view.getBigInt64(at, true)
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FlatTableError(`${value} is no size`)
    return Number(value)
  }

  table(slot: number): FlatTable | undefined {
    const at = this.#field(slot, 4)
    return at === undefined ? undefined : new FlatTable(this.view, at + this.view.getUint32(at, true))
  }

  /** A vector of structs, scalars or offsets of `itemBytes` bytes. */
  vector(slot: number, itemBytes: number): FlatVector {
    const field = this.#field(slot, 4)
    if (field === undefined) return { at: 0, length: 0 }
    const at = field + this.view.getUint32(field, true)
    this.#need(at, 4)
    const length = this.view.getUint32(at, true)
    this.#need(at + 4, length * itemBytes)
    return { at: at + 4, length }
  }

  /** A vector of tables. */
  tables(slot: number): ReadonlyArray<FlatTable> {
    const { at, length } = this.vector(slot, 4)
    return Array.from({ length }, (_, i) => {
      const place = at + i * 4
      return new FlatTable(this.view, place + this.view.getUint32(place, true))
    })
  }

  string(slot: number): string {
    const { at, length } = this.vector(slot, 1)
    return new TextDecoder().decode(new Uint8Array(this.view.buffer, this.view.byteOffset + at, length))
  }

  #field(slot: number, bytes: number): number | undefined {
    if (slot >= this.#slots) return undefined
    const position = this.view.getUint16(this.#vtable + 4 + slot * 2, true)
    if (position === 0) return undefined
    this.#need(this.at + position, bytes)
    return this.at + position
  }

  #need(at: number, bytes: number): void {
    if (!(at >= 0 && bytes >= 0 && at + bytes <= this.view.byteLength)) {
      throw new FlatTableError(`bytes ${at}+${bytes} lie outside of ${this.view.byteLength}`)
    }
  }
}
