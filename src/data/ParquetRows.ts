/**
 * Rows out of columns: levels and values of the leaves become nested objects and arrays, some rows at a time.
 *
 * Not a reader of bytes: `ParquetPages` gives the pages. One cursor a leaf, one function a shape, made once a row
 * group; nothing is looked up by name while rows are made.
 *
 * A row with a value that stands for nothing, or with more values than one may have, is passed and told; the next ones
 * come.
 *
 * Memory: the pages that the wanted rows lie on, one or a few a leaf, counted by the tally.
 */
import type { Tally } from "./ParquetBounds.ts"
import { type CellFault, damaged, ParquetFault } from "./ParquetError.ts"
import { BadCell, type ColumnPages, type Page } from "./ParquetPages.ts"
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
  /** The values, where they may be added to. */
  #own: Array<unknown> | undefined
  /** What the tally holds for this leaf. */
  #held = 0
  readonly #tally: Tally
  /** The row in which this leaf is has too many values: what came of it was thrown away, and its rest will be. */
  #dropping = false
  /** The next row is such a one, of which no level is here. */
  #dropped = false
  /** There may be a `BadCell` among the values. */
  bad = false
  ended = false

  constructor(leaf: Leaf, pages: ColumnPages, tally: Tally) {
    this.leaf = leaf
    this.#pages = pages
    this.#tally = tally
  }

  /** The leaf is read: nothing is held for it. */
  close(): void {
    this.#tally.release(this.#held)
    this.#held = 0
    this.#pages.close()
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
      if (this.#dropping && (this.ended || this.levels > 0)) {
        this.#dropping = false
        this.#dropped = true
      }
      if (this.ready === 0 && this.levels - this.at > this.#tally.bounds.rowValues) this.#drop()
    }
  }

  /** Throws away what is here of a row that goes on in the next page. */
  #drop(): void {
    this.at = this.levels
    this.valueAt = this.values.length
    this.#dropping = true
  }

  /** The part of a page behind the row that is thrown away; undefined where that goes on. */
  #behind(page: Page): Page | undefined {
    const from = page.reps === undefined ? 0 : page.reps.indexOf(0)
    if (from < 0) return undefined
    const { def } = this.leaf
    let values = from
    if (page.defs !== undefined) {
      values = 0
      for (let i = 0; i < from; i++) if (page.defs[i] === def) values++
    }
    return {
      ...page,
      levels: page.levels - from,
      reps: page.reps?.subarray(from),
      defs: page.defs?.subarray(from),
      values: page.values.slice(values)
    }
  }

  /** Whether the next row has more values than a row may have. */
  get tooLarge(): boolean {
    const { rowValues } = this.#tally.bounds
    if (this.#dropped) return true
    return this.levels - this.at > rowValues && this.#rowEnd() - this.at > rowValues
  }

  #rowEnd(): number {
    if (this.reps === undefined) return this.at + 1
    const next = this.reps.indexOf(0, this.at + 1)
    return next < 0 ? this.levels : Math.min(next, this.levels)
  }

  /** Passes the next row. */
  skipRow(): void {
    if (this.#dropped) {
      this.#dropped = false
      return
    }
    const end = this.#rowEnd()
    const { def } = this.leaf
    if (this.defs === undefined) this.valueAt += end - this.at
    else for (let i = this.at; i < end; i++) if (this.defs[i] === def) this.valueAt++
    this.at = end
  }

  #append(whole: Page): void {
    const left = this.levels - this.at
    if (left === 0) this.#kept = 0
    this.#hold(whole, left)
    const page = this.#dropping ? this.#behind(whole) : whole
    if (page === undefined) {
      this.levels = this.at = this.valueAt = 0
      this.values = []
      return
    }
    this.bad = page.bad || (left > 0 && this.bad)
    if (left > 0) this.#join(page, left)
    else {
      this.reps = page.reps
      this.defs = page.defs
      this.values = page.values
      this.levels = page.levels
      this.at = this.valueAt = 0
      this.#own = undefined
    }
    this.#kept += page.bytes
    if (page.reps === undefined) this.#starts += page.levels
    else for (const rep of page.reps) if (rep === 0) this.#starts++
  }

  /** The tally knows of the new page; of the old ones what is left stays. */
  #hold(page: Page, left: number): void {
    const stays = this.levels === 0 ? 0 : Math.floor((this.#held * left) / this.levels)
    this.#tally.release(this.#held - stays)
    this.#held = stays + page.held
  }

  /**
   * Puts a page behind what is left, in room that doubles: a row of many small pages is copied twice, not once a page.
   */
  #join(page: Page, left: number): void {
    if (this.#own === undefined || this.at >= left) {
      this.#own = this.values.slice(this.valueAt)
      this.reps = this.reps?.slice(this.at, this.levels)
      this.defs = this.defs?.slice(this.at, this.levels)
      this.values = this.#own
      this.levels = left
      this.at = this.valueAt = 0
    }
    this.reps = joined(this.reps, this.levels, page.reps)
    this.defs = joined(this.defs, this.levels, page.defs)
    for (const value of page.values) this.#own.push(value)
    this.levels += page.levels
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

/** `more` behind the first `used` levels; what lies behind the last level means nothing. */
const joined = (levels: Uint8Array | undefined, used: number, more: Uint8Array | undefined): Uint8Array | undefined => {
  if (levels === undefined || more === undefined) return more
  const room = used + more.length
  let out = levels
  if (out.length < room) {
    out = new Uint8Array(Math.max(2 * levels.length, room))
    out.set(levels.subarray(0, used))
  }
  out.set(more, used)
  return out
}

type Read = () => unknown

/** What is wrong with the row that is made. */
interface Wrong {
  found: { readonly column: string; readonly fault: CellFault } | undefined
}

const leafReader = (cursor: Cursor, wrong: Wrong): Read => {
  const { def, optional, path } = cursor.leaf
  const value = (): unknown => {
    const found = cursor.values[cursor.valueAt++]
    if (cursor.bad && found instanceof BadCell) wrong.found ??= { column: path, fault: found.fault }
    return found
  }
  if (def === 0)
    return () => {
      cursor.at++
      return value()
    }
  return () => {
    if (cursor.defs![cursor.at++] === def) return value()
    if (!optional) throw damaged("a value that must be there is not", path)
    return null
  }
}

const reader = (shape: Shape, cursorOf: (leaf: Leaf) => Cursor, wrong: Wrong): Read => {
  if (shape.kind === "leaf") return leafReader(cursorOf(shape), wrong)
  const below = leavesOf(shape).map(cursorOf)
  const first = below[0]!
  const skip = (present: number): void => {
    for (const cursor of below) cursor.skip(present)
  }
  if (shape.kind === "struct") {
    const object = structReader(shape.fields, cursorOf, wrong)
    if (!shape.optional) return object
    const { def } = shape
    return () => {
      if (first.defs![first.at]! >= def) return object()
      skip(def)
      return null
    }
  }
  const { def, itemDef, rep } = shape
  const item = reader(shape.item, cursorOf, wrong)
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
const structReader = (fields: ReadonlyArray<Shape>, cursorOf: (leaf: Leaf) => Cursor, wrong: Wrong): Read => {
  const names = fields.map(({ name }) => name)
  const reads = fields.map((field) => reader(field, cursorOf, wrong))
  return () => {
    const object: Record<string, unknown> = {}
    for (let i = 0; i < names.length; i++) object[names[i]!] = reads[i]!()
    return object
  }
}

/** Why a row cannot be given; the column where it shows. */
export interface BadRow {
  readonly column: string
  readonly reason: "value" | "too-large"
  readonly message: string
}

/** Rows that follow each other, and the one behind them that cannot be given, if there is one. */
export interface RowBatch {
  readonly rows: ReadonlyArray<ParquetRow>
  readonly bad?: BadRow
}

/**
 * The rows of one row group in batches of at most `batchRows`; a batch ends with a row that cannot be given. Throws
 * `ParquetFault` on damage.
 */
export async function* rowsOfGroup(
  shapes: ReadonlyArray<Shape>,
  pagesOf: (leaf: Leaf) => ColumnPages,
  rows: number,
  batchRows: number,
  tally: Tally
): AsyncGenerator<RowBatch> {
  const wrong: Wrong = { found: undefined }
  const cursors = new Map(shapes.flatMap(leavesOf).map((leaf) => [leaf, new Cursor(leaf, pagesOf(leaf), tally)]))
  const all = [...cursors.values()]
  const row = structReader(shapes, (leaf) => cursors.get(leaf)!, wrong) as () => ParquetRow
  for (let left = rows; left > 0; ) {
    const wanted = Math.min(batchRows, left)
    let count = wanted
    for (const cursor of all) {
      if (!cursor.ended && cursor.ready < wanted) await named(cursor.leaf, () => cursor.fill(wanted))
      count = Math.min(count, cursor.ready)
      if (cursor.ready === 0) throw damaged(`has fewer rows than the ${rows} of its row group`, cursor.leaf.path)
    }
    const made = batchOf(all, row, count, wrong, tally)
    const taken = made.rows.length + (made.bad === undefined ? 0 : 1)
    for (const cursor of all) cursor.took(taken)
    left -= taken
    yield made
  }
  for (const cursor of all) {
    await named(cursor.leaf, () => cursor.fill(1))
    if (cursor.at !== cursor.levels || cursor.valueAt !== cursor.values.length)
      throw damaged(`has more rows than the ${rows} of its row group`, cursor.leaf.path)
    cursor.close()
  }
}

/** The next rows, `count` at most: up to one that cannot be given, which is passed. */
const batchOf = (
  cursors: ReadonlyArray<Cursor>,
  row: () => ParquetRow,
  count: number,
  wrong: Wrong,
  { bounds }: Tally
): RowBatch => {
  const rows: Array<ParquetRow> = []
  const lists = cursors.filter(({ leaf }) => leaf.rep > 0)
  for (let i = 0; i < count; i++) {
    const large = lists.find((cursor) => cursor.tooLarge)
    if (large !== undefined) {
      for (const cursor of cursors) cursor.skipRow()
      const message = `more than ${bounds.rowValues.toLocaleString("en")} values in one row`
      return { rows, bad: { column: large.leaf.path, reason: "too-large", message } }
    }
    const made = row()
    if (wrong.found !== undefined) {
      const { column, fault } = wrong.found
      wrong.found = undefined
      return { rows, bad: { column, reason: "value", message: fault.message } }
    }
    rows.push(made)
  }
  return { rows }
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
