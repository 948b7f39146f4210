/**
 * The key of a node: what its result depends on, and nothing else.
 *
 * Paths, devices, concurrency, worker counts and instance ids never reach a key. The code digest stands beside the key,
 * not in it, so that "only the code differs" is a question that can be answered.
 */
import { Schema } from "effect"
import { artifactOf } from "./Artifact.ts"
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
  artifact: Schema.Number
})
export type KeyParts = typeof KeyParts.Type

const encoders = new WeakMap<object, (params: unknown) => unknown>()

/** Parameters as plain JSON, by their Schema; redacted values are hidden (`Secrets.ts`). Throws `NotCanonical` or a SchemaError for what cannot be encoded. */
export const encodeParams = (node: AnyNode): Schema.Json => {
  let encode = encoders.get(node.spec.params)
  if (encode === undefined) {
    const codec = holdsRedacted(node.spec.params)
      ? hidingCodec(node.spec.params)
      : Schema.toCodecJson(node.spec.params as unknown as Schema.Codec<unknown, unknown>)
    encode = Schema.encodeUnknownSync(codec as Schema.Codec<unknown, unknown>)
    encoders.set(node.spec.params, encode)
  }
  return encode(node.params) as Schema.Json
}

/** The parts of a node's key, given the content digest of each input port. */
export const keyParts = (node: AnyNode, inputs: Readonly<Record<string, string>>, numerics: string): KeyParts => {
  const formats: Record<string, string> = {}
  for (const [port, artifact] of Object.entries(node.spec.outputs)) {
    const plain = artifactOf(artifact)
    if (plain.kind === "rows") formats[port] = `${plain.tag}:${plain.format.id}`
  }
  return {
    definition: node.spec.id,
    version: node.spec.version,
    params: encodeParams(node),
    inputs,
    formats,
    ...(node.spec.engine === true ? { numerics } : {}),
    artifact: artifactVersion
  }
}

/** The key: sha256 of the canonical JSON of its parts, 64 hex digits. */
export const keyOf = (parts: KeyParts): string => sha256(canonical(parts))
