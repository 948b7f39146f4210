/**
 * What a definition closes over: values of the functions around it that its text does not show.
 *
 * A definition at the top of a module is its text. One that a function makes (`const constant = (text) => whole(...)`)
 * also depends on what that function was given. The call that made it is found by its place, and the calls of the
 * functions around it by the places of their callers; what they were given is text again (`constant("A")`), or it was
 * given to them in turn. What comes from no text, such as a setting of the preset, is `open`: unless the declaration
 * states it (`closes`, or `id`, `version`, `outputs`), nothing in a key would know of it.
 */
import type { SourcePosition } from "../../dag/SourceLocation.ts"
import { bare, bindsOf, childrenOf, isFunction, type Module, namesOf, type Syntax, walk } from "./Module.ts"

/** Fields of a declaration whose values are in the key. */
const stated = new Set(["id", "version", "outputs", "closes"])
/** Fields that no result depends on, or whose values are in the key as parameters, or digested as files. */
const aside = new Set([
  ...stated,
  "inputs",
  "about",
  "params",
  "refuses",
  "refuseAtMost",
  "runs",
  "engine",
  "assets",
  "retries",
  "timeout"
])

/** Nodes from a module's statement down to the call at a place. */
export type Path = ReadonlyArray<Syntax>

const offsetOf = (text: string, line: number, column: number): number => {
  let at = 0
  for (let i = 1; i < line; i++) {
    at = text.indexOf("\n", at) + 1
    if (at === 0) return text.length
  }
  return at + Math.max(0, column - 1)
}

/** The nodes around an offset, outermost first, and the number of the statement. */
const around = (module: Module, offset: number): { readonly index: number; readonly path: Path } | undefined => {
  const index = module.body.findIndex((node) => node.start <= offset && offset < node.end)
  if (index < 0) return undefined
  const path: Array<Syntax> = []
  let node: Syntax | undefined = module.body[index]
  while (node !== undefined) {
    path.push(node)
    node = childrenOf(node).find((child) => child.start <= offset && offset < child.end)
  }
  return { index, path }
}

/** A call's place as V8's stacks name it: where the callee's name begins, or behind a callee that is no name. */
const calledAt = (call: Syntax): number => {
  if (call.type === "NewExpression") return call.start
  const callee = call["callee"] as Syntax
  if (callee.type === "Identifier") return callee.start
  return callee.type === "MemberExpression" && callee["computed"] !== true ? callee["property"].start : callee.end
}

/** The call at a place, as the path down to it. Unless it must be `exact`, else the innermost one around the place. */
export const callAt = (
  module: Module,
  spot: SourcePosition,
  exact: boolean
): { readonly index: number; readonly path: Path } | undefined => {
  const offset = offsetOf(module.text, spot.line, spot.column)
  const found = around(module, offset)
  if (found === undefined) return undefined
  const calls = found.path
    .map((node, depth) => ({ node, depth }))
    .filter(({ node }) => node.type === "CallExpression" || node.type === "NewExpression")
  const one = calls.findLast(({ node }) => calledAt(node) === offset) ?? (exact ? undefined : calls.at(-1))
  return one === undefined ? undefined : { index: found.index, path: found.path.slice(0, one.depth + 1) }
}

interface Given {
  /** The function whose parameter it is, and which one; absent for what no caller's text can tell. */
  readonly parameter?: { readonly of: Syntax; readonly index: number }
}

interface Found {
  /** Names that come from no text seen so far. */
  readonly given: ReadonlyMap<string, Given>
  /** Uses constants of the functions around it: its own text is not all of its text. */
  readonly locals: boolean
}

/** Whether an expression takes what no text says: what a `yield` or `await` gives, or `this`. */
const runTime = (node: Syntax, inArrow = false): boolean => {
  if (isFunction(node) && node.type !== "ArrowFunctionExpression") return false
  if (node.type === "ThisExpression") return true
  if (!inArrow && (node.type === "YieldExpression" || node.type === "AwaitExpression")) return true
  return childrenOf(node).some((child) => runTime(child, inArrow || isFunction(node)))
}

const declarationIn = (statements: ReadonlyArray<Syntax>, name: string): Syntax | undefined => {
  for (const one of statements) {
    if (one.type === "VariableDeclaration")
      for (const declarator of one["declarations"])
        if (namesOf(declarator["id"]).includes(name)) return one["kind"] === "const" ? declarator : undefined
    if ((one.type === "FunctionDeclaration" || one.type === "ClassDeclaration") && one["id"]?.["name"] === name)
      return one
  }
  return undefined
}

/** What expressions at the end of a path take from the functions, loops and blocks around them. */
const givenTo = (expressions: ReadonlyArray<Syntax>, path: Path): Found => {
  const given = new Map<string, Given>()
  const done = new Set<string>()
  let locals = false
  const look = (nodes: ReadonlyArray<Syntax>, depth: number): void => {
    for (const node of nodes) {
      if (runTime(node)) given.set("a value of the running program", {})
      walk(node, {
        name: (name) => {
          if (done.has(`${depth} ${name}`)) return
          done.add(`${depth} ${name}`)
          for (let k = depth; k >= 0; k--) if (bindsOf(path[k]!).includes(name)) return bound(name, k)
        }
      })
    }
  }
  const bound = (name: string, k: number): void => {
    const scope = path[k]!
    locals = true
    if (isFunction(scope)) {
      const index = (scope["params"] as ReadonlyArray<Syntax>).findIndex((param) => namesOf(param).includes(name))
      if (index >= 0) given.set(name, { parameter: { of: scope, index } })
      else if (scope["id"]?.["name"] !== name) given.set(name, {})
      return
    }
    if (scope.type === "ClassDeclaration" || scope.type === "ClassExpression") return
    const found = scope.type === "BlockStatement" ? declarationIn(scope["body"], name) : undefined
    if (found === undefined) return void given.set(name, {})
    look(found.type === "VariableDeclarator" ? (found["init"] === null ? [] : [found["init"]]) : [found], k)
  }
  look(expressions, path.length - 1)
  // A constant inside of a loop or made from its variable: the variable itself is `given`, so nothing is left to do.
  return { given, locals }
}

/** Arguments of a call that make `function` run with a value, or all of them where that cannot be told. */
const argumentsFor = (call: Syntax, indices: ReadonlyArray<number>): ReadonlyArray<Syntax> => {
  const all = call["arguments"] as ReadonlyArray<Syntax>
  if (all.some((one) => one.type === "SpreadElement")) return all.map((one) => one["argument"] ?? one)
  return [...new Set(indices)].flatMap((index) => all[index] ?? [])
}

/** Roots of a definition's code, and what it closes over that nothing states. */
export interface Closure {
  readonly statements: ReadonlyArray<{ readonly path: string; readonly index: number }>
  readonly expressions: ReadonlyArray<{ readonly path: string; readonly nodes: ReadonlyArray<Syntax> }>
  readonly open: ReadonlyArray<string>
}

/** Parts of a definition's call that a result depends on and no key holds, and names that the key holds. */
const partsOf = (call: Syntax): { readonly nodes: ReadonlyArray<Syntax>; readonly states: ReadonlySet<string> } => {
  const [first, ...rest] = call["arguments"] as ReadonlyArray<Syntax>
  const states = new Set<string>()
  if (first === undefined) return { nodes: rest, states }
  const declaration = bare(first)
  if (declaration.type !== "ObjectExpression") return { nodes: [first, ...rest], states }
  const nodes: Array<Syntax> = [...rest]
  for (const property of declaration["properties"] as ReadonlyArray<Syntax>) {
    const key: unknown = property["key"]?.["name"] ?? property["key"]?.["value"]
    if (property.type !== "Property" || property["computed"] === true) nodes.push(property["argument"] ?? property)
    else if (!aside.has(String(key))) nodes.push(property["value"])
    if (property.type === "Property" && stated.has(String(key)))
      walk(property["value"], { name: (name) => states.add(name) })
  }
  return { nodes, states }
}

/** One property of the object that a call is given; the whole argument where it is not written there. */
const propertyOf = (call: Syntax, name: string): ReturnType<typeof partsOf> => {
  const [first] = call["arguments"] as ReadonlyArray<Syntax>
  const object = first === undefined ? undefined : bare(first)
  const found =
    object?.type === "ObjectExpression"
      ? object["properties"].find((one: Syntax) => (one["key"]?.["name"] ?? one["key"]?.["value"]) === name)
      : undefined
  return { nodes: found === undefined ? (first === undefined ? [] : [first]) : [found["value"]], states: new Set() }
}

const isInside = (inner: Syntax, outer: Syntax): boolean => outer.start <= inner.start && inner.end <= outer.end

/**
 * Follows a definition from its own place through those of its callers. `chain` begins with the definition's call;
 * `moduleOf` gives modules by path. Undefined where the call is not found in the text.
 */
export const closureOf = (
  chain: ReadonlyArray<SourcePosition>,
  moduleOf: (path: string) => Module | undefined,
  /** Look at one property of the first call's object alone, instead of at a definition. */
  property?: string
): Closure | undefined => {
  const [first, ...callers] = chain
  const module = first === undefined ? undefined : moduleOf(first.file)
  const call = module === undefined ? undefined : callAt(module, first!, false)
  if (module === undefined || call === undefined) return undefined
  const statements: Array<{ path: string; index: number }> = []
  const expressions: Array<{ path: string; nodes: ReadonlyArray<Syntax> }> = []
  const parts = property === undefined ? partsOf(call.path.at(-1)!) : propertyOf(call.path.at(-1)!, property)
  const own = givenTo(parts.nodes, call.path)
  if (property === undefined || own.locals) statements.push({ path: module.path, index: call.index })
  else expressions.push({ path: module.path, nodes: parts.nodes })
  let { given } = own
  let open = [...given.keys()].filter((name) => !parts.states.has(name))
  let path = call.path
  for (const spot of callers) {
    if (open.length === 0) break
    const around = [...path].slice(0, -1).reverse().find(isFunction)
    const parameters = open.map((name) => given.get(name)!.parameter)
    if (around === undefined || parameters.some((one) => one?.of !== around)) break
    const caller = spot.file === "" ? undefined : moduleOf(spot.file)
    const found = caller === undefined ? undefined : callAt(caller, spot, true)
    if (caller === undefined || found === undefined) break
    const by = found.path.at(-1)!
    // The function is an argument of that call: what calls it is not that call but the callee.
    if (caller.text === module.text && isInside(around, by)) break
    const nodes = argumentsFor(
      by,
      parameters.map((one) => one!.index)
    )
    const next = givenTo(nodes, found.path)
    expressions.push({ path: caller.path, nodes })
    if (next.locals) statements.push({ path: caller.path, index: found.index })
    given = next.given
    open = [...given.keys()]
    path = found.path
  }
  return { statements, expressions, open }
}

/** Calls of the given names anywhere in a module that lie in a function and close over what they do not state. */
export const openCalls = (
  module: Module,
  names: ReadonlySet<string>
): ReadonlyArray<{ readonly line: number; readonly open: ReadonlyArray<string> }> => {
  const out: Array<{ line: number; open: ReadonlyArray<string> }> = []
  const visit = (node: Syntax, path: Path): void => {
    const here = [...path, node]
    if (node.type === "CallExpression" && names.has(bare(node["callee"])["name"])) {
      const parts = partsOf(node)
      const open = [...givenTo(parts.nodes, here).given.keys()].filter((name) => !parts.states.has(name))
      out.push({ line: module.text.slice(0, node.start).split("\n").length, open })
    }
    for (const child of childrenOf(node)) visit(child, here)
  }
  for (const node of module.body) visit(node, [])
  return out
}
