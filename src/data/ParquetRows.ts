/**
 * Rows out of columns: levels and values of the leaves become nested objects and arrays, some rows at a time.
 *
 * Not a reader of bytes: `ParquetPages` gives the pages. One cursor a leaf, one function a shape, made once a row group;
 * nothing is looked up by name while rows are made.
 *
 * Memory: the pages that the wanted rows lie on, one or a few a leaf.
 */
import { damaged, ParquetFault } from "./ParquetError.ts"
import type { ColumnPages, Page } from "./ParquetPages.ts"
import { type Leaf, leavesOf, type Shape } from "./ParquetShape.ts"

/** A row as the file has it: null where there is nothing. */
export type ParquetRow = Readonly<Record<string, unknown>>

/** Bytes of pages that a leaf keeps before it makes do with fewer rows a batch. */
const KEPT = 1 << 24

/** Where one leaf is: the next level, the next value, and the rows that are complete from here on. */
class Cursor {
  readonly leaf: Leaf
  readonly #pages: ColumnPages
  reps: Uint8Array | undefined
  defs: Uint8Array | undefined
  values: ReadonlyArray<unknown> = []
  levels = 0
  at = 0
  valueAt = 0
  /** Row starts from `at` on. */
  #starts = 0
  #kept = 0
  ended = false

  constructor(leaf: Leaf, pages: ColumnPages) {
    this.leaf = leaf
    this.#pages = pages
  }

  /** Rows whose every level is here: the last one may go on in the next page. */
  get ready(): number {
    return this.ended || this.leaf.rep === 0 ? this.#starts : Math.max(0, this.#starts - 1)
  }

  /** Reads pages until `rows` rows are ready, or as many as fit. */
  async fill(rows: number): Promise<void> {
    while (!this.ended && this.ready < rows && (this.ready === 0 || this.#kept < KEPT)) {
      const page = await this.#pages.next()
      if (page === undefined) this.ended = true
      else this.#append(page)
    }
  }

  #append(page: Page): void {
    const left = this.levels - this.at
    if (left === 0) this.#kept = 0
    this.reps = joined(this.reps, page.reps, this.at, this.levels)
    this.defs = joined(this.defs, page.defs, this.at, this.levels)
    this.values = left === 0 ? page.values : [...this.values.slice(this.valueAt), ...page.values]
    this.#kept += page.bytes
    this.levels = left + page.levels
    this.at = 0
    this.valueAt = 0
    if (page.reps === undefined) this.#starts += page.levels
    else for (const rep of page.reps) if (rep === 0) this.#starts++
  }

  /** `rows` rows were taken: what is next must begin a row. */
  took(rows: number): void {
    this.#starts -= rows
    const { at, levels, reps, valueAt, values } = this
    if (at > levels || valueAt > values.length || (at < levels && reps !== undefined && reps[at] !== 0))
      throw damaged("its lists do not fit those of the other columns", this.leaf.path)
  }

  /** Passes a level at which something above the leaf is null or empty: it is so for every leaf below that. */
  skip(present: number): void {
    if (this.defs![this.at++]! >= present) throw damaged("is there where its struct or list is not", this.leaf.path)
  }
}

const joined = (
  old: Uint8Array | undefined,
  page: Uint8Array | undefined,
  from: number,
  to: number
): Uint8Array | undefined => {
  if (page === undefined || old === undefined || from === to) return page
  const out = new Uint8Array(to - from + page.length)
  out.set(old.subarray(from, to))
  out.set(page, to - from)
  return out
}

type Read = () => unknown

const leafReader = (cursor: Cursor): Read => {
  const { def, optional, path } = cursor.leaf
  if (def === 0)
    return () => {
      cursor.at++
      return cursor.values[cursor.valueAt++]
    }
  return () => {
    if (cursor.defs![cursor.at++] === def) return cursor.values[cursor.valueAt++]
    if (!optional) throw damaged("a value that must be there is not", path)
    return null
  }
}

const reader = (shape: Shape, cursorOf: (leaf: Leaf) => Cursor): Read => {
  if (shape.kind === "leaf") return leafReader(cursorOf(shape))
  const below = leavesOf(shape).map(cursorOf)
  const first = below[0]!
  const skip = (present: number): void => {
    for (const cursor of below) cursor.skip(present)
  }
  if (shape.kind === "struct") {
    const object = structReader(shape.fields, cursorOf)
    if (!shape.optional) return object
    const { def } = shape
    return () => {
      if (first.defs![first.at]! >= def) return object()
      skip(def)
      return null
    }
  }
  const { def, itemDef, rep } = shape
  const item = reader(shape.item, cursorOf)
  return () => {
    const level = first.defs![first.at]!
    if (level < itemDef) {
      skip(itemDef)
      return level < def ? null : []
    }
    const items = [item()]
    while (first.at < first.levels && first.reps![first.at] === rep) items.push(item())
    return items
  }
}

/** One object a call. */
const structReader = (fields: ReadonlyArray<Shape>, cursorOf: (leaf: Leaf) => Cursor): Read => {
  const names = fields.map(({ name }) => name)
  const reads = fields.map((field) => reader(field, cursorOf))
  return () => {
    const object: Record<string, unknown> = {}
    for (let i = 0; i < names.length; i++) object[names[i]!] = reads[i]!()
    return object
  }
}

/** The rows of one row group in batches of at most `batchRows`. Throws `ParquetFault` on damage. */
export async function* rowsOfGroup(
  shapes: ReadonlyArray<Shape>,
  pagesOf: (leaf: Leaf) => ColumnPages,
  rows: number,
  batchRows: number
): AsyncGenerator<ReadonlyArray<ParquetRow>> {
  const cursors = new Map(shapes.flatMap(leavesOf).map((leaf) => [leaf, new Cursor(leaf, pagesOf(leaf))]))
  const row = structReader(shapes, (leaf) => cursors.get(leaf)!) as () => ParquetRow
  for (let left = rows; left > 0; ) {
    const wanted = Math.min(batchRows, left)
    let count = wanted
    for (const cursor of cursors.values()) {
      await named(cursor.leaf, () => cursor.fill(wanted))
      count = Math.min(count, cursor.ready)
      if (cursor.ready === 0) throw damaged(`has fewer rows than the ${rows} of its row group`, cursor.leaf.path)
    }
    const batch: Array<ParquetRow> = []
    for (let i = 0; i < count; i++) batch.push(row())
    for (const cursor of cursors.values()) cursor.took(count)
    left -= count
    yield batch
  }
  for (const cursor of cursors.values()) {
    await named(cursor.leaf, () => cursor.fill(1))
    if (cursor.at !== cursor.levels || cursor.valueAt !== cursor.values.length)
      throw damaged(`has more rows than the ${rows} of its row group`, cursor.leaf.path)
  }
}

/** What fails while a leaf's pages are read fails with the leaf's name. */
const named = async <A>(leaf: Leaf, step: () => Promise<A>): Promise<A> => {
  try {
    return await step()
  } catch (cause) {
    if (cause instanceof ParquetFault && cause.column !== undefined) throw cause
    const of = cause instanceof ParquetFault ? cause : undefined
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new ParquetFault(of?.reason ?? "damaged", message, {
      column: leaf.path,
      cause: of?.cause ?? cause,
      ...(of?.hint === undefined ? {} : { hint: of.hint })
    })
  }
}
