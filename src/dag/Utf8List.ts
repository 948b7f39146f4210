/**
 * Strings by number, as one run of UTF-8: millions of names without a million objects.
 *
 * Memory: the bytes of the strings and 8 more each; twice that while a buffer has just grown.
 */
import { grown } from "./DigestTable.ts"

/** A list that is only ever added to. */
export class Utf8List {
  private bytes = new Uint8Array(1 << 16)
  private ends = new Float64Array(1 << 10)
  size = 0
  private readonly encoder = new TextEncoder()
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true })

  /** Appends a string; its number is the count of those before it. A lone surrogate comes back as U+FFFD. */
  push(name: string): void {
    const start = this.size === 0 ? 0 : this.ends[this.size - 1]!
    if (start + name.length * 3 > this.bytes.length) {
      this.bytes = grown(this.bytes, Math.max(this.bytes.length * 2, start + name.length * 3))
    }
    if (this.size === this.ends.length) this.ends = grown(this.ends, this.size * 2)
    this.ends[this.size++] = start + this.encoder.encodeInto(name, this.bytes.subarray(start)).written
  }

  /** The string with this number. */
  at(number: number): string {
    return this.decoder.decode(this.bytes.subarray(number === 0 ? 0 : this.ends[number - 1]!, this.ends[number]!))
  }
}
