/**
 * What flows between nodes: rows, a file tree, or a value, each with a nominal tag.
 *
 * Not the data itself: an artifact is the *type* of a port, known to the compiler (a `vicuna` port refuses `sharegpt`
 * rows of the same shape) and to the store (schema, shard format). The data of one run is a `Handle`.
 */
import { type Effect, Schema, type Stream } from "effect"
import type { ShardFormat } from "./Format.ts"
import { jsonl } from "./Jsonl.ts"

/** Rows of one schema, cut into shards; shard boundaries are part of the artifact. */
export interface RowsArtifact<out Tag extends string, Row> {
  readonly kind: "rows"
  readonly tag: Tag
  readonly schema: Schema.Codec<Row, any>
  readonly format: ShardFormat<Row>
  /** Streams to its consumer and is never stored: only its digest and counts are. */
  readonly transient: boolean
}

/** A file, or a folder of files: a checkpoint, an archive, a source. */
export interface TreeArtifact<out Tag extends string> {
  readonly kind: "tree"
  readonly tag: Tag
}

/** One small value, such as a report. */
export interface ValueArtifact<out Tag extends string, A> {
  readonly kind: "value"
  readonly tag: Tag
  readonly schema: Schema.Codec<A, any>
}

export type Artifact = RowsArtifact<string, any> | TreeArtifact<string> | ValueArtifact<string, any>

/** A port of a sharded node that every shard sees whole: a vocabulary, a model, counts. */
export interface Broadcast<out A extends Artifact> {
  readonly kind: "broadcast"
  readonly artifact: A
}

/** A port that takes any one of several artifacts, and sees it whole: images as pixels, or as features. */
export interface OneOf<out A extends Artifact> {
  readonly kind: "oneOf"
  readonly artifacts: ReadonlyArray<A>
}

export type Port = Artifact | Broadcast<Artifact> | OneOf<Artifact>
export type Ports = { readonly [port: string]: Port }
export type Outputs = { readonly [port: string]: Artifact }

/** The artifact behind a port; a union where the port takes one of several. */
export type ArtifactOf<P> = P extends Broadcast<infer A> | OneOf<infer A> ? A : P extends Artifact ? P : never

/**
 * Rows that can be streamed or asked for by number, as often as wanted.
 *
 * Reading is infallible for the node that reads: a damaged or vanished input ends the node from outside, as
 * `InputUnavailable`, so a node's error type holds its own errors only.
 */
export interface Rows<out Row> {
  readonly length: number
  /** Rows of each shard; they add up to `length`. */
  readonly shards: ReadonlyArray<number>
  /** All rows in order, in batches as they were written. */
  readonly batches: Stream.Stream<ReadonlyArray<Row>>
  /** Rows at `indices` (0 <= index < length), in the order asked for. */
  readonly get: (indices: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Row>>
}

/** Read-only files: `path` is a file, or a folder. */
export interface Tree {
  readonly path: string
}

/** What a node receives for an input it sees whole. */
export type Handle<A> =
  A extends RowsArtifact<string, infer Row>
    ? Rows<Row>
    : A extends TreeArtifact<string>
      ? Tree
      : A extends ValueArtifact<string, infer V>
        ? V
        : never

/** An input could not be read. Raised as a defect inside the reading node, reported by the runner. */
export class InputUnavailable extends Schema.TaggedError<InputUnavailable>()("InputUnavailable", {
  port: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/**
 * Rows with a nominal tag; written as JSON lines unless another format is given.
 *
 * @example
 * const Captions = rows("captions", Schema.Struct({ id: Schema.String, caption: Schema.String }))
 */
export const rows = <const Tag extends string, Row>(
  tag: Tag,
  schema: Schema.Codec<Row, any>,
  options: { readonly format?: ShardFormat<Row> } = {}
): RowsArtifact<Tag, Row> => ({ kind: "rows", tag, schema, format: options.format ?? jsonl(schema), transient: false })

/** The same rows, streamed to the next node and never stored. Keys do not change: the digest is taken on the way. */
export const transient = <Tag extends string, Row>(artifact: RowsArtifact<Tag, Row>): RowsArtifact<Tag, Row> => ({
  ...artifact,
  transient: true
})

/** A file or folder with a nominal tag. */
export const tree = <const Tag extends string>(tag: Tag): TreeArtifact<Tag> => ({ kind: "tree", tag })

/** A value with a nominal tag. */
export const value = <const Tag extends string, A>(tag: Tag, schema: Schema.Codec<A, any>): ValueArtifact<Tag, A> => ({
  kind: "value",
  tag,
  schema
})

/** Declares that every shard of the node sees this input whole. */
export const broadcast = <A extends Artifact>(artifact: A): Broadcast<A> => ({ kind: "broadcast", artifact })

/**
 * Declares that an input takes any one of these artifacts. The node tells them apart by what it reads.
 *
 * @example
 * inputs: { images: oneOf(Pixels, Features) }
 */
export const oneOf = <const A extends readonly [Artifact, ...ReadonlyArray<Artifact>]>(
  ...artifacts: A
): OneOf<A[number]> => ({
  kind: "oneOf",
  artifacts
})

/** The artifacts that a port takes: one, or several where it is declared with `oneOf`. */
export const artifactsOf = (port: Port): ReadonlyArray<Artifact> =>
  port.kind === "oneOf" ? port.artifacts : [port.kind === "broadcast" ? port.artifact : port]
