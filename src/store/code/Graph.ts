/**
 * Local modules and what of them a definition reaches: statement by statement, through imports.
 *
 * Counted: the statements that a root uses, theirs in turn, and of every module that is loaded the statements with an
 * effect of their own. A declaration that nothing reached uses does not count (a sibling node, an unused preset),
 * unless the code that makes it may change what is reached. Calls of the framework and of Effect are taken to change
 * nothing.
 */
import { DEFAULT, type ImportedName, type Module } from "./Module.ts"

/**
 * Where a specifier leads: to code that is followed, to the framework, or to a package or file that is not followed.
 */
export type Target =
  | { readonly kind: "module"; readonly path: string }
  | { readonly kind: "framework" }
  | { readonly kind: "other"; readonly package: string | undefined; readonly from?: string }

export interface Loaded {
  readonly module: Module
  readonly targets: ReadonlyMap<string, Target>
}
export type Graph = ReadonlyMap<string, Loaded>

/** A statement of a module. */
interface At {
  readonly loaded: Loaded
  readonly index: number
}

/** Something in a module whose code counts: one statement, all of them, or expressions and the names that they use. */
export type Root =
  | { readonly kind: "statement"; readonly path: string; readonly index: number }
  | { readonly kind: "module"; readonly path: string }
  | {
      readonly kind: "expressions"
      readonly path: string
      readonly text: string
      readonly uses: ReadonlyMap<string, ReadonlySet<string>>
    }

const ALL: ReadonlySet<string> = new Set(["*"])

/** Follows names from statement to statement. */
class Walk {
  readonly reached = new Map<string, Set<number>>()
  readonly entered = new Set<string>()
  /** Exported names that were asked for, by path. */
  readonly asked = new Map<string, Set<string>>()
  private readonly queue: Array<At> = []
  private readonly graph: Graph
  private readonly isLeaf: (at: At) => boolean

  /** What is a leaf is reached, and nothing through it. */
  constructor(graph: Graph, isLeaf: (at: At) => boolean = () => false) {
    this.graph = graph
    this.isLeaf = isLeaf
  }

  has(path: string, index: number): boolean {
    return this.reached.get(path)?.has(index) === true
  }

  target(loaded: Loaded, specifier: string): Loaded | undefined {
    const target = loaded.targets.get(specifier)
    return target?.kind === "module" ? this.graph.get(target.path) : undefined
  }

  enter(loaded: Loaded): void {
    const stack = [loaded]
    for (let one = stack.pop(); one !== undefined; one = stack.pop()) {
      if (this.entered.has(one.module.path)) continue
      this.entered.add(one.module.path)
      if (one.module.whole) this.all(one)
      for (const specifier of one.module.loads.keys()) {
        const next = this.target(one, specifier)
        if (next !== undefined) stack.push(next)
      }
    }
  }

  all(loaded: Loaded): void {
    for (let i = 0; i < loaded.module.statements.length; i++) this.statement(loaded, i)
  }

  statement(loaded: Loaded, index: number): void {
    const { path } = loaded.module
    let own = this.reached.get(path)
    if (own === undefined) this.reached.set(path, (own = new Set()))
    if (own.has(index)) return
    own.add(index)
    this.queue.push({ loaded, index })
  }

  uses(loaded: Loaded, uses: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [name, members] of uses) this.name(loaded, name, members)
  }

  name(loaded: Loaded, name: string, members: ReadonlySet<string>): void {
    const { declared, imports } = loaded.module
    const index = declared.get(name)
    const imported = imports.get(name)
    if (index !== undefined) this.statement(loaded, index)
    else if (imported !== undefined) this.imported(loaded, imported, members)
  }

  imported(loaded: Loaded, { from, name }: ImportedName, members: ReadonlySet<string>): void {
    const next = this.target(loaded, from)
    if (next === undefined) return
    const wanted = name !== "*" ? [name] : members.has("*") ? ALL : members
    for (const one of wanted) this.exported(next, one)
  }

  /** An exported name, or with `*` all of them. */
  exported(loaded: Loaded, name: string): void {
    const { module } = loaded
    const { exports } = module
    let asked = this.asked.get(module.path)
    if (asked === undefined) this.asked.set(module.path, (asked = new Set()))
    if (asked.has(name)) return
    asked.add(name)
    this.enter(loaded)
    if (name === "*") {
      for (const one of [...exports.keys(), ...module.reexports.keys()]) this.exported(loaded, one)
      for (const star of module.stars) {
        const next = this.target(loaded, star)
        if (next !== undefined) this.exported(next, "*")
      }
      return
    }
    const local = exports.get(name)
    const again = module.reexports.get(name)
    if (local !== undefined) this.name(loaded, local, ALL)
    else if (again !== undefined) this.imported(loaded, again, ALL)
    else
      for (const star of module.stars) {
        const next = this.target(loaded, star)
        if (next !== undefined) this.exported(next, name)
      }
  }

  /** Follows everything that waits. */
  drain(): void {
    for (let one = this.queue.pop(); one !== undefined; one = this.queue.pop()) {
      this.enter(one.loaded)
      if (this.isLeaf(one)) continue
      const statement = one.loaded.module.statements[one.index]!
      this.uses(one.loaded, statement.uses)
      for (const specifier of statement.dynamic) {
        const next = this.target(one.loaded, specifier)
        if (next !== undefined) this.exported(next, "*")
      }
    }
  }
}

/** The statement that declares what a name stands for, through imports; or the target that is not followed. */
const declarationOf = (graph: Graph, loaded: Loaded, name: string, depth = 0): At | Target | undefined => {
  const index = loaded.module.declared.get(name)
  if (index !== undefined) return { loaded, index }
  const imported = loaded.module.imports.get(name)
  return imported === undefined ? undefined : exportOf(graph, loaded, imported, depth)
}

const exportOf = (graph: Graph, loaded: Loaded, imported: ImportedName, depth: number): At | Target | undefined => {
  const target = loaded.targets.get(imported.from)
  if (target?.kind !== "module" || depth > 20) return target
  const next = graph.get(target.path)
  if (next === undefined || imported.name === "*") return undefined
  const local = next.module.exports.get(imported.name)
  if (local !== undefined) return declarationOf(graph, next, local, depth + 1)
  const again = next.module.reexports.get(imported.name)
  if (again !== undefined) return exportOf(graph, next, again, depth + 1)
  for (const from of next.module.stars) {
    const found = exportOf(graph, next, { from, name: imported.name }, depth + 1)
    if (found !== undefined && "index" in found) return found
  }
  return undefined
}

const isTrusted = (found: At | Target | undefined): boolean =>
  found !== undefined &&
  "kind" in found &&
  (found.kind === "framework" || (found.kind === "other" && /^(effect|@effect\/[^/]+)$/.test(found.package ?? "")))

/** A statement whose value other code may change: not what the framework or Effect made (nodes, artifacts, schemas). */
const isMutable = (graph: Graph, { index, loaded }: At): boolean => {
  const statement = loaded.module.statements[index]!
  if (!statement.mutable) return false
  return statement.madeBy === undefined || !isTrusted(declarationOf(graph, loaded, statement.madeBy))
}

/** Changes that a piece of code may make: declarations, and whether it reaches beyond all modules. */
interface Changes {
  readonly statements: ReadonlyArray<At>
  readonly beyond: boolean
}

/** What loading a declaration may change, remembered: it does not depend on who asks. */
const changesOf = (graph: Graph, memory: WeakMap<Loaded, Map<number, Changes>>, at: At): Changes => {
  let own = memory.get(at.loaded)
  if (own === undefined) memory.set(at.loaded, (own = new Map()))
  const known = own.get(at.index)
  if (known !== undefined) return known
  // The functions of a node or a recipe do not run when it is made.
  const isLeaf = ({ index, loaded }: At) => {
    const { madeBy } = loaded.module.statements[index]!
    const made = madeBy === undefined ? undefined : declarationOf(graph, loaded, madeBy)
    return made !== undefined && "kind" in made && made.kind === "framework"
  }
  const walk = new Walk(graph, isLeaf)
  walk.statement(at.loaded, at.index)
  walk.drain()
  const statements: Array<At> = []
  let beyond = false
  for (const [path, indices] of walk.reached) {
    const loaded = graph.get(path)!
    for (const index of indices) {
      if (isLeaf({ loaded, index })) continue
      const statement = loaded.module.statements[index]!
      beyond ||= statement.changesGlobals
      const names = new Set(statement.changes)
      for (const { name, to } of statement.gives) {
        const callee = to === "" ? undefined : declarationOf(graph, loaded, to)
        if (isTrusted(callee)) continue
        // A node or an artifact that is called is applied; it changes nothing.
        if (callee !== undefined && "index" in callee) {
          const made = callee.loaded.module.statements[callee.index]!.madeBy
          if (made !== undefined && isTrusted(declarationOf(graph, callee.loaded, made))) continue
        }
        names.add(name)
      }
      for (const name of names) {
        const found = declarationOf(graph, loaded, name)
        if (found !== undefined && "index" in found && isMutable(graph, found)) statements.push(found)
      }
    }
  }
  const changes = { statements, beyond }
  own.set(at.index, changes)
  return changes
}

/** What counts of each module. */
export interface Reached {
  /** Numbers of reached statements, by path. */
  readonly statements: ReadonlyMap<string, ReadonlySet<number>>
  /** Modules that are loaded at all. */
  readonly entered: ReadonlySet<string>
  /** Exported names that something reached imports, by path. */
  readonly asked: ReadonlyMap<string, ReadonlySet<string>>
}

/** Everything that `roots` reach. */
export const reach = (
  graph: Graph,
  roots: ReadonlyArray<Root>,
  memory: WeakMap<Loaded, Map<number, Changes>>
): Reached => {
  const walk = new Walk(graph)
  for (const root of roots) {
    const loaded = graph.get(root.path)
    if (loaded === undefined) continue
    walk.enter(loaded)
    if (root.kind === "statement") walk.statement(loaded, root.index)
    else if (root.kind === "module") {
      walk.all(loaded)
      walk.exported(loaded, "*")
    } else walk.uses(loaded, root.uses)
  }
  walk.drain()
  for (let before = -1, now = 0; before !== now; ) {
    before = now
    for (const path of [...walk.entered]) {
      const loaded = graph.get(path)!
      for (const [index, statement] of loaded.module.statements.entries()) {
        if (statement.runs === "none" || walk.has(path, index)) continue
        if (statement.runs === "effect") {
          const callee = statement.callee === undefined ? undefined : declarationOf(graph, loaded, statement.callee)
          // `run(import.meta, recipe)`: what a recipe is run with is no part of what its nodes compute.
          if (callee === undefined || !("kind" in callee) || callee.kind !== "framework") walk.statement(loaded, index)
          continue
        }
        const { beyond, statements } = changesOf(graph, memory, { loaded, index })
        if (beyond || statements.some((at) => walk.has(at.loaded.module.path, at.index))) walk.statement(loaded, index)
      }
      walk.drain()
    }
    now = walk.entered.size
    for (const indices of walk.reached.values()) now += indices.size
  }
  return { statements: walk.reached, entered: walk.entered, asked: walk.asked }
}

/**
 * The text of a module with nothing in it but what was reached, and `extra` behind it.
 *
 * Imports hold the names that are used; a module that is loaded for its effects alone stays an import.
 */
export const textOf = (
  { module, targets }: Loaded,
  reached: Reached,
  extra: ReadonlyArray<string>,
  extraUses: Iterable<string>
): string => {
  if (module.whole) return module.text
  const indices = [...(reached.statements.get(module.path) ?? [])].sort((a, b) => a - b)
  const used = new Set(extraUses)
  const declared = new Set<string>()
  for (const index of indices) {
    const statement = module.statements[index]!
    for (const name of statement.uses.keys()) used.add(name)
    for (const name of statement.declares) declared.add(name)
  }
  const asked = reached.asked.get(module.path) ?? new Set<string>()
  const skipped = new Set(["ImportDeclaration", "ExportAllDeclaration"])
  const lines: Array<string> = []
  const exports: Array<string> = []
  for (const [exported, local] of module.exports) {
    if (!declared.has(local) && !(module.imports.has(local) && asked.has(exported))) continue
    const index = module.declared.get(local)
    const node = index === undefined ? undefined : module.body[index]
    const isOwn = node?.type === "ExportNamedDeclaration" || node?.type === "ExportDefaultDeclaration"
    if (isOwn && (exported === local || exported === "default")) continue
    if (index === undefined) used.add(local)
    exports.push(`export { ${local} as ${JSON.stringify(exported)} };`)
  }
  for (const [specifier, attributes] of module.loads) {
    const target = targets.get(specifier)
    const from = `${JSON.stringify(specifier)}${attributes}`
    const names = [...module.imports].filter(([local, one]) => one.from === specifier && used.has(local))
    for (const [local, { name }] of names)
      lines.push(
        name === "*"
          ? `import * as ${local} from ${from};`
          : `import { ${JSON.stringify(name)} as ${local} } from ${from};`
      )
    const isBare = ![...module.imports.values()].some((one) => one.from === specifier)
    const passesOn =
      module.stars.includes(specifier) || [...module.reexports.values()].some((one) => one.from === specifier)
    if ((target?.kind === "module" && reached.entered.has(target.path)) || (isBare && !passesOn))
      lines.push(`import ${from};`)
  }
  for (const [exported, { from, name }] of module.reexports) {
    if (!asked.has(exported)) continue
    const at = `${JSON.stringify(from)}${module.loads.get(from) ?? ""}`
    lines.push(
      name === "*"
        ? `export * as ${JSON.stringify(exported)} from ${at};`
        : `export { ${JSON.stringify(name)} as ${JSON.stringify(exported)} } from ${at};`
    )
  }
  for (const star of module.stars) lines.push(`export * from ${JSON.stringify(star)}${module.loads.get(star) ?? ""};`)
  for (const index of indices) {
    const node = module.body[index]!
    if (skipped.has(node.type)) continue
    if (node.type === "ExportNamedDeclaration" && node["declaration"] === null) continue
    lines.push(module.text.slice(node.start, node.end) + ";")
  }
  return [...lines, ...exports, ...extra].join("\n")
}

/** How a root statement's value is exported under a name of ours; nothing where it declares none. */
export const exportOfRoot = (module: Module, index: number, name: string): ReadonlyArray<string> => {
  const declares = module.statements[index]!.declares
  if (declares.includes(DEFAULT)) return []
  return declares.length === 0 ? [] : [`export { ${declares.map((one, i) => `${one} as ${name}_${i}`).join(", ")} };`]
}
