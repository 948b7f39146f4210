/**
 * The Parquet form of a row Schema: columns, and how values go into them and come back equal.
 *
 * Not a codec of every Schema: texts, numbers, integers, bigints, booleans, literals, bytes, typed arrays, lists,
 * structs, JSON values, each also nullable or optional. What has no such form (records, tuples, unions of unlike
 * things, structs without fields) is a typed error that names the column. Pure; no I/O.
 *
 * | Schema | column |
 * |---|---|
 * | String, literals of text | string |
 * | Number, Finite | double; Int (any number checked by `isInt`) is int64, whose zero has no sign |
 * | BigInt | int64; beyond 64 bits is an error |
 * | Boolean | boolean |
 * | Uint8Array | bytes; Int32Array, Float32Array, Float64Array are lists |
 * | Array, Struct | list, struct |
 * | Json | a string marked as JSON |
 * | NullOr, optional, optionalKey | nullable; where a value may be both null and absent there is no form |
 */
import { Schema, type SchemaAST } from "effect"
import type { SchemaElement } from "hyparquet"
import { ParquetFault } from "./ParquetError.ts"

/** A column: its schema elements in file order, and both directions of its values. `null` stands for absent, too. */
export interface Column {
  readonly elements: ReadonlyArray<SchemaElement>
  /** The value as the writer takes it. Throws `ParquetFault`. Adds what it weighs to `size`. */
  readonly write: (value: unknown, size: Size) => unknown
  /**
   * What was written, out of what a file gives with bigints and JSON as text. Throws `ParquetFault` for another value.
   */
  readonly read: (stored: unknown) => unknown
}

/** Bytes of the values written so far, roughly: what a row group is cut by. */
export interface Size {
  bytes: number
}

type Repetition = "REQUIRED" | "OPTIONAL"

const noForm = (path: string, what: string): never => {
  throw new ParquetFault("no-form", `${what} has no Parquet form`, { column: path })
}

const wrong = (path: string, wanted: string, value: unknown): never => {
  const text = typeof value === "object" && value !== null ? value.constructor?.name : String(value)
  const shown = text.length > 60 ? `${text.slice(0, 60).toWellFormed()}...` : text.toWellFormed()
  throw new ParquetFault("bad-value", `${shown} is no ${wanted}`, { column: path })
}

interface Scalar {
  readonly type: NonNullable<SchemaElement["type"]>
  /** What the bytes stand for, where the type alone does not say it. */
  readonly mark?: Pick<SchemaElement, "converted_type" | "logical_type">
  readonly wanted: string
  readonly bytes: (value: never) => number
  readonly is: (value: unknown) => boolean
  readonly write?: (value: never) => unknown
  readonly read?: (stored: never) => unknown
  readonly isStored?: (stored: unknown) => boolean
}

const isNumber = (value: unknown): boolean => typeof value === "number"
const text: Scalar = {
  type: "BYTE_ARRAY",
  mark: { converted_type: "UTF8" },
  wanted: "well-formed text",
  bytes: (value: string) => value.length,
  is: (value) => typeof value === "string" && value.isWellFormed()
}
const double: Scalar = { type: "DOUBLE", wanted: "number", bytes: () => 8, is: isNumber }
const integer: Scalar = {
  type: "INT64",
  wanted: "safe integer",
  bytes: () => 8,
  is: Number.isSafeInteger,
  write: (value: number) => BigInt(value),
  isStored: (stored) => typeof stored === "bigint" && Number.isSafeInteger(Number(stored)),
  read: (stored: bigint) => Number(stored)
}
const bigint: Scalar = {
  type: "INT64",
  wanted: "integer of 64 bits",
  bytes: () => 8,
  is: (value) => typeof value === "bigint" && BigInt.asIntN(64, value) === value
}
const boolean: Scalar = {
  type: "BOOLEAN",
  wanted: "boolean",
  bytes: () => 1,
  is: (value) => typeof value === "boolean"
}
const bytes: Scalar = {
  type: "BYTE_ARRAY",
  wanted: "Uint8Array",
  bytes: (value: Uint8Array) => value.byteLength,
  is: (value) => value instanceof Uint8Array
}
const float: Scalar = { type: "FLOAT", wanted: "number", bytes: () => 4, is: isNumber }
const int32: Scalar = {
  type: "INT32",
  wanted: "int32",
  bytes: () => 4,
  is: (value) => (value as number) === ((value as number) | 0)
}

const scalar = (name: string, path: string, repetition: Repetition, of: Scalar): Column => ({
  elements: [
    {
      name,
      type: of.type,
      repetition_type: repetition,
      ...of.mark
    }
  ],
  write: (value, size) => {
    if (!of.is(value)) return wrong(path, of.wanted, value)
    size.bytes += of.bytes(value as never)
    return of.write === undefined ? value : of.write(value as never)
  },
  read: (stored) => {
    if (!(of.isStored ?? of.is)(stored)) return wrong(path, of.wanted, stored)
    return of.read === undefined ? stored : of.read(stored as never)
  }
})

const isJsonValue = Schema.is(Schema.Json)

/**
 * A JSON value as its text, null as `null`, so that an absent one is told from it: the writer's own encoding of JSON
 * takes null for absent. Files are read with JSON as text.
 */
const jsonColumn = (name: string, path: string, mayBeAbsent: boolean): Column => ({
  elements: [
    {
      name,
      type: "BYTE_ARRAY",
      repetition_type: mayBeAbsent ? "OPTIONAL" : "REQUIRED",
      logical_type: { type: "JSON" }
    }
  ],
  write: (value, size) => {
    if (value === undefined && mayBeAbsent) return null
    if (!isJsonValue(value)) return wrong(path, "JSON value", value)
    const encoded = Buffer.from(JSON.stringify(value))
    size.bytes += encoded.byteLength
    return encoded
  },
  read: (stored) => {
    if (stored === null && mayBeAbsent) return undefined
    try {
      return typeof stored === "string" ? JSON.parse(stored) : wrong(path, "text of JSON", stored)
    } catch (cause) {
      throw cause instanceof ParquetFault
        ? cause
        : new ParquetFault("bad-value", "a text is no JSON", { column: path, cause })
    }
  }
})

const group = (name: string, repetition: Repetition | "REPEATED", children: number, list = false): SchemaElement => ({
  name,
  repetition_type: repetition,
  num_children: children,
  ...(list ? { converted_type: "LIST" as const } : {})
})

const listOf = (name: string, path: string, repetition: Repetition, item: Column): Column => ({
  elements: [group(name, repetition, 1, true), group("list", "REPEATED", 1), ...item.elements],
  write: (value, size) => {
    if (!Array.isArray(value)) return wrong(path, "array", value)
    size.bytes += 4
    return value.map((one) => item.write(one, size))
  },
  read: (stored) => {
    if (!Array.isArray(stored)) return wrong(path, "list", stored)
    return stored.map(item.read)
  }
})

type Typed = Int32Array | Float32Array | Float64Array
const typedArrays: ReadonlyArray<readonly [new (items: ArrayLike<number>) => Typed, Scalar]> = [
  [Int32Array, int32],
  [Float32Array, float],
  [Float64Array, double]
]

/** Typed arrays as lists of their numbers. */
const typedList = (
  name: string,
  path: string,
  repetition: Repetition,
  make: new (items: ArrayLike<number>) => Typed,
  of: Scalar
): Column => {
  const list = listOf(name, path, repetition, scalar("element", path, "REQUIRED", of))
  return {
    ...list,
    write: (value, size) => {
      if (!(value instanceof make)) return wrong(path, make.name, value)
      size.bytes += value.byteLength
      return Array.from(value)
    },
    read: (stored) => new make(list.read(stored) as Array<number>)
  }
}

/** Null and absent values in front of a column. `absent` is what a null reads back as. */
const optional = (column: Column, absent: null | undefined): Column => ({
  elements: column.elements,
  write: (value, size) => (value === null || value === undefined ? null : column.write(value, size)),
  read: (stored) => (stored === null || stored === undefined ? absent : column.read(stored))
})

const structOf = (
  name: string,
  path: string,
  repetition: Repetition,
  fields: ReadonlyArray<SchemaAST.PropertySignature>
): Column => {
  if (fields.length === 0) return noForm(path, "a struct without fields")
  const columns = fields.map((field) => {
    const key = String(field.name)
    const at = path === "" ? key : `${path}.${key}`
    if (typeof field.name === "symbol" || key === "__proto__") return noForm(at, "such a name")
    return [key, columnOf(key, at, field.type, field.type.context?.isOptional === true)] as const
  })
  return {
    elements: [group(name, repetition, columns.length), ...columns.flatMap(([, column]) => column.elements)],
    write: (value, size) => {
      if (typeof value !== "object" || value === null) return wrong(path, "object", value)
      const out: Record<string, unknown> = {}
      for (const [key, column] of columns) out[key] = column.write((value as Record<string, unknown>)[key], size)
      return out
    },
    read: (stored) => {
      if (typeof stored !== "object" || stored === null) return wrong(path, "struct", stored)
      const out: Record<string, unknown> = {}
      for (const [key, column] of columns) {
        const value = column.read((stored as Record<string, unknown>)[key])
        if (value !== undefined) out[key] = value
      }
      return out
    }
  }
}

const isIntChecked = (ast: SchemaAST.AST): boolean =>
  JSON.stringify((ast.checks ?? []).map((check) => check.annotations?.["representation"])).includes(
    '"effect/schema/isInt"'
  )

/** Literals of one kind are that kind's column; what is read back must be one of them. */
const literalsOf = (name: string, path: string, repetition: Repetition, literals: ReadonlySet<unknown>): Column => {
  const kinds = new Set([...literals].map((literal) => typeof literal))
  const [kind] = kinds
  if (kinds.size !== 1) return noForm(path, "a choice of unlike literals")
  const of =
    kind === "string"
      ? text
      : kind === "boolean"
        ? boolean
        : kind === "bigint"
          ? bigint
          : [...literals].every(Number.isSafeInteger)
            ? integer
            : double
  const column = scalar(name, path, repetition, of)
  const checked = (value: unknown) => (literals.has(value) ? value : wrong(path, "value of the choice", value))
  return {
    elements: column.elements,
    write: (value, size) => column.write(checked(value), size),
    read: (stored) => checked(column.read(stored))
  }
}

const plainColumn = (name: string, path: string, ast: SchemaAST.AST, repetition: Repetition): Column => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return scalar(name, path, repetition, text)
    case "Number":
      return scalar(name, path, repetition, isIntChecked(ast) ? integer : double)
    case "BigInt":
      return scalar(name, path, repetition, bigint)
    case "Boolean":
      return scalar(name, path, repetition, boolean)
    case "Literal":
      return literalsOf(name, path, repetition, new Set([ast.literal]))
    case "Arrays":
      if (ast.elements.length > 0 || ast.rest.length !== 1) return noForm(path, "a tuple")
      return listOf(name, path, repetition, columnOf("element", path, ast.rest[0]!, false))
    case "Objects":
      if (ast.indexSignatures.length > 0) return noForm(path, "a record")
      return structOf(name, path, repetition, ast.propertySignatures)
    case "Union":
      if (ast.types.every((type) => type._tag === "Literal"))
        return literalsOf(name, path, repetition, new Set(ast.types.map((type) => (type as SchemaAST.Literal).literal)))
      return noForm(path, "a union of unlike things")
    case "Declaration": {
      const is = Schema.is(Schema.make<Schema.Codec<unknown>>(ast))
      if (is(new Uint8Array(0))) return scalar(name, path, repetition, bytes)
      const typed = typedArrays.find(([make]) => is(new make([])))
      return typed === undefined ? noForm(path, "this class") : typedList(name, path, repetition, ...typed)
    }
    default:
      return noForm(path, `a ${ast._tag}`)
  }
}

const isJson = (ast: SchemaAST.AST): boolean =>
  ast._tag === "Declaration" &&
  JSON.stringify(ast.annotations?.["representation"] ?? null).includes('"effect/schema/Json"')

/** A column, nullable where its values may be null or absent, but not both: they would come back as one. */
const columnOf = (name: string, path: string, ast: SchemaAST.AST, mayBeAbsent: boolean): Column => {
  const members = ast._tag === "Union" ? ast.types : [ast]
  const isNullable = members.some((type) => type._tag === "Null")
  const isAbsent = mayBeAbsent || members.some((type) => type._tag === "Undefined")
  const rest = members.filter((type) => type._tag !== "Null" && type._tag !== "Undefined")
  if (rest.length === 1 && isJson(rest[0]!)) return jsonColumn(name, path, isAbsent)
  if (isNullable && isAbsent) return noForm(path, "what may be null and may be absent")
  if (rest.length === 0) return noForm(path, "a column that is always null")
  const repetition = isNullable || isAbsent ? "OPTIONAL" : "REQUIRED"
  const column =
    rest.length === 1
      ? plainColumn(name, path, rest[0]!, repetition)
      : rest.every((type) => type._tag === "Literal")
        ? literalsOf(name, path, repetition, new Set(rest.map((type) => (type as SchemaAST.Literal).literal)))
        : noForm(path, "a union of unlike things")
  return repetition === "REQUIRED" ? column : optional(column, isNullable ? null : undefined)
}

/** The columns of a row Schema, under the root element. Throws `ParquetFault` where there is no form. */
export const formOf = (schema: Schema.Codec<any, any>): Column => {
  const ast = Schema.toType(schema).ast
  return ast._tag === "Objects" && ast.indexSignatures.length === 0
    ? structOf("schema", "", "REQUIRED", ast.propertySignatures)
    : noForm("", "what is no struct")
}
