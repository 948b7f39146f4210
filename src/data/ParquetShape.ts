/**
 * The columns of a Parquet file as nested shapes: leaves, structs and lists, with the levels at which each is there.
 *
 * Not the data. A map is a list of `{ key, value }`. Lists are read in all the forms in which files have them: three
 * levels, two levels of older writers, and a bare repeated field.
 *
 * Levels: Dremel's. At definition level `def` and above the thing itself is there; repetition level `rep` goes on with
 * a list's next item. A leaf is null below its `def`.
 */
import type { FileMetaData, SchemaElement } from "hyparquet"
import { damaged, ParquetFault } from "./ParquetError.ts"

interface Common {
  readonly name: string
  /** Where it is: names with dots, items of a list not counted. */
  readonly path: string
  readonly optional: boolean
  readonly def: number
}

export interface Leaf extends Common {
  readonly kind: "leaf"
  readonly rep: number
  readonly element: SchemaElement
  /** Its number among the file's leaves, which is its place in a row group. */
  readonly index: number
}

export interface Group extends Common {
  readonly kind: "struct"
  readonly fields: ReadonlyArray<Shape>
}

export interface List extends Common {
  readonly kind: "list"
  readonly item: Shape
  /** From this definition level on the list has an item. */
  readonly itemDef: number
  /** The repetition level of its second and later items. */
  readonly rep: number
}

export type Shape = Leaf | Group | List

const kindOf = ({ converted_type, logical_type }: SchemaElement): string | undefined =>
  logical_type?.type ?? converted_type

/** A schema element with those inside of it. */
interface SchemaTree {
  readonly element: SchemaElement
  readonly children: ReadonlyArray<SchemaTree>
}

const isRepeated = (tree: SchemaTree): boolean => tree.element.repetition_type === "REPEATED"

/** Levels more than these are no data but an attack. */
const DEEPEST = 64
/** Elements within elements: a level of a list takes two. */
const DEEPEST_TREE = 2 * DEEPEST + 2

/** The tree of elements that lie one behind the other, each with a count of those inside. */
const treeOf = (schema: ReadonlyArray<SchemaElement>): SchemaTree => {
  let at = 0
  const take = (depth: number): SchemaTree => {
    const element = schema[at++]
    if (element === undefined) throw damaged("its columns say that more are inside than there are")
    if (depth > DEEPEST_TREE) throw damaged(`the columns are nested deeper than ${DEEPEST} levels`)
    const children: Array<SchemaTree> = []
    for (let i = 0; i < (element.num_children ?? 0); i++) children.push(take(depth + 1))
    return { element, children }
  }
  const root = take(0)
  if (at !== schema.length) throw damaged("columns lie outside of its columns")
  return root
}

/** The first name that stands twice, if one does. */
export const twiceNamed = (shapes: ReadonlyArray<Shape>): Shape | undefined => {
  const seen = new Set<string>()
  return shapes.find(({ name }) => seen.size === seen.add(name).size)
}

class Builder {
  #leaves = 0

  shape(tree: SchemaTree, parent: string, def: number, rep: number): Shape {
    const { name } = tree.element
    if (name === "__proto__") throw new ParquetFault("unsupported", "a column is called __proto__")
    const path = parent === "" ? name : `${parent}.${name}`
    if (isRepeated(tree)) {
      const item = this.#bare(tree, path, def + 1, rep + 1, false)
      return { kind: "list", name, path, optional: false, def, item, itemDef: def + 1, rep: rep + 1 }
    }
    const optional = tree.element.repetition_type !== "REQUIRED"
    return this.#bare(tree, path, optional ? def + 1 : def, rep, optional)
  }

  #bare(tree: SchemaTree, path: string, def: number, rep: number, optional: boolean): Shape {
    const { children, element } = tree
    const { name } = element
    if (def > DEEPEST) throw damaged(`the columns are nested deeper than ${DEEPEST} levels`)
    if (element.type !== undefined) {
      if (children.length > 0) throw damaged("a column of values has columns inside", path)
      return { kind: "leaf", name, path, optional, def, rep, element, index: this.#leaves++ }
    }
    if (children.length === 0) throw new ParquetFault("unsupported", "a struct without fields", { column: path })
    const kind = kindOf(element)
    if (kind === "VARIANT") throw new ParquetFault("unsupported", "VARIANT is not read", { column: path })
    const inner = children[0]!
    if (kind === "LIST" && children.length === 1 && isRepeated(inner)) {
      const item = this.#item(inner, name, path, def + 1, rep + 1)
      return { kind: "list", name, path, optional, def, item, itemDef: def + 1, rep: rep + 1 }
    }
    const isMap = kind === "MAP" || kind === "MAP_KEY_VALUE"
    if (isMap && children.length === 1 && isRepeated(inner) && inner.children.length === 2) {
      const item = this.#bare(inner, path, def + 1, rep + 1, false)
      return { kind: "list", name, path, optional, def, item, itemDef: def + 1, rep: rep + 1 }
    }
    const fields = children.map((child) => this.shape(child, path, def, rep))
    const twice = twiceNamed(fields)
    if (twice !== undefined) throw new ParquetFault("unsupported", "the name stands twice", { column: twice.path })
    return { kind: "struct", name, path, optional, def, fields }
  }

  /** What a list holds, below its repeated group: the group's only field, or in older files the group itself. */
  #item(repeated: SchemaTree, list: string, path: string, def: number, rep: number): Shape {
    const { children, element } = repeated
    const isItem =
      element.type !== undefined ||
      children.length !== 1 ||
      element.name === "array" ||
      element.name === `${list}_tuple`
    if (isItem) return this.#bare(repeated, path, def, rep, false)
    const child = children[0]!
    const optional = child.element.repetition_type !== "REQUIRED"
    return isRepeated(child)
      ? this.shape(child, path, def, rep)
      : this.#bare(child, path, optional ? def + 1 : def, rep, optional)
  }
}

/** The file's columns. Throws `ParquetFault`. */
export const shapesOf = (metadata: FileMetaData): ReadonlyArray<Shape> => {
  if (metadata.schema.length < 2) throw damaged("the file has no columns")
  const builder = new Builder()
  return treeOf(metadata.schema).children.map((child) => builder.shape(child, "", 0, 0))
}

/** The leaves below a shape, in the file's order. */
export const leavesOf = (shape: Shape): ReadonlyArray<Leaf> =>
  shape.kind === "leaf" ? [shape] : shape.kind === "list" ? leavesOf(shape.item) : shape.fields.flatMap(leavesOf)

const prune = (shape: Shape, isWanted: (leaf: Leaf) => boolean): Shape | undefined => {
  if (shape.kind === "leaf") return isWanted(shape) ? shape : undefined
  if (shape.kind === "list") {
    const item = prune(shape.item, isWanted)
    return item === undefined ? undefined : { ...shape, item }
  }
  const fields = shape.fields.flatMap((field) => prune(field, isWanted) ?? [])
  return fields.length === 0 ? undefined : { ...shape, fields }
}

const under = (leaf: Leaf, column: string): boolean => leaf.path === column || leaf.path.startsWith(`${column}.`)

/** The columns named and what lies inside of them; those not there are an error, or left out with `absent: "skip"`. */
export const project = (
  shapes: ReadonlyArray<Shape>,
  columns: ReadonlyArray<string>,
  absent: "fail" | "skip"
): ReadonlyArray<Shape> => {
  const leaves = shapes.flatMap(leavesOf)
  const lost = columns.find((column) => !leaves.some((leaf) => under(leaf, column)))
  if (lost !== undefined && absent === "fail") {
    throw new ParquetFault("no-column", `is not there; the file has ${shapes.map(({ name }) => name).join(", ")}`, {
      column: lost
    })
  }
  return shapes.flatMap((shape) => prune(shape, (leaf) => columns.some((column) => under(leaf, column))) ?? [])
}

/** All but the columns named and what lies inside of them. */
export const without = (shapes: ReadonlyArray<Shape>, columns: ReadonlyArray<string>): ReadonlyArray<Shape> =>
  shapes.flatMap((shape) => prune(shape, (leaf) => !columns.some((column) => under(leaf, column))) ?? [])
