/**
 * The refused rows of one attempt, in little memory: JSON in compressed blocks, read back in the order of rows.
 *
 * Not the quarantine on disk. A filter over CC-3M refuses two and a half million captions: as objects they are gigabytes.
 *
 * Memory: 20 to 36 bytes a row, and what zstd leaves of its JSON (some 20 to 40 bytes where a node refuses many, since
 * such rows are alike). The last block, at most `BLOCK_ROWS` rows, is not compressed yet.
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { canonical } from "./Canonical.ts"
import { DigestTable, grown } from "./DigestTable.ts"
import type { Refused } from "./Refusals.ts"

const BLOCK_ROWS = 2048
/** Blocks held open while reading: rows said out of order, by two streams at two places, lie in several. */
const OPEN_BLOCKS = 8

/** 32 bits of a text (FNV-1a over code units): only refusals of one and the same row are told apart by it. */
const hash32 = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

export class RefusedRows implements Iterable<Refused> {
  private readonly blocks: Array<Uint8Array> = []
  private pending: Array<Refused> = []
  private readonly known = new DigestTable(16)
  private rows = new Uint32Array(16)
  private size = 0
  private ascending = true

  get length(): number {
    return this.size
  }

  /** Adds a refusal; one that says the same of the same row is there already and counts once. */
  add(refused: Refused): void {
    const before = this.known.size
    if (this.known.add(refused.row, hash32(canonical(refused.error))) !== before) return
    if (this.size === this.rows.length) this.rows = grown(this.rows, this.size * 2)
    if (this.size > 0 && refused.row < this.rows[this.size - 1]!) this.ascending = false
    this.rows[this.size++] = refused.row
    this.pending.push(refused)
    if (this.pending.length < BLOCK_ROWS) return
    this.blocks.push(zstdCompressSync(Buffer.from(JSON.stringify(this.pending))))
    this.pending = []
  }

  /** By row; refusals of one row in the order they were said. Adding while reading is not for this class. */
  *[Symbol.iterator](): Iterator<Refused> {
    const open = new Map<number, ReadonlyArray<Refused>>()
    const blockOf = (number: number): ReadonlyArray<Refused> => {
      if (number === this.blocks.length) return this.pending
      let block = open.get(number)
      if (block === undefined) {
        block = JSON.parse(zstdDecompressSync(this.blocks[number]!).toString()) as ReadonlyArray<Refused>
        if (open.size === OPEN_BLOCKS) open.delete(open.keys().next().value!)
        open.set(number, block)
      }
      return block
    }
    const at = (i: number): Refused => blockOf(Math.floor(i / BLOCK_ROWS))[i % BLOCK_ROWS]!
    if (this.ascending) {
      for (let i = 0; i < this.size; i++) yield at(i)
      return
    }
    const { rows } = this
    const order = Uint32Array.from({ length: this.size }, (_, i) => i).sort((a, b) => rows[a]! - rows[b]! || a - b)
    for (const i of order) yield at(i)
  }
}
