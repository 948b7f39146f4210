/**
 * A restricted unpickler: Python's pickle protocols 0 to 5 as far as containers, texts and numbers go.
 *
 * Not Python's: it imports nothing and calls nothing. A global is a name that the caller's table knows, a call is a
 * function of that table; any other name ends the reading with an error that says it. Opcodes that make objects by
 * other ways (NEWOBJ, INST, OBJ, EXT, PERSID) and sets, byte arrays and long integers are refused.
 *
 * Dictionaries are `Map`s, so that no key reaches a prototype. Values are never walked: what refers to itself, or to
 * one list a million times, costs what its opcodes cost. Bounds: bytes of the pickle, opcodes, and no length is
 * believed before so many bytes are there.
 */
import { type Reason, torchError } from "./TorchFileError.ts"

/** A Python tuple; lists are arrays. */
export class Tuple {
  readonly items: ReadonlyArray<Value>
  constructor(items: ReadonlyArray<Value>) {
    this.items = items
  }
}

/** A global that the table knows. `call` makes a value of its arguments; without it, it may only be handed on. */
export class Global {
  readonly name: string
  readonly call: ((args: ReadonlyArray<Value>) => Value) | undefined
  constructor(name: string, call?: (args: ReadonlyArray<Value>) => Value) {
    this.name = name
    this.call = call
  }
}

/** What the caller's table makes: a storage, a tensor. */
export abstract class Opaque {
  abstract readonly kind: string
}

export type Value =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Tuple
  | Array<Value>
  | Map<Value, Value>
  | Global
  | Opaque

/** What a pickle may ask for. Each throws the caller's error. */
export interface World {
  readonly path: string
  /** By `module.name`; undefined refuses it. */
  readonly find: (name: string) => Global | undefined
  /** What stands behind a persistent id. */
  readonly load: (id: Value) => Value
}

/** Far above any language model's: Phi-2's pickles have 20,000 opcodes in 60 kB. */
export const MAX_OPCODES = 1_000_000
export const MAX_PICKLE_BYTES = 64 << 20
const MAX_NAME = 500

/** A value for a message; nothing is walked. */
export const kindOf = (value: Value | undefined): string =>
  value === null
    ? "None"
    : value instanceof Tuple
      ? "a tuple"
      : value instanceof Map
        ? "a dict"
        : Array.isArray(value)
          ? "a list"
          : value instanceof Uint8Array
            ? "bytes"
            : value instanceof Global
              ? value.name
              : value instanceof Opaque
                ? value.kind
                : value === undefined
                  ? "nothing"
                  : `${typeof value} ${JSON.stringify(value).slice(0, 60)}`

const refusedOpcodes: Readonly<Record<number, string>> = {
  80: "PERSID",
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  143: "EMPTY_SET",
  144: "ADDITEMS",
  145: "FROZENSET",
  146: "NEWOBJ_EX",
  150: "BYTEARRAY8",
  151: "NEXT_BUFFER",
  152: "READONLY_BUFFER"
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const latin1 = new TextDecoder("latin1")

class Machine {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #world: World
  readonly #stack: Array<Value> = []
  readonly #marks: Array<number> = []
  readonly #memo = new Map<number, Value>()
  #at = 0

  constructor(bytes: Uint8Array, world: World) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#world = world
  }

  run(): Value {
    for (let steps = 0; steps < MAX_OPCODES; steps++) {
      const opcode = this.#bytes[this.#take(1)]!
      if (opcode === 0x2e) {
        const value = this.#pop()
        if (this.#stack.length > 0) throw this.#fail("damaged", "leaves values behind")
        return value
      }
      this.#step(opcode)
    }
    throw this.#fail("too-large", `has more than ${MAX_OPCODES} opcodes`)
  }

  #fail(reason: Reason, message: string, global?: string) {
    const where = `the pickle, at byte ${this.#at}, ${message}`
    return torchError(this.#world.path, reason, where, global === undefined ? {} : { global })
  }

  /** Moves over `count` bytes that must be there; where they begin. */
  #take(count: number): number {
    const at = this.#at
    if (count > this.#bytes.length - at) throw this.#fail("cut", `asks for ${count} bytes where none are left`)
    this.#at = at + count
    return at
  }

  #raw(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  #text(length: number): string {
    const raw = this.#raw(length)
    try {
      return utf8.decode(raw)
    } catch {
      throw this.#fail("damaged", "holds a text that is not UTF-8")
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    if (end < 0 || end - this.#at > MAX_NAME) throw this.#fail("cut", "holds a line without an end")
    const raw = this.#raw(end - this.#at)
    this.#at++
    return latin1.decode(raw)
  }

  #u8 = (): number => this.#bytes[this.#take(1)]!
  #u16 = (): number => this.#view.getUint16(this.#take(2), true)
  #u32 = (): number => this.#view.getUint32(this.#take(4), true)
  #i32 = (): number => this.#view.getInt32(this.#take(4), true)
  #u64(): number {
    const value = this.#view.getBigUint64(this.#take(8), true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#fail("too-large", `names a size of ${value}`)
    return Number(value)
  }

  /** A two's-complement integer of `length` bytes; sizes and numbers that a tensor has fit eight. */
  #long(length: number): number {
    const raw = this.#raw(length)
    if (length > 8) throw this.#fail("too-large", `holds an integer of ${length} bytes`)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!)
    return this.#safe(length === 0 ? 0n : BigInt.asIntN(8 * length, value))
  }

  #safe(value: bigint): number {
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw this.#fail("too-large", `holds the integer ${value}`)
    return number
  }

  /** A line that is a number, as protocols 0 and 1 write them. */
  #number(long: boolean): Value {
    const line = this.#line()
    if (!long && line === "00") return false
    if (!long && line === "01") return true
    const digits = /^(-?\d{1,20})L?$/.exec(line)
    if (digits === null) throw this.#fail("damaged", `holds ${JSON.stringify(line.slice(0, 40))} for an integer`)
    return this.#safe(BigInt(digits[1]!))
  }

  /** A quoted line; the few escapes are left as they are, for no name or text of a checkpoint has any. */
  #quoted(): string {
    const line = this.#line()
    const inner = /^(['"])(.*)\1$/.exec(line)?.[2]
    if (inner === undefined) throw this.#fail("damaged", "holds a text without quotes")
    return inner
  }

  #floor = (): number => this.#marks.at(-1) ?? 0

  #pop(): Value {
    if (this.#stack.length <= this.#floor()) throw this.#fail("damaged", "takes a value where none is")
    return this.#stack.pop()!
  }

  #top(): Value {
    if (this.#stack.length <= this.#floor()) throw this.#fail("damaged", "takes a value where none is")
    return this.#stack.at(-1)!
  }

  #popMark(): Array<Value> {
    const mark = this.#marks.pop()
    if (mark === undefined) throw this.#fail("damaged", "goes back to a mark that is not there")
    return this.#stack.splice(mark)
  }

  #tuple(count: number): Tuple {
    return new Tuple(Array.from({ length: count }, () => this.#pop()).reverse())
  }

  #remember(index: number): void {
    this.#memo.set(index, this.#top())
  }

  #recall(index: number): Value {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.#fail("damaged", `recalls number ${index}, which it never kept`)
    return value
  }

  #append(items: ReadonlyArray<Value>): void {
    const list = this.#top()
    if (!Array.isArray(list)) throw this.#fail("refused", `appends to ${kindOf(list)}`)
    for (const item of items) list.push(item)
  }

  #setItems(items: ReadonlyArray<Value>): void {
    const dict = this.#top()
    if (!(dict instanceof Map)) throw this.#fail("refused", `sets items of ${kindOf(dict)}`)
    this.#fill(dict, items)
  }

  #fill(dict: Map<Value, Value>, items: ReadonlyArray<Value>): Map<Value, Value> {
    if (items.length % 2 === 1) throw this.#fail("damaged", "has a key without a value")
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]!
      if (typeof key !== "string" && typeof key !== "number" && typeof key !== "boolean" && key !== null)
        throw this.#fail("refused", `has ${kindOf(key)} for a key`)
      dict.set(key, items[i + 1]!)
    }
    return dict
  }

  #global(module: string, name: string): Global {
    const full = `${module}.${name}`
    const found = this.#world.find(full)
    if (found === undefined) throw this.#fail("refused", `asks for ${full.slice(0, MAX_NAME)}`, full.slice(0, MAX_NAME))
    return found
  }

  #reduce(): Value {
    const args = this.#pop()
    const callable = this.#pop()
    if (!(callable instanceof Global) || callable.call === undefined || !(args instanceof Tuple))
      throw this.#fail(
        "refused",
        `calls ${kindOf(callable)} with ${kindOf(args)}`,
        callable instanceof Global ? callable.name : undefined
      )
    return callable.call(args.items)
  }

  /** `_metadata` of a state dict: attributes of a dictionary, which nothing here reads. */
  #build(): void {
    const state = this.#pop()
    const target = this.#top()
    if (!(target instanceof Map) || !(state instanceof Map || state instanceof Tuple))
      throw this.#fail("refused", `gives ${kindOf(target)} a state`)
  }

  /** What an opcode puts on the stack out of its own bytes, or undefined for one that does something else. */
  #literal(opcode: number): Value | undefined {
    switch (opcode) {
      case 0x4e: // NONE
        return null
      case 0x88: // NEWTRUE, NEWFALSE
        return true
      case 0x89:
        return false
      case 0x49: // INT, LONG, BININT, BININT1, BININT2, LONG1, LONG4
        return this.#number(false)
      case 0x4c:
        return this.#number(true)
      case 0x4a:
        return this.#i32()
      case 0x4b:
        return this.#u8()
      case 0x4d:
        return this.#u16()
      case 0x8a:
        return this.#long(this.#u8())
      case 0x8b:
        return this.#long(this.#u32())
      case 0x47: // BINFLOAT, FLOAT
        return this.#view.getFloat64(this.#take(8), false)
      case 0x46:
        return Number(this.#line())
      case 0x58: // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, UNICODE
        return this.#text(this.#u32())
      case 0x8c:
        return this.#text(this.#u8())
      case 0x8d:
        return this.#text(this.#u64())
      case 0x56:
        return this.#line()
      case 0x53: // STRING, BINSTRING, SHORT_BINSTRING
        return this.#quoted()
      case 0x54:
        return latin1.decode(this.#raw(this.#u32()))
      case 0x55:
        return latin1.decode(this.#raw(this.#u8()))
      case 0x42: // BINBYTES, SHORT_BINBYTES, BINBYTES8
        return this.#raw(this.#u32())
      case 0x43:
        return this.#raw(this.#u8())
      case 0x8e:
        return this.#raw(this.#u64())
      case 0x29: // EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT
        return new Tuple([])
      case 0x5d:
        return []
      case 0x7d:
        return new Map()
      default:
        return undefined
    }
  }

  /** What an opcode makes of values on the stack, or undefined for one that does something else. */
  #made(opcode: number): Value | undefined {
    switch (opcode) {
      case 0x32: // DUP
        return this.#top()
      case 0x85: // TUPLE1, TUPLE2, TUPLE3, TUPLE
        return this.#tuple(1)
      case 0x86:
        return this.#tuple(2)
      case 0x87:
        return this.#tuple(3)
      case 0x74:
        return new Tuple(this.#popMark())
      case 0x6c: // LIST, DICT
        return this.#popMark()
      case 0x64:
        return this.#fill(new Map(), this.#popMark())
      case 0x67: // GET, BINGET, LONG_BINGET
        return this.#recall(this.#number(true) as number)
      case 0x68:
        return this.#recall(this.#u8())
      case 0x6a:
        return this.#recall(this.#u32())
      case 0x63: {
        const module = this.#line()
        return this.#global(module, this.#line())
      }
      case 0x93: {
        const [name, module] = [this.#pop(), this.#pop()]
        if (typeof name !== "string" || typeof module !== "string")
          throw this.#fail("refused", "has no text for a name")
        return this.#global(module, name)
      }
      case 0x51: // BINPERSID
        return this.#world.load(this.#pop())
      case 0x52:
        return this.#reduce()
      default:
        return undefined
    }
  }

  #step(opcode: number): void {
    let value = this.#literal(opcode)
    if (value === undefined) value = this.#made(opcode)
    if (value === undefined) this.#act(opcode)
    else this.#stack.push(value)
  }

  #act(opcode: number): void {
    switch (opcode) {
      case 0x80: {
        const protocol = this.#u8()
        if (protocol > 5) throw this.#fail("refused", `is of protocol ${protocol}`)
        break
      }
      case 0x95: // FRAME: a hint for readers of streams
        this.#u64()
        break
      case 0x28: // MARK
        this.#marks.push(this.#stack.length)
        break
      case 0x30: // POP, which may take a mark
        if (this.#stack.length > this.#floor()) this.#stack.pop()
        else this.#popMark()
        break
      case 0x31: // POP_MARK
        this.#popMark()
        break
      case 0x61: // APPEND, APPENDS
        this.#append([this.#pop()])
        break
      case 0x65:
        this.#append(this.#popMark())
        break
      case 0x73: {
        // SETITEM, SETITEMS
        const value = this.#pop()
        this.#setItems([this.#pop(), value])
        break
      }
      case 0x75:
        this.#setItems(this.#popMark())
        break
      case 0x70: // PUT, BINPUT, LONG_BINPUT, MEMOIZE
        this.#remember(this.#number(true) as number)
        break
      case 0x71:
        this.#remember(this.#u8())
        break
      case 0x72:
        this.#remember(this.#u32())
        break
      case 0x94:
        this.#remember(this.#memo.size)
        break
      case 0x62:
        this.#build()
        break
      default:
        throw this.#refused(opcode)
    }
  }

  #refused(opcode: number) {
    if (opcode === 0x69) {
      const module = this.#line()
      const full = `${module}.${this.#line()}`
      return this.#fail("refused", `makes an object of ${full} (INST)`, full)
    }
    const name = refusedOpcodes[opcode]
    const code = `0x${opcode.toString(16).padStart(2, "0")}`
    return name === undefined
      ? this.#fail("damaged", `has the byte ${code}, which is no opcode`)
      : this.#fail("refused", `uses the opcode ${name} (${code})`)
  }
}

/**
 * The value of a pickle. Throws `TorchFileError`, and what `world` throws.
 *
 * @example unpickle(bytes, { path, find: () => undefined, load: (id) => id }) // texts, numbers, lists, dictionaries
 */
export const unpickle = (bytes: Uint8Array, world: World): Value => {
  if (bytes.length > MAX_PICKLE_BYTES)
    throw torchError(world.path, "too-large", `the pickle has ${bytes.length} bytes, more than ${MAX_PICKLE_BYTES}`)
  return new Machine(bytes, world).run()
}
