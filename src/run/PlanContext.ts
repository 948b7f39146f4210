/** What the planner plans with (`PlanContext`), answered by the store. */
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { canonical } from "../dag/Canonical.ts"
import { type AnyNode, WiringError } from "../dag/Node.ts"
import type { Before, PlanContext, PlanEntry, SourceState } from "../dag/Plan.ts"
import { isRemote } from "../dag/Source.ts"
import { type SourcePosition, showSourceLocation } from "../dag/SourceLocation.ts"
import { type Code, type Manifest, rowsByPort, rowsOut } from "../store/Manifest.ts"
import {
  SourceError,
  type SourceLook,
  type SourceSpec,
  Store,
  type StoredEntry,
  type StoreError
} from "../store/Store.ts"

/** A stored entry as planning sees it. */
export interface StoredPlanEntry extends PlanEntry {
  readonly found: StoredEntry
}

/** A source node as the store wants it. */
export const specOf = (node: AnyNode): SourceSpec => {
  const { sha256 } = node.params as { readonly sha256?: string }
  return {
    node: node.id,
    location: node.location!,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(node.bytes === undefined ? {} : { bytes: node.bytes }),
    ...(node.files === undefined ? {} : { files: node.files })
  }
}

/** What a plan says of a source. What is not here and whose content is known is fetched only when a node reads it. */
const sourceFact = (found: SourceLook): SourceState & { readonly found: SourceLook } => {
  if (found.here) return { found, digest: found.digest, bytes: found.bytes }
  return {
    found,
    because: [
      "not here: will be fetched from " +
        `${found.address}${found.digest === undefined ? "" : " if a node that runs reads it"}`
    ],
    ...(found.digest === undefined ? {} : { digest: found.digest }),
    ...(found.bytes === undefined ? {} : { bytes: found.bytes })
  }
}

const bytesOf = (manifest: Manifest): number =>
  Object.values(manifest.outputs).reduce((sum, output) => sum + output.bytes, 0)

/** Rows of each port where there are several. */
const rowsOfPorts = (manifest: Manifest): Readonly<Record<string, number>> | undefined => {
  const rows = rowsByPort(manifest)
  return Object.keys(rows).length > 1 ? rows : undefined
}

/** What planning needs to know of an entry; `code` is the digest of the node's present code. */
export const entryOf = (found: StoredEntry, code: string): StoredPlanEntry => ({
  found,
  code: found.manifest.code.digest,
  file: found.manifest.code.file,
  accepted: found.aliased || found.manifest.code.digest === code,
  suspect: found.suspect,
  digests: Object.fromEntries(Object.entries(found.manifest.outputs).map(([port, output]) => [port, output.digest])),
  rows: rowsOut(found.manifest),
  rowsByPort: rowsOfPorts(found.manifest),
  bytes: bytesOf(found.manifest)
})

export interface PlanContextOptions {
  readonly pipeline: string
  readonly numerics: string
  readonly forced: ReadonlySet<string>
  readonly allowsStaleCode: (node: AnyNode) => boolean
  /** Digests taken so far: the plan of a run takes them all, so that none is taken after an edit. */
  readonly codes: Map<AnyNode["spec"], Code>
  /** The call that made the recipe: where the code of its services lies. */
  readonly services: ReadonlyArray<SourcePosition>
  /** List the store's keys once (a plan of many nodes) instead of asking for each key (a run, where others write). */
  readonly listed: boolean
}

/** Digest of the code behind a node's definition, its declared assets, and the services that it uses. */
export const codeOf = (
  store: Store["Service"],
  node: AnyNode,
  services: ReadonlyArray<SourcePosition>
): Effect.Effect<Code, StoreError> =>
  store.codeOf({
    file: node.spec.sourceLocation.file,
    assets: (node.spec.assets ?? []).map((url) => fileURLToPath(url)),
    services,
    ...(node.spec.sourceLocation.chain === undefined ? {} : { chain: node.spec.sourceLocation.chain })
  })

/** A definition whose result depends on values that are in no key and no digest. */
const openClosure = (node: AnyNode, names: ReadonlyArray<string>) =>
  new WiringError({
    node: node.id,
    sourceLocation: showSourceLocation(node.spec.sourceLocation),
    message:
      `the definition "${node.spec.id}" is made by a function and uses ${names.join(", ")} of it; ` +
      `nothing in the node's key says what ${names.length === 1 ? "that is" : "those are"}`,
    hint:
      "Make it a parameter (`params`), or state in the declaration what is closed over, as plain JSON: " +
      "`closes: { name: value }`."
  })

/**
 * Different definitions of one id, version and code would take each other's results. Those made by one function from
 * values that their text shows have different code; all others must differ in their keys.
 */
export const checkDefinitions = Effect.fn("run.checkDefinitions")(function* <E, R>(
  nodes: ReadonlyArray<AnyNode>,
  context: Pick<PlanContext<StoredPlanEntry, E, R>, "code">
): Effect.fn.Return<void, E | WiringError, R> {
  const first = new Map<string, AnyNode>()
  for (const node of nodes) {
    if (node.spec.kind === "source") continue
    const code = (yield* context.code(node)) as Code
    const { closes, id, version } = node.spec
    const name = canonical([id, version, closes ?? null, code.digest])
    const other = first.get(name)
    if (other === undefined) first.set(name, node)
    else if (other.spec !== node.spec && (code.weak || code.unplaced === true))
      return yield* new WiringError({
        node: node.id,
        sourceLocation: showSourceLocation(node.spec.sourceLocation),
        message:
          `two definitions are called "${id}", version ${version}, and have the same code: ` +
          `one at ${showSourceLocation(other.spec.sourceLocation)}, ` +
          `one at ${showSourceLocation(node.spec.sourceLocation)}`,
        hint: "Make it once and apply it with `.named`; what differs must be a parameter, or stated in `closes`."
      })
  }
})

/** The planner's context, and of sources also where they stand. */
export interface StorePlanContext extends PlanContext<StoredPlanEntry, StoreError | SourceError | WiringError> {
  readonly source: (
    node: AnyNode
  ) => Effect.Effect<SourceState & { readonly found: SourceLook }, StoreError | SourceError>
}

/**
 * A `PlanContext` from the store. Code is digested once a definition: what runs is what was imported at the start,
 * whatever is edited meanwhile.
 */
export const storePlanContext = Effect.fn("run.storePlanContext")(function* (
  options: PlanContextOptions
): Effect.fn.Return<StorePlanContext, StoreError, Store> {
  const store = yield* Store
  const keys = options.listed ? yield* store.keys : undefined
  const settings = yield* Effect.cached(store.settings)
  const { codes } = options
  const looked = new Map<AnyNode, SourceState & { readonly found: SourceLook }>()
  const code = (node: AnyNode) => {
    const known = codes.get(node.spec)
    return known === undefined
      ? Effect.tap(codeOf(store, node, options.services), (found) =>
          found.closesOver !== undefined
            ? Effect.fail(openClosure(node, found.closesOver))
            : Effect.sync(() => codes.set(node.spec, found))
        )
      : Effect.succeed(known)
  }
  return {
    numerics: options.numerics,
    forced: options.forced,
    allowsStaleCode: options.allowsStaleCode,
    code,
    entries: (key, code) =>
      keys !== undefined && !keys.has(key)
        ? Effect.succeed([])
        : Effect.map(store.find(key, code), (found) => found.map((one) => entryOf(one, code))),
    storedWith: (one) => Effect.map(settings, (all) => all.has(one)),
    before: Effect.fnUntraced(function* (node) {
      const last = yield* store.last(options.pipeline, node.id)
      if (last === undefined) return undefined
      const found = (yield* store.find(last.key, last.code))[0]
      if (found === undefined) return undefined
      const { manifest } = found
      return {
        parts: last.parts,
        code: manifest.code,
        key: last.key,
        rows: rowsOut(manifest),
        rowsByPort: rowsOfPorts(manifest),
        bytes: bytesOf(manifest)
      } satisfies Before
    }),
    source: Effect.fnUntraced(function* (node) {
      const known = looked.get(node)
      if (known !== undefined) return known
      const spec = specOf(node)
      const found = yield* Effect.mapError(store.lookAtSource(spec, options.pipeline), (error) =>
        error instanceof SourceError && node.hint !== undefined && !isRemote(spec.location)
          ? new SourceError({
              node: node.id,
              path: error.path,
              message: error.message,
              hint: node.hint,
              cause: error.cause
            })
          : error
      )
      if (found.here && spec.sha256 !== undefined && spec.sha256 !== found.digest)
        return yield* new SourceError({
          node: node.id,
          path: found.path,
          message: `its digest is ${found.digest}, not ${spec.sha256}`,
          hint: "The file differs from what the recipe describes: fetch it again, or update the description."
        })
      const fact = sourceFact(found)
      looked.set(node, fact)
      return fact
    })
  }
})

/** Looks at all sources before anything else, so that one error names all that are missing. */
export const checkSources = Effect.fn("run.checkSources")(function* (
  nodes: ReadonlyArray<AnyNode>,
  context: Pick<StorePlanContext, "source">
): Effect.fn.Return<void, StoreError | SourceError> {
  const failed: Array<StoreError | SourceError> = []
  for (const node of nodes) {
    if (node.spec.kind !== "source") continue
    const looked = yield* Effect.result(context.source(node))
    if (looked._tag === "Failure") failed.push(looked.failure)
  }
  const [first, ...more] = failed
  if (first === undefined) return
  if (more.length === 0) return yield* first
  const paths = [...new Set(failed.map(({ path }) => (isRemote(path) ? path : relative(process.cwd(), path) || path)))]
  const lines: Array<string> = []
  for (let i = 0; i < paths.length; i += 3) lines.push(paths.slice(i, i + 3).join(", "))
  return yield* new SourceError({
    node: `${failed.length} sources`,
    path: "",
    message: ["these cannot be read:", ...lines].join("\n"),
    hint: [...new Set(failed.map(({ hint }) => hint))].length === 1 ? first.hint : `${first.path}: ${first.hint}`
  })
})
