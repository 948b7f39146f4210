/**
 * The key of a node: what its result depends on, and nothing else.
 *
 * Paths, devices, concurrency, worker counts and instance ids never reach a key. The code digest stands beside the key,
 * not in it, so that "only the code differs" is a question that can be answered.
 */
import { Schema } from "effect"
import { canonical, sha256 } from "./Canonical.ts"
import type { AnyNode } from "./Node.ts"
import { hidingCodec, holdsRedacted } from "./Secrets.ts"

/** Layout of store entries; raised when old entries must not be read as new ones. */
export const artifactVersion = 1

/** Everything that a key is made of, kept in manifests so that plans can say what changed. */
export const KeyParts = Schema.Struct({
  definition: Schema.String,
  version: Schema.String,
  params: Schema.Json,
  /** Content digest of each input port. */
  inputs: Schema.Record(Schema.String, Schema.String),
  /** Shard format of each rows output. */
  formats: Schema.Record(Schema.String, Schema.String),
  /** Numerics fingerprint of the engine, for nodes that compute with one. */
  numerics: Schema.optional(Schema.String),
  /** Digest of the Schema of each rows or value output, as it is stored. */
  schemas: Schema.optional(Schema.Record(Schema.String, Schema.String)),
  /** What the definition says that it closes over. */
  closes: Schema.optional(Schema.Json),
  artifact: Schema.Number
})
export type KeyParts = typeof KeyParts.Type

const encoders = new WeakMap<object, (params: unknown) => unknown>()
const encoded = new WeakMap<AnyNode, Schema.Json>()

/**
 * Parameters as plain JSON, by their Schema; redacted values are hidden (`Secrets.ts`). Encoded once a node: nodes are
 * immutable. Throws `NotCanonical` or a SchemaError for what cannot be encoded.
 */
export const encodeParams = (node: AnyNode): Schema.Json => {
  const known = encoded.get(node)
  if (known !== undefined) return known
  let encode = encoders.get(node.spec.params)
  if (encode === undefined) {
    const codec = holdsRedacted(node.spec.params)
      ? hidingCodec(node.spec.params)
      : Schema.toCodecJson(node.spec.params as unknown as Schema.Codec<unknown, unknown>)
    encode = Schema.encodeUnknownSync(codec as Schema.Codec<unknown, unknown>)
    encoders.set(node.spec.params, encode)
  }
  const built = encode(node.params) as Schema.Json
  encoded.set(node, built)
  return built
}

const schemaDigests = new WeakMap<object, string>()

/** What a Schema writes, without annotations; code in it (a filter of one's own) is the code digest's to see. */
const shapeOf = (schema: Schema.Top): string => {
  const plain = (key: string, value: unknown): unknown =>
    key === "annotations" || typeof value === "function"
      ? undefined
      : typeof value === "bigint" || typeof value === "symbol" || value instanceof RegExp
        ? String(value)
        : value
  for (const stored of [() => Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>), () => schema]) {
    try {
      return JSON.stringify(Schema.toRepresentation(stored()), plain)
    } catch {
      // A Schema of things that have no JSON is stored by a format of its own.
    }
  }
  return "opaque"
}

/** Digest of what a Schema writes; equal for equal Schemas, whoever made them. */
export const schemaDigest = (schema: Schema.Top): string => {
  let known = schemaDigests.get(schema)
  if (known === undefined) schemaDigests.set(schema, (known = sha256(shapeOf(schema)).slice(0, 32)))
  return known
}

/** The parts of a node's key, given the content digest of each input port. */
export const keyParts = (node: AnyNode, inputs: Readonly<Record<string, string>>, numerics: string): KeyParts => {
  const formats: Record<string, string> = {}
  const schemas: Record<string, string> = {}
  for (const [port, artifact] of Object.entries(node.spec.outputs)) {
    if (artifact.kind === "rows") formats[port] = `${artifact.tag}:${artifact.format.id}`
    if (artifact.kind !== "tree") schemas[port] = schemaDigest(artifact.schema)
  }
  return {
    definition: node.spec.id,
    version: node.spec.version,
    params: encodeParams(node),
    inputs,
    formats,
    ...(node.spec.engine === true ? { numerics } : {}),
    schemas,
    ...(node.spec.closes === undefined ? {} : { closes: node.spec.closes as Schema.Json }),
    artifact: artifactVersion
  }
}

/** The key: sha256 of the canonical JSON of its parts, 64 hex digits. */
export const keyOf = (parts: KeyParts): string => sha256(canonical(parts))

/** A node's key and what it is made of. */
export interface NodeKey {
  readonly parts: KeyParts
  readonly key: string
}

const keys = new WeakMap<AnyNode, NodeKey>()

const sameInputs = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean => {
  const ports = Object.keys(a)
  return ports.length === Object.keys(b).length && ports.every((port) => a[port] === b[port])
}

/**
 * The key of a node on these inputs. It is remembered for the newest inputs, so that a plan and the run after it
 * compute it once: nodes are immutable.
 */
export const nodeKey = (node: AnyNode, inputs: Readonly<Record<string, string>>, numerics: string): NodeKey => {
  const known = keys.get(node)
  const engine = node.spec.engine === true ? numerics : undefined
  if (known !== undefined && sameInputs(known.parts.inputs, inputs) && known.parts.numerics === engine) return known
  const parts = keyParts(node, inputs, numerics)
  const built = { parts, key: keyOf(parts) }
  keys.set(node, built)
  return built
}

/**
 * The parts that are the same whatever the inputs hold, as canonical JSON: definition, settings, names of input ports.
 */
export const settingsOf = (parts: KeyParts): string => canonical({ ...parts, inputs: Object.keys(parts.inputs).sort() })
