/**
 * A module cut into its top-level statements: what each declares, uses, changes and reads beside imports.
 *
 * Not a type checker and not a bundler. Names are resolved by scope within the module; where a value goes is not
 * followed. What cannot be told is counted as used, so that a digest may change for nothing but never misses a change.
 */
import { type ParserOptions, parseSync } from "oxc-parser"

/** A node of the syntax tree, as oxc-parser gives it (ESTree). */
export interface Syntax {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: any
}

/** A file that a statement names without importing it: by `require`, as the code of a `Worker`, by a computed name. */
export type Named =
  | { readonly kind: "file"; readonly specifier: string }
  /** A name made at run time; `prefix` is what stands in front of it (`./plugins/`), or nothing. */
  | { readonly kind: "computed"; readonly prefix: string }

export interface Statement {
  readonly start: number
  readonly end: number
  readonly declares: ReadonlyArray<string>
  /** Free names, and which members of each are read (`*`: the whole). */
  readonly uses: ReadonlyMap<string, ReadonlySet<string>>
  /** Free names whose value this code may change: assigned to, called upon (`list.push`), given to a call. */
  readonly changes: ReadonlySet<string>
  /** The part of `changes` and `uses` that also a plain reading of the statement may do: callees that get a name. */
  readonly gives: ReadonlyArray<{ readonly to: string; readonly name: string }>
  /** Changes something that no module declares (`globalThis.x = 1`). */
  readonly changesGlobals: boolean
  /**
   * Runs code when the module is loaded: `none` for functions and literals, `value` for `const x = f()`, `effect` for
   * the rest.
   */
  readonly runs: "none" | "value" | "effect"
  /** Name of the function that an `effect` statement calls, if that is all it does. */
  readonly callee: string | undefined
  /** Declares a value that other code could change (an object, a list, `let`). */
  readonly mutable: boolean
  /** Its value is the result of a call of this name. */
  readonly madeBy: string | undefined
  readonly named: ReadonlyArray<Named>
  /** Specifiers of `import("...")`. */
  readonly dynamic: ReadonlyArray<string>
  /** Declares a service (`class X extends Context.Service...`). */
  readonly service: boolean
}

export interface ImportedName {
  readonly from: string
  /** Exported name there, or `*` for the namespace. */
  readonly name: string
}

export interface Module {
  readonly path: string
  readonly text: string
  /** No import or export: CommonJS or a script, taken whole. */
  readonly whole: boolean
  readonly body: ReadonlyArray<Syntax>
  readonly statements: ReadonlyArray<Statement>
  /** Statement numbers by declared name. */
  readonly declared: ReadonlyMap<string, number>
  readonly imports: ReadonlyMap<string, ImportedName>
  /** Local name by exported name. */
  readonly exports: ReadonlyMap<string, string>
  readonly reexports: ReadonlyMap<string, ImportedName>
  readonly stars: ReadonlyArray<string>
  /** Every module whose loading this one causes, with the import attributes written there. */
  readonly loads: ReadonlyMap<string, string>
}

/** The local name of `export default <expression>`. */
export const DEFAULT = "*default*"

const wrappers = new Set([
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "TSTypeAssertion",
  "TSInstantiationExpression"
])
/** Without parentheses and type assertions. */
export const bare = (node: Syntax): Syntax =>
  wrappers.has(node.type) || node.type === "ParenthesizedExpression" || node.type === "ChainExpression"
    ? bare(node["expression"])
    : node

const isNode = (value: unknown): value is Syntax =>
  typeof value === "object" && value !== null && typeof (value as Syntax).type === "string"

/** Nodes below one that stand for something at run time. */
export const childrenOf = (node: Syntax): ReadonlyArray<Syntax> => {
  const out: Array<Syntax> = []
  for (const key in node) {
    const value = node[key]
    if (Array.isArray(value)) {
      for (const one of value) if (isNode(one)) out.push(one)
    } else if (isNode(value)) out.push(value)
  }
  return out
}

export const isFunction = (node: Syntax): boolean =>
  node.type === "FunctionDeclaration" || node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression"

/** Names that a pattern binds. */
export const namesOf = (pattern: Syntax | null | undefined): ReadonlyArray<string> => {
  if (pattern === null || pattern === undefined) return []
  switch (pattern.type) {
    case "Identifier":
      return [pattern["name"]]
    case "ObjectPattern":
      return pattern["properties"].flatMap((one: Syntax) =>
        namesOf(one.type === "RestElement" ? one["argument"] : one["value"])
      )
    case "ArrayPattern":
      return pattern["elements"].flatMap((one: Syntax | null) => namesOf(one))
    case "AssignmentPattern":
      return namesOf(pattern["left"])
    case "RestElement":
      return namesOf(pattern["argument"])
    case "TSParameterProperty":
      return namesOf(pattern["parameter"])
    default:
      return []
  }
}

/** Names that statements of one block bind there (not `var`, which belongs to the function). */
const lexical = (statements: ReadonlyArray<Syntax>): ReadonlyArray<string> =>
  statements.flatMap((one) =>
    one.type === "VariableDeclaration" && one["kind"] !== "var"
      ? one["declarations"].flatMap((declarator: Syntax) => namesOf(declarator["id"]))
      : one.type === "ClassDeclaration" || one.type === "FunctionDeclaration" || one.type === "TSEnumDeclaration"
        ? namesOf(one["id"])
        : []
  )

/** `var` names below a node, functions inside excepted. */
const hoisted = (node: Syntax): ReadonlyArray<string> =>
  childrenOf(node).flatMap((child) => {
    if (isFunction(child)) return []
    const own =
      child.type === "VariableDeclaration" && child["kind"] === "var"
        ? child["declarations"].flatMap((declarator: Syntax) => namesOf(declarator["id"]))
        : []
    return [...own, ...hoisted(child)]
  })

/** Names that a node binds for what lies inside it. */
export const bindsOf = (node: Syntax): ReadonlyArray<string> => {
  if (isFunction(node)) {
    const own = node.type === "FunctionExpression" ? namesOf(node["id"]) : []
    const params = node["params"].flatMap((param: Syntax) => namesOf(param))
    return [...own, ...params, ...hoisted(node["body"] ?? node), "arguments"].filter(
      (name) => name !== "arguments" || node.type !== "ArrowFunctionExpression"
    )
  }
  switch (node.type) {
    case "BlockStatement":
    case "StaticBlock":
      return lexical(node["body"])
    case "SwitchStatement":
      return node["cases"].flatMap((one: Syntax) => lexical(one["consequent"]))
    case "ForStatement":
      return lexical(node["init"] === null ? [] : [node["init"]])
    case "ForOfStatement":
    case "ForInStatement":
      return lexical([node["left"]])
    case "CatchClause":
      return namesOf(node["param"])
    case "ClassExpression":
    case "ClassDeclaration":
      return namesOf(node["id"])
    default:
      return []
  }
}

/** What a walk meets. `free` says whether a name is bound outside of the walked node. */
export interface Meets {
  /** A name that is read; `member` is the property read of it, `*` when it is the value itself. */
  readonly name?: (name: string, member: string, node: Syntax) => void
  readonly node?: (node: Syntax, free: (name: string) => boolean) => void
}

/**
 * Walks what runs (no types), with scopes. Only names that are bound outside of `root` are met. Longer than a screen:
 * one case a kind of syntax.
 */
export const walk = (root: Syntax, meets: Meets): void => {
  const scopes: Array<ReadonlySet<string>> = []
  const free = (name: string) => !scopes.some((scope) => scope.has(name))
  const pattern = (node: Syntax | null): undefined => {
    if (node === null) return
    if (node.type === "Identifier") return
    if (node.type === "ObjectPattern") {
      for (const one of node["properties"] as ReadonlyArray<Syntax>) {
        if (one.type === "RestElement") pattern(one["argument"])
        else {
          if (one["computed"] === true) visit(one["key"])
          pattern(one["value"])
        }
      }
    } else if (node.type === "ArrayPattern") for (const one of node["elements"]) pattern(one)
    else if (node.type === "AssignmentPattern") {
      pattern(node["left"])
      visit(node["right"])
    } else if (node.type === "RestElement") pattern(node["argument"])
    else if (node.type === "TSParameterProperty") pattern(node["parameter"])
    else visit(node) // a target such as `a.b` in `[a.b] = c`
  }
  const inside = (node: Syntax, body: () => void): undefined => {
    const names = bindsOf(node)
    if (names.length > 0) scopes.push(new Set(names))
    body()
    if (names.length > 0) scopes.pop()
  }
  const visit = (node: Syntax | null | undefined): undefined => {
    if (node === null || node === undefined) return
    if (node.type.startsWith("TS")) {
      if (wrappers.has(node.type)) return visit(node["expression"])
      if (node.type !== "TSEnumDeclaration" && node.type !== "TSEnumBody" && node.type !== "TSEnumMember") return
    }
    if (node.type.startsWith("JSX")) return jsx(node)
    meets.node?.(node, free)
    switch (node.type) {
      case "Identifier":
        if (free(node["name"])) meets.name?.(node["name"], "*", node)
        return
      case "MemberExpression": {
        const object = bare(node["object"])
        if (object.type === "Identifier" && node["computed"] !== true) {
          if (free(object["name"])) meets.name?.(object["name"], node["property"]["name"], node)
        } else visit(node["object"])
        if (node["computed"] === true) visit(node["property"])
        return
      }
      case "Property":
      case "MethodDefinition":
      case "PropertyDefinition":
      case "AccessorProperty":
        for (const one of node["decorators"] ?? []) visit(one)
        if (node["computed"] === true) visit(node["key"])
        return visit(node["value"])
      case "VariableDeclarator":
        pattern(node["id"])
        return visit(node["init"])
      case "LabeledStatement":
        return visit(node["body"])
      case "BreakStatement":
      case "ContinueStatement":
      case "MetaProperty":
      case "ImportDeclaration":
      case "ExportAllDeclaration":
        return
      case "ExportNamedDeclaration":
        return visit(node["declaration"])
      case "CatchClause":
        return inside(node, () => {
          pattern(node["param"])
          visit(node["body"])
        })
      case "ClassDeclaration":
      case "ClassExpression":
        return inside(node, () => {
          for (const one of node["decorators"] ?? []) visit(one)
          visit(node["superClass"])
          visit(node["body"])
        })
      default:
    }
    if (isFunction(node))
      return inside(node, () => {
        for (const param of node["params"]) pattern(param)
        visit(node["body"])
      })
    inside(node, () => {
      for (const child of childrenOf(node)) visit(child)
    })
  }
  const jsx = (node: Syntax): undefined => {
    if (node.type === "JSXIdentifier") {
      if (free(node["name"])) meets.name?.(node["name"], "*", node)
      return
    }
    if (node.type === "JSXAttribute") return visit(node["value"])
    if (node.type === "JSXMemberExpression") return jsx(node["object"])
    for (const child of childrenOf(node)) visit(child)
  }
  visit(root)
}

/** The name at the root of `a.b[c].d`, if there is one. */
const rootName = (node: Syntax): string | undefined => {
  const plain = bare(node)
  if (plain.type === "Identifier") return plain["name"]
  return plain.type === "MemberExpression" ? rootName(plain["object"]) : undefined
}

/** What stands in front of a name made at run time: `./plugins/` of `./plugins/${name}.ts`. */
const prefixOf = (node: Syntax | undefined): string => {
  if (node === undefined) return ""
  const plain = bare(node)
  if (plain.type === "Literal") return String(plain["value"])
  if (plain.type === "TemplateLiteral") return plain["quasis"][0]["value"]["cooked"] ?? ""
  return plain.type === "BinaryExpression" ? prefixOf(plain["left"]) : ""
}

const literal = (node: Syntax | undefined): string | undefined => {
  if (node === undefined) return undefined
  const plain = bare(node)
  if (plain.type === "Literal" && typeof plain["value"] === "string") return plain["value"]
  return plain.type === "TemplateLiteral" && plain["expressions"].length === 0 ? prefixOf(plain) : undefined
}

const namedBy = (node: Syntax | undefined): Named => {
  const specifier = literal(node)
  return specifier === undefined ? { kind: "computed", prefix: prefixOf(node) } : { kind: "file", specifier }
}

const isMeta = (node: Syntax | undefined, property: string): boolean => {
  if (node === undefined) return false
  const plain = bare(node)
  return (
    plain.type === "MemberExpression" &&
    plain["object"].type === "MetaProperty" &&
    plain["property"]["name"] === property
  )
}

const isCreateRequire = (node: Syntax | null | undefined): boolean => {
  if (node === null || node === undefined) return false
  const plain = bare(node)
  if (plain.type !== "CallExpression") return false
  const callee = bare(plain["callee"])
  return (callee.type === "MemberExpression" ? callee["property"]["name"] : callee["name"]) === "createRequire"
}

/** Names bound to `createRequire(...)` anywhere in a module. */
const requires = (body: ReadonlyArray<Syntax>): ReadonlySet<string> => {
  const out = new Set<string>()
  const visit = (node: Syntax): void => {
    if (node.type === "VariableDeclarator" && isCreateRequire(node["init"]))
      for (const name of namesOf(node["id"])) out.add(name)
    for (const child of childrenOf(node)) visit(child)
  }
  for (const node of body) visit(node)
  return out
}

/** The file that an expression names beside imports, if it does. */
const fileNamed = (node: Syntax, required: ReadonlySet<string>): Named | undefined => {
  if (node.type === "NewExpression") {
    const url = node["callee"]["name"] === "Worker" ? (node["arguments"][0] as Syntax | undefined) : undefined
    if (url?.type !== "NewExpression" || url["callee"]["name"] !== "URL") return undefined
    const [first, second] = url["arguments"] as ReadonlyArray<Syntax>
    return isMeta(second, "url") ? namedBy(first) : undefined
  }
  if (node.type === "ImportExpression")
    return literal(node["source"]) === undefined ? namedBy(node["source"]) : undefined
  if (node.type !== "CallExpression") return undefined
  const callee = bare(node["callee"])
  const [first] = node["arguments"] as ReadonlyArray<Syntax>
  if (isCreateRequire(callee)) return namedBy(first)
  if (isMeta(callee, "resolve")) return namedBy(first)
  if (callee.type === "Identifier" && required.has(callee["name"])) return namedBy(first)
  // A plain `require` with a literal is followed like an import.
  if (callee["name"] === "require" && literal(first) === undefined) return namedBy(first)
  const object = callee.type === "MemberExpression" ? bare(callee["object"]) : undefined
  if (object === undefined || callee["property"]["name"] !== "resolve") return undefined
  return isCreateRequire(object) || required.has(object["name"]) ? namedBy(first) : undefined
}

/** Methods that never change what they are called upon. */
const readers = new Set(
  "named map filter find findIndex some every includes indexOf join slice concat flatMap flat reduce get has keys values entries at toString toFixed pipe startsWith endsWith split trim test".split(
    " "
  )
)
const changers = new Set(["assign", "defineProperty", "defineProperties", "setPrototypeOf", "set", "deleteProperty"])

const SERVICE = /\b(?:Service|Reference|Tag|GenericTag)\s*(?:<|\()/

/** Whether evaluating an expression runs code of others; functions inside are not entered. */
const runsCode = (node: Syntax | null | undefined): boolean => {
  if (node === null || node === undefined) return false
  if (isFunction(node)) return false
  if (node.type.startsWith("TS") && !wrappers.has(node.type)) return false
  if (
    [
      "CallExpression",
      "NewExpression",
      "TaggedTemplateExpression",
      "AwaitExpression",
      "AssignmentExpression",
      "UpdateExpression",
      "ImportExpression",
      "StaticBlock",
      "Decorator"
    ].includes(node.type)
  )
    return true
  if (node.type === "PropertyDefinition")
    return node["static"] === true ? runsCode(node["value"]) : node["computed"] === true && runsCode(node["key"])
  return childrenOf(node).some(runsCode)
}

const isPlainValue = (node: Syntax | null | undefined): boolean => {
  if (node === null || node === undefined) return true
  const plain = bare(node)
  return (
    isFunction(plain) ||
    ["Literal", "TemplateLiteral", "ClassExpression", "UnaryExpression", "BinaryExpression"].includes(plain.type)
  )
}

/** The name whose call gives a value: `whole` of `whole(...)`, `Schema` of `Schema.Struct(...)`. */
const calleeName = (node: Syntax | null | undefined): string | undefined => {
  if (node === null || node === undefined) return undefined
  const plain = bare(node)
  if (plain.type === "AwaitExpression") return calleeName(plain["argument"])
  if (plain.type !== "CallExpression") return undefined
  const callee = bare(plain["callee"])
  if (callee.type === "CallExpression") return calleeName(callee)
  if (callee.type === "MemberExpression" && bare(callee["object"]).type === "CallExpression")
    return calleeName(callee["object"])
  return rootName(callee)
}

const kindOf = (node: Syntax): Pick<Statement, "runs" | "callee" | "mutable" | "madeBy"> => {
  const none = { runs: "none", callee: undefined, mutable: false, madeBy: undefined } as const
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportAllDeclaration":
    case "FunctionDeclaration":
    case "EmptyStatement":
      return none
    case "ExportNamedDeclaration":
      return node["declaration"] === null ? none : kindOf(node["declaration"])
    case "ExportDefaultDeclaration": {
      const value = node["declaration"] as Syntax
      if (value.type === "FunctionDeclaration" || value.type === "ClassDeclaration") return kindOf(value)
      const runs = runsCode(value) ? "value" : "none"
      return { ...none, runs, mutable: !isPlainValue(value), madeBy: calleeName(value) }
    }
    case "ClassDeclaration":
      return { ...none, runs: runsCode(node) ? "value" : "none" }
    case "VariableDeclaration": {
      const all = node["declarations"] as ReadonlyArray<Syntax>
      return {
        runs: all.some((one) => runsCode(one["init"]) || runsCode(one["id"])) ? "value" : "none",
        callee: undefined,
        mutable: node["kind"] !== "const" || !all.every((one) => isPlainValue(one["init"])),
        madeBy: all.length === 1 ? calleeName(all[0]!["init"]) : undefined
      }
    }
    case "ExpressionStatement":
      if (typeof node["directive"] === "string") return none
      return { runs: "effect", callee: calleeName(node["expression"]), mutable: false, madeBy: undefined }
    default:
      if (node.type.startsWith("TS") && node.type !== "TSEnumDeclaration" && node.type !== "TSImportEqualsDeclaration")
        return none
      return { runs: "effect", callee: undefined, mutable: false, madeBy: undefined }
  }
}

const declaresOf = (node: Syntax): ReadonlyArray<string> => {
  switch (node.type) {
    case "ExportNamedDeclaration":
      return node["declaration"] === null ? [] : declaresOf(node["declaration"])
    case "ExportDefaultDeclaration": {
      const own = namesOf(node["declaration"]["id"])
      return own.length > 0 && /Declaration$/.test(node["declaration"].type) ? own : [DEFAULT]
    }
    case "VariableDeclaration":
      return node["declarations"].flatMap((one: Syntax) => namesOf(one["id"]))
    case "FunctionDeclaration":
    case "ClassDeclaration":
    case "TSEnumDeclaration":
      return namesOf(node["id"])
    default:
      return []
  }
}

const statementOf = (node: Syntax, text: string, required: ReadonlySet<string>): Statement => {
  const uses = new Map<string, Set<string>>()
  const changes = new Set<string>()
  const gives: Array<{ to: string; name: string }> = []
  const named: Array<Named> = []
  const dynamic: Array<string> = []
  const targets: Array<string> = []
  const target = (of: Syntax, free: (name: string) => boolean): void => {
    const plain = bare(of)
    const all = /Pattern$/.test(plain.type) ? namesOf(plain) : [rootName(plain)]
    for (const name of all) if (name !== undefined && free(name)) targets.push(name)
  }
  walk(node, {
    name: (name, member) => {
      const members = uses.get(name)
      if (members === undefined) uses.set(name, new Set([member]))
      else members.add(member)
    },
    node: (one, free) => {
      const file = fileNamed(one, required)
      if (file !== undefined) named.push(file)
      switch (one.type) {
        case "ImportExpression": {
          const specifier = literal(one["source"])
          if (specifier !== undefined) dynamic.push(specifier)
          return
        }
        case "AssignmentExpression":
          return target(one["left"], free)
        case "UpdateExpression":
          return target(one["argument"], free)
        case "UnaryExpression":
          if (one["operator"] === "delete") target(one["argument"], free)
          return
        case "ForOfStatement":
        case "ForInStatement":
          if (one["left"].type !== "VariableDeclaration") target(one["left"], free)
          return
        case "CallExpression":
        case "NewExpression": {
          const callee = bare(one["callee"])
          const to = rootName(callee)
          const given = one["arguments"] as ReadonlyArray<Syntax>
          if (callee.type === "MemberExpression") {
            const method: unknown = callee["property"]["name"]
            if (to !== undefined && free(to) && !readers.has(String(method))) changes.add(to)
            if (changers.has(String(method)) && (to === "Object" || to === "Reflect") && given[0] !== undefined)
              target(given[0], free)
          }
          for (const argument of given) {
            const name = rootName(argument.type === "SpreadElement" ? argument["argument"] : argument)
            if (name !== undefined && free(name)) gives.push({ to: to ?? "", name })
          }
          return
        }
        default:
      }
    }
  })
  for (const name of targets) changes.add(name)
  return {
    start: node.start,
    end: node.end,
    declares: declaresOf(node),
    uses,
    changes,
    gives,
    changesGlobals: false,
    ...kindOf(node),
    named,
    dynamic,
    service: SERVICE.test(text.slice(node.start, node.end)),
    ...(targets.length === 0 ? {} : { targets })
  } as Statement & { readonly targets?: ReadonlyArray<string> }
}

const languageOf = (path: string): NonNullable<ParserOptions["lang"]> =>
  path.endsWith(".tsx") ? "tsx" : /\.[cm]?ts$/.test(path) ? "ts" : "jsx"

/** Parses a module. `undefined` where its text is no JavaScript or TypeScript that the parser takes. */
export const parseModule = (path: string, text: string): Module | undefined => {
  const parsed = parseSync(path, text, { lang: languageOf(path), preserveParens: true })
  if (parsed.errors.some((error) => error.severity === "Error")) return undefined
  const body = parsed.program.body as unknown as ReadonlyArray<Syntax>
  const required = requires(body)
  const plain = body.map((node) => statementOf(node, text, required))
  const declared = new Map<string, number>()
  plain.forEach((one, i) => {
    for (const name of one.declares) declared.set(name, i)
  })
  const imports = new Map<string, ImportedName>()
  const exports = new Map<string, string>()
  const reexports = new Map<string, ImportedName>()
  const stars: Array<string> = []
  const loads = new Map<string, string>()
  const nameOf = (node: Syntax): string => node["name"] ?? node["value"]
  const load = (node: Syntax) => {
    const attributes = (node["attributes"] ?? []).map(
      (one: Syntax) => `${JSON.stringify(nameOf(one["key"]))}: ${JSON.stringify(one["value"]["value"])}`
    )
    loads.set(node["source"]["value"], attributes.length === 0 ? "" : ` with { ${attributes.join(", ")} }`)
  }
  for (const node of body) {
    if (node.type === "ImportDeclaration" && node["importKind"] !== "type") {
      const from = node["source"]["value"]
      const values = node["specifiers"].filter((one: Syntax) => one["importKind"] !== "type")
      if (values.length > 0 || node["specifiers"].length === 0) load(node)
      for (const one of values)
        imports.set(one["local"]["name"], {
          from,
          name:
            one.type === "ImportNamespaceSpecifier"
              ? "*"
              : one.type === "ImportDefaultSpecifier"
                ? "default"
                : nameOf(one["imported"])
        })
    } else if (node.type === "ExportAllDeclaration" && node["exportKind"] !== "type") {
      load(node)
      if (node["exported"] === null) stars.push(node["source"]["value"])
      else reexports.set(nameOf(node["exported"]), { from: node["source"]["value"], name: "*" })
    } else if (node.type === "ExportNamedDeclaration" && node["exportKind"] !== "type") {
      if (node["source"] !== null) load(node)
      for (const one of node["specifiers"]) {
        if (one["exportKind"] === "type") continue
        if (node["source"] === null) exports.set(nameOf(one["exported"]), nameOf(one["local"]))
        else reexports.set(nameOf(one["exported"]), { from: node["source"]["value"], name: nameOf(one["local"]) })
      }
      if (node["declaration"] !== null) for (const name of declaresOf(node)) exports.set(name, name)
    } else if (node.type === "ExportDefaultDeclaration") exports.set("default", declaresOf(node)[0]!)
  }
  const known = (name: string) => declared.has(name) || imports.has(name)
  const statements = plain.map((one) => {
    const targets = (one as { readonly targets?: ReadonlyArray<string> }).targets ?? []
    return targets.some((name) => !known(name)) ? { ...one, changesGlobals: true } : one
  })
  return {
    path,
    text,
    whole: !parsed.module.hasModuleSyntax,
    body,
    statements,
    declared,
    imports,
    exports,
    reexports,
    stars,
    loads
  }
}
