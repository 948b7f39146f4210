/**
 * The entries of one or several tar files by name: no object and no string per entry.
 *
 * Not a file reader: `Tar.ts` reads headers and adds what they say. Memory: each entry's name and 30 to 60 bytes; of a
 * link its target as well. Links are followed when a name is asked for, since their targets may come later.
 */
import { isSafeName, normalName } from "../bytes/ZipFormat.ts"
import { hash } from "../bytes/ZipIndex.ts"

/** Where an entry's bytes lie. */
export interface TarPlace {
  /** Number of the file, in the order they were given. */
  readonly file: number
  /** Bytes from the start of that file; below zero it is what `link` gave. */
  readonly offset: number
  readonly size: number
}

/** Links behind links at most, as Linux has it. */
const MAX_LINKS = 40

/** Bytes of all names at most: places in them are 32 bits. */
const MAX_NAME_BYTES = 2 ** 31

/** Entries that a table of so many slots takes, and one more. */
const room = (slots: number): number => Math.floor((slots * 2) / 3) + 1

/** Grows by doubling; look-ups compare bytes. */
export class TarIndex {
  /** Entries. */
  size = 0
  #names = Buffer.allocUnsafeSlow(1 << 12)
  #nameBytes = 0
  /** By entry: where its name begins (and, in the next one, ends), its file, offset and size. */
  #starts = new Uint32Array(room(1 << 9))
  #files = new Uint32Array(room(1 << 9))
  #offsets = new Float64Array(room(1 << 9))
  #sizes = new Float64Array(room(1 << 9))
  readonly #links: Array<string> = []
  /** Open addressing: entry + 1, or 0. Two thirds full at most. */
  #table = new Uint32Array(1 << 9)

  /** Adds an entry; false when one of that name is there already, or when the names are too many. */
  add(name: Uint8Array, place: TarPlace): boolean {
    if (this.size + 2 > this.#offsets.length) this.#grow()
    const slot = this.#slot(name)
    if (this.#table[slot] !== 0 || this.#nameBytes + name.length > MAX_NAME_BYTES) return false
    if (this.#nameBytes + name.length > this.#names.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#names.length * 2, this.#nameBytes + name.length))
      this.#names.copy(larger, 0, 0, this.#nameBytes)
      this.#names = larger
    }
    this.#names.set(name, this.#nameBytes)
    this.#nameBytes += name.length
    this.#files[this.size] = place.file
    this.#offsets[this.size] = place.offset
    this.#sizes[this.size] = place.size
    this.#starts[++this.size] = this.#nameBytes
    this.#table[slot] = this.size
    return true
  }

  /** Keeps a link's target; gives the offset that its place should have. */
  link(target: string): number {
    return -this.#links.push(target)
  }

  /** Where the bytes of a name are, links followed; the target of a link that leads nowhere; or `undefined`. */
  find(name: string): TarPlace | string | undefined {
    let at = name
    for (let links = 0; links <= MAX_LINKS; links++) {
      const place = this.get(Buffer.from(at))
      const next = place === undefined ? this.#behindFolder(at) : this.#targetOf(place)
      if (next === undefined) return place ?? (links === 0 ? undefined : at)
      if (!isSafeName(next)) return next
      at = normalName(next)
    }
    return at
  }

  #targetOf({ offset }: TarPlace): string | undefined {
    return offset < 0 ? this.#links[-offset - 1] : undefined
  }

  /** `real/1.jpg` for `link/1.jpg`, where `link` is a link to `real`. */
  #behindFolder(name: string): string | undefined {
    if (this.#links.length === 0) return undefined
    for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1)) {
      const place = this.get(Buffer.from(name.slice(0, slash)))
      const target = place === undefined ? undefined : this.#targetOf(place)
      if (target !== undefined) return `${target}${name.slice(slash)}`
    }
    return undefined
  }

  get(name: Uint8Array): TarPlace | undefined {
    const entry = this.#table[this.#slot(name)]! - 1
    if (entry < 0) return undefined
    return { file: this.#files[entry]!, offset: this.#offsets[entry]!, size: this.#sizes[entry]! }
  }

  /** Names in the order they were added, made as they are asked for. */
  *names(): Generator<string> {
    for (let i = 0; i < this.size; i++) yield this.#names.toString("utf8", this.#starts[i], this.#starts[i + 1])
  }

  /** Where `name` is in the table, or where it would be. */
  #slot(name: Uint8Array): number {
    const mask = this.#table.length - 1
    let slot = hash(name, 0, name.length) & mask
    for (;;) {
      const entry = this.#table[slot]! - 1
      if (entry < 0 || this.#isNamed(entry, name)) return slot
      slot = (slot + 1) & mask
    }
  }

  #isNamed(entry: number, name: Uint8Array): boolean {
    const start = this.#starts[entry]!
    if (this.#starts[entry + 1]! - start !== name.length) return false
    for (let i = 0; i < name.length; i++) if (this.#names[start + i] !== name[i]) return false
    return true
  }

  #grow(): void {
    const mask = this.#table.length * 2 - 1
    this.#table = new Uint32Array(mask + 1)
    for (let i = 0; i < this.size; i++) {
      let slot = hash(this.#names, this.#starts[i]!, this.#starts[i + 1]!) & mask
      while (this.#table[slot] !== 0) slot = (slot + 1) & mask
      this.#table[slot] = i + 1
    }
    const larger = <A extends Uint32Array | Float64Array>(old: A, into: A): A => {
      into.set(old)
      return into
    }
    this.#starts = larger(this.#starts, new Uint32Array(room(mask + 1)))
    this.#files = larger(this.#files, new Uint32Array(room(mask + 1)))
    this.#offsets = larger(this.#offsets, new Float64Array(room(mask + 1)))
    this.#sizes = larger(this.#sizes, new Float64Array(room(mask + 1)))
  }
}
