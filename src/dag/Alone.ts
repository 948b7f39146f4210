/**
 * Runs one node by itself, in a notebook, a script or a test: no pipeline, no store, no resume.
 *
 * Not for large data: all output rows are held in memory. Trees are written to the folder given as `into`.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema, type Scope, Stream } from "effect"
import type {
  Artifact,
  ArtifactOf,
  Broadcast,
  Outputs,
  Ports,
  Rows,
  RowsArtifact,
  TreeArtifact,
  ValueArtifact
} from "./Artifact.ts"
import { shardParts } from "./FanOut.ts"
import type { AnyFold } from "./Fold.ts"
import type { NodeDefinition, RefusalClass } from "./Node.ts"
import { makeRefusals, type Refused } from "./Refusals.ts"
import { fromArray } from "./Rows.ts"

/** What may be given for an input: rows as an array or a handle, a tree as a path, a value as itself. */
export type Given<P> =
  ArtifactOf<P> extends RowsArtifact<string, infer Row>
    ? ReadonlyArray<Row> | Rows<Row>
    : ArtifactOf<P> extends TreeArtifact<string>
      ? string
      : ArtifactOf<P> extends ValueArtifact<string, infer V>
        ? V
        : never

/** What comes out: rows as an array, a tree as its path, a value as itself. */
export type Made<A> =
  A extends RowsArtifact<string, infer Row>
    ? ReadonlyArray<Row>
    : A extends TreeArtifact<string>
      ? string
      : A extends ValueArtifact<string, infer V>
        ? V
        : never

/** Outputs of a node that ran alone, and the rows it refused. */
export interface Ran<O extends Outputs> {
  readonly out: { readonly [K in keyof O]: Made<O[K]> }
  readonly refused: ReadonlyArray<Refused>
}

/** The node writes files and was not told where. */
export class NoFolder extends Schema.TaggedError<NoFolder>()("NoFolder", {
  node: Schema.String,
  port: Schema.String,
  hint: Schema.String
}) {}

const handle = (artifact: Artifact, given: unknown): unknown =>
  artifact.kind === "rows"
    ? Array.isArray(given)
      ? fromArray(given)
      : given
    : artifact.kind === "tree"
      ? { path: given }
      : given

const drain = Effect.fnUntraced(function* (
  spec: { readonly id: string; readonly outputs: Outputs },
  parts: Record<string, any>,
  into: string | undefined
) {
  const out: Record<string, unknown> = {}
  const ports = Object.entries(spec.outputs)
  yield* Effect.forEach(
    ports.filter(([, artifact]) => artifact.kind === "rows"),
    ([port]) =>
      Effect.map(Stream.runCollect(parts[port] as Stream.Stream<ReadonlyArray<unknown>>), (batches) => {
        out[port] = batches.flat()
      }),
    { concurrency: "unbounded", discard: true }
  )
  for (const [port, artifact] of ports) {
    if (artifact.kind === "value") out[port] = yield* parts[port] as Effect.Effect<unknown>
    if (artifact.kind === "tree") {
      if (into === undefined)
        return yield* Effect.die(
          new NoFolder({ node: spec.id, port, hint: "Give Node.run an `into` folder: this node writes files." })
        )
      const folder = join(into, port)
      mkdirSync(folder, { recursive: true })
      yield* (parts[port] as (folder: string) => Effect.Effect<void>)(folder)
      out[port] = folder
    }
  }
  return out
})

/**
 * Runs a definition on plain inputs and gives its outputs and refused rows.
 *
 * A sharded node runs as one shard. Errors are the node's own; services are what it asks for.
 *
 * @example
 * const { out, refused } = yield* Node.run(dropDuplicates, { rows: tenRows }, { shardRows: 1024 })
 */
export const run = <
  P extends Schema.Top,
  I extends Ports,
  O extends Outputs,
  E,
  R,
  F extends ReadonlyArray<RefusalClass>
>(
  definition: NodeDefinition<P, I, O, E, R, F>,
  inputs: { readonly [K in keyof I]: Given<I[K]> },
  params: P["~type.make.in"],
  options: { readonly into?: string } = {}
): Effect.Effect<Ran<O>, E, Exclude<R, Scope.Scope>> => {
  const spec = definition.spec
  const given = inputs as Readonly<Record<string, unknown>>
  const work = Effect.gen(function* () {
    const made = spec.params.make(params as never)
    const refusals = makeRefusals(spec.refuses ?? [])
    const whole: Record<string, unknown> = {}
    const shard: Record<string, unknown> = {}
    for (const [port, declared] of Object.entries(spec.inputs)) {
      const artifact = declared.kind === "broadcast" ? (declared as Broadcast<Artifact>).artifact : declared
      whole[port] = handle(artifact, given[port])
      shard[port] = declared.kind === "rows" ? (whole[port] as Rows<unknown>).batches : whole[port]
    }
    let parts: Record<string, unknown>
    if (spec.kind === "sharded")
      parts = yield* shardParts(spec, { params: made, shard, index: 0, count: 1, ...refusals })
    else if (spec.kind === "whole")
      parts = yield* (spec.run as (c: unknown) => Effect.Effect<Record<string, unknown>>)({
        params: made,
        inputs: whole,
        report: () => undefined,
        ...refusals
      })
    else {
      const f = spec.run as AnyFold
      const context = { params: made, inputs: whole as never }
      let state = yield* f.init(context)
      for (let at = f.progress(state); at.step < at.total; at = f.progress(state)) state = yield* f.step(context, state)
      parts = yield* f.finish(context, state)
    }
    const out = yield* drain(spec, parts, options.into)
    return { out, refused: [...refusals.collected()] }
  })
  return Effect.scoped(work as Effect.Effect<unknown, unknown, Scope.Scope>) as Effect.Effect<
    Ran<O>,
    E,
    Exclude<R, Scope.Scope>
  >
}
