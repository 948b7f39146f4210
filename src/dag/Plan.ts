/**
 * What a run would do and why, decided before anything runs.
 *
 * Not a schedule: order and workers are the runner's. `decide` is the one place where a node is found cached or due;
 * the plan calls it where all input digests are known, and the runner calls it again once they are, so a plan never
 * disagrees with the run. Where an input will be made anew, the node *may* run: an equal result cuts the re-run off.
 */
import { Effect } from "effect"
import { canonical } from "./Canonical.ts"
import { type KeyParts, keyOf, keyParts, nodeKey, settingsOf } from "./Key.ts"
import type { AnyNode } from "./Node.ts"
import type { Pipeline } from "./Pipeline.ts"

/** A stored result, as far as planning needs to know it. */
export interface PlanEntry {
  /** Code digest that the entry was made with. */
  readonly code: string
  /** The file of the definition that made it, where known. */
  readonly file?: string | undefined
  /** The entry's code is the node's present code, or was accepted for it. */
  readonly accepted: boolean
  /** What it may have been made from while that was damaged: it is made again before it is used. */
  readonly suspect?: ReadonlyArray<{ readonly port: string; readonly from: string }> | undefined
  /** Content digest of each output port. */
  readonly digests: Readonly<Record<string, string>>
  readonly rows: number
  /** Rows of each output port, of a node with several: they may be unlike things. */
  readonly rowsByPort?: Readonly<Record<string, number>> | undefined
  readonly bytes: number
}

/** Digest of a definition's code and the files behind it. */
export interface CodeIdentity {
  readonly digest: string
  /** The file of the definition, where known. */
  readonly file?: string | undefined
  readonly files: ReadonlyArray<{ readonly path: string; readonly sha256: string }>
  readonly packages: Readonly<Record<string, string>>
  /** Digests of the packages' code as installed and of what they depend on, by `name@version`, where known. */
  readonly installed?: Readonly<Record<string, string>> | undefined
}

/** What an instance was made of when it last ran, and how large it came out. */
export interface Before {
  readonly parts: KeyParts
  readonly code: CodeIdentity
  readonly key: string
  readonly rows: number
  /** Rows of each output port, of a node with several: they may be unlike things. */
  readonly rowsByPort?: Readonly<Record<string, number>> | undefined
  readonly bytes: number
}

/** A source as planning sees it. Of one that is not here the digest may be unknown until it is fetched. */
export interface SourceState {
  readonly digest?: string
  readonly bytes?: number
  /** What there is to say: that it is not here yet, and where it comes from. */
  readonly because?: ReadonlyArray<string>
}

/** Where the planner gets what it plans with; the store answers in runs, literals in tests. */
export interface PlanContext<K extends PlanEntry, E = never, R = never> {
  readonly source: (node: AnyNode) => Effect.Effect<SourceState, E, R>
  readonly code: (node: AnyNode) => Effect.Effect<CodeIdentity, E, R>
  readonly entries: (key: string, code: string) => Effect.Effect<ReadonlyArray<K>, E, R>
  readonly before: (node: AnyNode) => Effect.Effect<Before | undefined, E, R>
  /** Whether a result of this definition and these settings (`settingsOf`) is stored, whatever its inputs were. */
  readonly storedWith: (settings: string) => Effect.Effect<boolean, E, R>
  readonly numerics: string
  /** Instances to run again whatever is stored. */
  readonly forced: ReadonlySet<string>
  /**
   * Take an entry whose code differs (`--allow-stale-code`, or the preset's `warn`), or run again. Never that of
   * another file.
   */
  readonly allowsStaleCode: (node: AnyNode) => boolean
}

/** The verdict on one node whose input digests are known. */
export interface Decision<K extends PlanEntry> {
  readonly parts: KeyParts
  readonly key: string
  readonly code: CodeIdentity
  /** The entry to take; absent when the node must run. */
  readonly entry?: K
  /** The entry was made by other code and is taken all the same: to be recorded as an alias. */
  readonly staleCode: boolean
  /** The stored result may have been made from damaged bytes: what is made now takes its place. */
  readonly suspect?: boolean
  readonly because: ReadonlyArray<string>
}

const plain = (value: unknown): string => (typeof value === "string" ? value : canonical(value))

/** Names of code files and packages that differ, `path/File.ts` or `package 1.0.0 to 1.1.0`. */
export const codeChanges = (now: CodeIdentity, then: CodeIdentity): ReadonlyArray<string> => {
  const out: Array<string> = []
  const old = new Map(then.files.map((file) => [file.path, file.sha256]))
  for (const file of now.files) if (old.get(file.path) !== file.sha256) out.push(file.path)
  for (const file of then.files)
    if (!now.files.some((other) => other.path === file.path)) out.push(`${file.path} (gone)`)
  for (const [name, version] of Object.entries(now.packages))
    if (then.packages[name] !== version) out.push(`${name} ${then.packages[name] ?? "(new)"} to ${version}`)
  return [...out, ...installedChanges(now, then)]
}

/** Packages edited in place, and other versions of packages that packages depend on. */
const installedChanges = (now: CodeIdentity, then: CodeIdentity): ReadonlyArray<string> => {
  if (now.installed === undefined || then.installed === undefined) return []
  const [present, past] = [now.installed, then.installed]
  const out: Array<string> = []
  const split = (key: string) => [key.slice(0, key.lastIndexOf("@")), key.slice(key.lastIndexOf("@") + 1)] as const
  for (const [key, digest] of Object.entries(present)) {
    const [name, version] = split(key)
    if (past[key] !== undefined) {
      if (past[key] !== digest) out.push(`${name} ${version} (its installed files)`)
    } else if (now.packages[name] === then.packages[name]) {
      const old = Object.keys(past).filter((one) => split(one)[0] === name && present[one] === undefined)
      out.push(`${name} ${old.length === 0 ? "(new)" : old.map((one) => split(one)[1]).join(", ")} to ${version}`)
    }
  }
  return out
}

/** Outputs whose Schema is another one: what is stored under the old key cannot be read as the new. */
const schemaChanges = (now: KeyParts, then: KeyParts): ReadonlyArray<string> =>
  Object.keys(now.schemas ?? {}).filter((port) => now.schemas?.[port] !== then.schemas?.[port])

/** What differs between two keys' parts, in words: `parameter lr 0.00002 to 0.00001`, `input rows`. */
export const partChanges = (now: KeyParts, then: KeyParts, node: AnyNode): ReadonlyArray<string> => {
  const out: Array<string> = []
  if (now.definition !== then.definition) out.push(`definition ${then.definition} to ${now.definition}`)
  else if (now.version !== then.version) out.push(`version ${then.version} to ${now.version}`)
  const params = (parts: KeyParts) => (parts.params ?? {}) as Readonly<Record<string, unknown>>
  for (const name of new Set([...Object.keys(params(then)), ...Object.keys(params(now))])) {
    const [a, b] = [params(then)[name], params(now)[name]]
    const show = (value: unknown) => (value === undefined ? "(unset)" : plain(value))
    if (show(a) !== show(b)) out.push(`parameter ${name} ${show(a)} to ${show(b)}`)
  }
  for (const [port, digest] of Object.entries(now.inputs))
    if (then.inputs[port] !== digest) out.push(`input ${port} (${node.inputs[port]?.node.id ?? "?"}) changed`)
  if (canonical(now.formats) !== canonical(then.formats)) out.push("shard format changed")
  for (const port of schemaChanges(now, then)) out.push(`schema of ${port} changed`)
  if (canonical(now.closes ?? null) !== canonical(then.closes ?? null)) out.push("what it closes over changed")
  if (now.numerics !== then.numerics) out.push(`numerics ${then.numerics ?? "none"} to ${now.numerics ?? "none"}`)
  if (now.artifact !== then.artifact) out.push("artifact layout changed")
  return out
}

/** Why a stored result is not taken although its key is the same: `suspect: made from a damaged clean`. */
export const suspectOf = (node: AnyNode, suspect: NonNullable<PlanEntry["suspect"]>): ReadonlyArray<string> => [
  "suspect: made from a damaged " +
    `${[...new Set(suspect.map(({ from, port }) => node.inputs[port]?.node.id ?? from))].join(", ")}`
]

/**
 * Decides one node: take a stored entry, or run and why. Fails only where the context does. It has no span: a plan
 * calls it for each of thousands of nodes.
 */
export const decide = Effect.fnUntraced(function* <K extends PlanEntry, E, R>(
  node: AnyNode,
  inputs: Readonly<Record<string, string>>,
  context: PlanContext<K, E, R>
): Effect.fn.Return<Decision<K>, E, R> {
  const { key, parts } = nodeKey(node, inputs, context.numerics)
  const code = yield* context.code(node)
  const base = { parts, key, code, staleCode: false }
  if (context.forced.has(node.id)) return { ...base, because: ["forced"] }
  const entries = yield* context.entries(key, code.digest)
  const exact = entries.find((entry) => entry.accepted)
  if (exact?.suspect !== undefined) return { ...base, suspect: true, because: suspectOf(node, exact.suspect) }
  if (exact !== undefined) return { ...base, entry: exact, because: [] }
  const before = yield* context.before(node)
  const changed = before === undefined ? [] : codeChanges(code, before.code)
  const changedCode = changed.length === 0 ? "code changed" : `code of ${changed.join(", ")} changed`
  const allowsStale = context.allowsStaleCode(node)
  const other = allowsStale ? entries.find((entry) => entry.file === undefined || entry.file === code.file) : undefined
  if (other?.suspect !== undefined) return { ...base, because: [changedCode, ...suspectOf(node, other.suspect)] }
  if (other !== undefined)
    return { ...base, entry: other, staleCode: true, because: [`${changedCode}; the stored result is taken`] }
  if (entries[0] !== undefined)
    return {
      ...base,
      because: [
        allowsStale
          ? `the stored result was made by the definition in ${entries[0].file}, not by that in ${code.file}: ` +
            "it is not taken"
          : changedCode
      ]
    }
  if (before === undefined) return { ...base, because: ["not in the store"] }
  const because = partChanges(parts, before.parts, node)
  if (allowsStale && schemaChanges(parts, before.parts).length > 0)
    return { ...base, because: [...because, "a result of another Schema is not taken"] }
  if (before.code.digest !== code.digest) return { ...base, because: [...because, changedCode] }
  return { ...base, because: because.length === 0 ? ["not in the store any more"] : because }
})

/** One line of a plan. */
export interface PlanStep<K extends PlanEntry> {
  readonly node: AnyNode
  readonly status: "source" | "cached" | "run" | "maybe"
  readonly because: ReadonlyArray<string>
  /** Of the stored result, or estimated from the last one. */
  readonly rows?: number
  readonly rowsByPort?: Readonly<Record<string, number>>
  readonly bytes?: number
  readonly decision?: Decision<K>
}

export interface Plan<K extends PlanEntry> {
  readonly steps: ReadonlyArray<PlanStep<K>>
}

const sizeOf = ({ bytes, rows, rowsByPort }: Pick<PlanEntry, "rows" | "rowsByPort" | "bytes">) => ({
  rows,
  ...(rowsByPort === undefined ? {} : { rowsByPort }),
  bytes
})

const estimate = (before: Before | undefined) => (before === undefined ? {} : sizeOf(before))

/**
 * Why a node whose inputs are not known yet may or must run. What its inputs will be is not known, so an earlier run
 * may have left just this result, and an equal node of this run may make it.
 */
const guess = Effect.fnUntraced(function* <K extends PlanEntry, E, R>(
  node: AnyNode,
  parts: KeyParts,
  code: CodeIdentity,
  waits: ReadonlyArray<AnyNode>,
  equal: AnyNode | undefined,
  context: PlanContext<K, E, R>
) {
  const before = yield* context.before(node)
  if (context.forced.has(node.id)) return { status: "run" as const, because: ["forced"], before }
  if (equal !== undefined) return { status: "maybe" as const, because: [sameAs(equal)], before }
  if (before === undefined) {
    if (!(yield* context.storedWith(settingsOf(parts))))
      return { status: "run" as const, because: ["not in the store"], before }
    const because = [`unless a stored result of ${node.spec.id} was made from the same input`]
    return { status: "maybe" as const, because, before }
  }
  const own = [...partChanges({ ...parts, inputs: before.parts.inputs }, before.parts, node)]
  if (before.code.digest !== code.digest) {
    const changed = codeChanges(code, before.code)
    own.push(changed.length === 0 ? "code changed" : `code of ${changed.join(", ")} changed`)
  }
  const names = [...new Set(waits.map((one) => one.id))].join(", ")
  return { status: "maybe" as const, because: [...own, `if ${names} changes`], before }
})

const sameAs = (first: AnyNode): string => `is the same as ${first.id}, whose result it takes`

/** What a node will give, where its digests are not known yet: equal for nodes that are due to compute the same. */
const promised = (parts: KeyParts, code: CodeIdentity): string => `${keyOf(parts)} ${code.digest}`

/** Plans the given nodes (inputs before consumers). */
export const plan = Effect.fn("dag.plan")(function* <K extends PlanEntry, E, R>(
  pipeline: Pick<Pipeline, "nodes">,
  context: PlanContext<K, E, R>
): Effect.fn.Return<Plan<K>, E, R> {
  const digests = new Map<AnyNode, Readonly<Record<string, string>> | undefined>()
  /** What stands for the digests of nodes that have none yet. */
  const promises = new Map<AnyNode, string>()
  const steps: Array<PlanStep<K>> = []
  /** First node of each promise. */
  const due = new Map<string, AnyNode>()
  const promise = (node: AnyNode, parts: KeyParts, code: CodeIdentity): AnyNode | undefined => {
    const built = promised(parts, code)
    promises.set(node, built)
    const first = due.get(built)
    if (first === undefined) due.set(built, node)
    return context.forced.has(node.id) ? undefined : first
  }
  for (const node of pipeline.nodes) {
    if (node.spec.kind === "source") {
      const { because = [], bytes, digest } = yield* context.source(node)
      digests.set(node, digest === undefined ? undefined : { files: digest })
      if (digest === undefined) promises.set(node, canonical([node.location ?? node.id, node.files ?? null]))
      steps.push({ node, status: "source", because, ...(bytes === undefined ? {} : { bytes }) })
      continue
    }
    const waits = Object.values(node.inputs)
      .map((ref) => ref.node)
      .filter((input) => digests.get(input) === undefined)
    if (waits.length > 0) {
      digests.set(node, undefined)
      const inputs = Object.fromEntries(
        Object.entries(node.inputs).map(([port, ref]) => [
          port,
          digests.get(ref.node)?.[ref.port] ?? `${promises.get(ref.node)}/${ref.port}`
        ])
      )
      const parts = keyParts(node, inputs, context.numerics)
      const code = yield* context.code(node)
      const equal = promise(node, parts, code)
      const { before, ...said } = yield* guess(node, parts, code, waits, equal, context)
      steps.push({ node, ...said, ...estimate(before) })
      continue
    }
    const inputs: Record<string, string> = {}
    for (const [port, ref] of Object.entries(node.inputs)) inputs[port] = digests.get(ref.node)![ref.port]!
    const decision = yield* decide(node, inputs, context)
    if (decision.entry === undefined) {
      // A forced result that comes out different is reported and not stored: later nodes read the stored one.
      const kept = context.forced.has(node.id) ? yield* context.entries(decision.key, decision.code.digest) : []
      digests.set(node, kept.find((entry) => entry.code === decision.code.digest)?.digests)
      const first = promise(node, decision.parts, decision.code)
      const [status, because] =
        first === undefined ? (["run", decision.because] as const) : (["maybe", [sameAs(first)]] as const)
      steps.push({ node, status, because, ...estimate(yield* context.before(node)), decision })
    } else {
      digests.set(node, decision.entry.digests)
      steps.push({
        node,
        status: "cached",
        because: decision.because,
        ...sizeOf(decision.entry),
        decision
      })
    }
  }
  return { steps }
})
