/**
 * Redacted values: parameters such as a token, which no file, page, line or message may hold.
 *
 * Not encryption, and no place to keep a secret. A `Schema.Redacted` anywhere in a node's parameters is written as
 * `<redacted>`; it is no part of the node's key, unless the schema is wrapped in `inKey`: then its sha256 is. What a
 * node itself says of it (an error's text that quotes it) is cut out where the text leaves the node, by `scrub`.
 */
import { Redacted, Schema, SchemaAST, SchemaGetter } from "effect"
import { canonical, sha256 } from "./Canonical.ts"

/** What stands for a value that is not shown. */
export const REDACTED = "<redacted>"

const KEYED = "millrace/inKey"

/**
 * Makes the digest of a redacted parameter part of the key: another value runs the node again. Whoever reads the store
 * can check a guess against the digest, so this is not for short secrets. `schema` is a `Schema.Redacted`.
 *
 * @example
 * const params = Schema.Struct({ token: inKey(Schema.Redacted(Schema.String)) })
 */
export const inKey = <S extends Schema.Redacted<Schema.Constraint>>(schema: S): S =>
  schema.annotate({ [KEYED]: true }) as unknown as S

type Walked = SchemaAST.AST & { readonly recur?: (visit: (ast: SchemaAST.AST) => SchemaAST.AST) => SchemaAST.AST }

const isRedactedNode = (ast: SchemaAST.AST): ast is SchemaAST.Declaration => {
  const id = (ast.annotations?.["representation"] as { readonly id?: unknown } | undefined)?.id
  return SchemaAST.isDeclaration(ast) && id === "effect/schema/Redacted"
}

const holding = new WeakMap<SchemaAST.AST, boolean>()

/** Whether a value of this schema may hold a redacted one, at any depth. */
export const holdsRedacted = (schema: { readonly ast: SchemaAST.AST }): boolean => {
  const known = holding.get(schema.ast)
  if (known !== undefined) return known
  const seen = new Set<SchemaAST.AST>()
  const visit = (ast: SchemaAST.AST): boolean => {
    if (seen.has(ast)) return false
    seen.add(ast)
    if (isRedactedNode(ast)) return true
    if (ast._tag === "Suspend") return visit((ast as SchemaAST.Suspend).thunk())
    if (ast.encoding?.some((link) => visit(link.to)) === true) return true
    let found = false
    ;(ast as Walked).recur?.((child) => {
      found ||= visit(child)
      return child
    })
    return found
  }
  const found = visit(schema.ast)
  holding.set(schema.ast, found)
  return found
}

/** A redacted node that is written as a text that does not reveal its value. */
const hiddenNode = (ast: SchemaAST.Declaration): SchemaAST.AST => {
  const keyed = SchemaAST.resolveAt<boolean>(KEYED)(ast) === true
  let encode: ((value: unknown) => unknown) | undefined
  const digest = (value: Redacted.Redacted<unknown>): string => {
    encode ??= Schema.encodeUnknownSync(
      Schema.toCodecJson(Schema.make<Schema.Codec<unknown, unknown>>(SchemaAST.toType(ast.typeParameters[0]!)))
    )
    return sha256(canonical(encode(Redacted.value(value))))
  }
  const link = () =>
    Schema.link<Redacted.Redacted<unknown>>()(Schema.String, {
      decode: SchemaGetter.forbidden<Redacted.Redacted<unknown>, string>(() => "a redacted value is not stored"),
      encode: SchemaGetter.transform((value: Redacted.Redacted<unknown>) =>
        keyed ? `<redacted sha256 ${digest(value)}>` : REDACTED
      )
    })
  return new SchemaAST.Declaration(
    ast.typeParameters,
    ast.run,
    { ...ast.annotations, toCodecJson: link },
    ast.checks,
    undefined,
    ast.context
  )
}

/** The JSON form of a schema's values, redacted ones hidden. Encodes only. */
export const hidingCodec = (schema: Schema.Top): Schema.Codec<unknown, unknown> => {
  const hide = (ast: SchemaAST.AST): SchemaAST.AST =>
    isRedactedNode(ast) ? hiddenNode(ast) : ((ast as Walked).recur?.(hide) ?? ast)
  const type = SchemaAST.toType(schema.ast)
  return Schema.toCodecJson(Schema.make<Schema.Codec<unknown, unknown>>(hide(type)))
}

/** Texts inside plain data and class instances, and those behind redacted values apart. */
const visitValues = (value: unknown, onRedacted: (value: Redacted.Redacted<unknown>) => void): void => {
  const seen = new Set<object>()
  const visit = (one: unknown): void => {
    if (typeof one !== "object" || one === null || seen.has(one) || ArrayBuffer.isView(one)) return
    seen.add(one)
    if (Redacted.isRedacted(one)) onRedacted(one)
    else if (one instanceof Map) for (const [key, item] of one) visit([key, item])
    else if (one instanceof Set || Array.isArray(one)) for (const item of one) visit(item)
    else for (const item of Object.values(one)) visit(item)
  }
  visit(value)
}

const textsOf = (value: unknown): ReadonlyArray<string> => {
  const out: Array<string> = []
  const visit = (one: unknown): void => {
    if (typeof one === "string") out.push(one)
    else if (typeof one === "number" || typeof one === "bigint") out.push(String(one))
    else if (Array.isArray(one)) one.forEach(visit)
    else if (typeof one === "object" && one !== null && !ArrayBuffer.isView(one)) Object.values(one).forEach(visit)
  }
  visit(value)
  return out
}

/** A text shorter than this stands in too many others by chance to be cut out of them. */
const SHORTEST = 4

/** Every text that a redacted value of a pipeline of this process holds. It grows only. */
const known = new Set<string>()

/** Remembers the secrets in a node's parameters, for `scrub`; gives them. */
export const rememberSecrets = (params: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  visitValues(params, (value) => {
    for (const text of textsOf(Redacted.value(value))) {
      if (text.length < SHORTEST) continue
      found.push(text)
      known.add(text)
      // As it stands inside JSON and inside an address.
      const json = JSON.stringify(text).slice(1, -1)
      if (json !== text) known.add(json)
      if (text.isWellFormed() && encodeURIComponent(text) !== text) known.add(encodeURIComponent(text))
    }
  })
  return found
}

/** A text without the secrets of this process's pipelines. Free where there are none. */
export const scrub = (text: string): string => {
  if (known.size === 0) return text
  let out = text
  for (const secret of [...known].sort((a, b) => b.length - a.length)) out = out.replaceAll(secret, REDACTED)
  return out
}

/** Plain JSON without those secrets in its texts and names. */
export const scrubJson = <A>(value: A): A => {
  if (known.size === 0) return value
  const walk = (one: unknown): unknown => {
    if (typeof one === "string") return scrub(one)
    if (Array.isArray(one)) return one.map(walk)
    if (typeof one !== "object" || one === null) return one
    return Object.fromEntries(Object.entries(one).map(([name, item]) => [scrub(name), walk(item)]))
  }
  return walk(value) as A
}
