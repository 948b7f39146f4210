/**
 * Runs one node by itself, in a notebook, a script or a test: no pipeline, no store, no resume.
 *
 * Not for large data: all output rows are held in memory. Trees are written to the folder given as `into`.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema, type Scope, Stream } from "effect"
import {
  type Artifact,
  type ArtifactOf,
  artifactsOf,
  type Outputs,
  type Port,
  type Ports,
  type Rows,
  type RowsArtifact,
  type TreeArtifact,
  type ValueArtifact
} from "./Artifact.ts"
import { shardParts } from "./FanOut.ts"
import type { AnyFold } from "./Fold.ts"
import type { NodeDefinition, NodeSpec, RefusalClass } from "./Node.ts"
import { type Fault, inputFault, kindOf, makeParams, showKind, wrongValue } from "./Parameters.ts"
import { makeRefusals, type Refused } from "./Refusals.ts"
import { callEffect, checkedFold, checkedParts, WrongResult } from "./Results.ts"
import { fromArray } from "./Rows.ts"
import { changesOf, stateOf } from "./Unchanged.ts"

/** What may be given for an input: rows as an array or a handle, a tree as a path, a value as itself. */
export type Given<P> = GivenAs<ArtifactOf<P>>
type GivenAs<A> =
  A extends RowsArtifact<string, infer Row>
    ? ReadonlyArray<Row> | Rows<Row>
    : A extends TreeArtifact<string>
      ? string
      : A extends ValueArtifact<string, infer V>
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

/** The node writes files, and no folder was given for them. */
export class NoFolder extends Schema.TaggedError<NoFolder>()("NoFolder", {
  node: Schema.String,
  port: Schema.String,
  hint: Schema.String
}) {}

/** What `Node.run` was given does not fit the node: raised as a defect, for the call is to be changed. */
export class WrongInput extends Schema.TaggedError<WrongInput>()("WrongInput", {
  node: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

const isRows = (given: unknown): given is Rows<unknown> =>
  typeof given === "object" && given !== null && "batches" in given && "get" in given && "length" in given

/** Why something cannot be the input of a port. Every row of an array is looked at. */
const givenFault = (port: string, artifact: Artifact, given: unknown): Fault | undefined => {
  if (artifact.kind === "tree")
    return typeof given === "string" && given !== ""
      ? undefined
      : {
          message: `input ${port} takes the path of ${showKind(artifact)}, got ${kindOf(given)}`,
          hint: "Give a path as text."
        }
  if (artifact.kind === "value") {
    const issue = wrongValue(artifact.schema, given)
    return issue === undefined
      ? undefined
      : {
          message: `input ${port} takes ${showKind(artifact)}: ${issue}`,
          hint: "Give a value that fits the artifact's schema."
        }
  }
  if (isRows(given)) return undefined
  const hint = `Give an array of rows of ${artifact.tag}, or the rows that another Node.run gave.`
  if (!Array.isArray(given)) return { message: `input ${port} takes ${showKind(artifact)}, got ${kindOf(given)}`, hint }
  for (let at = 0; at < given.length; at++) {
    const issue = wrongValue(artifact.schema, given[at])
    if (issue !== undefined) return { message: `input ${port}, row ${at}: ${issue}`, hint }
  }
  return undefined
}

/** Of the artifacts that a port takes, the first that the given input fits; the first of all where it fits none. */
const chosen = (port: string, declared: Port, given: Readonly<Record<string, unknown>>): Artifact => {
  const taken = artifactsOf(declared)
  const fitting = taken.length === 1 ? undefined : taken.find((one) => givenFault(port, one, given[port]) === undefined)
  return fitting ?? taken[0]!
}

/** Plain data, arrays and typed arrays copied; class instances as they are. */
const copied = <A>(value: A): A => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(copied) as A
  if (ArrayBuffer.isView(value))
    return value instanceof DataView ? value : ((value as unknown as Uint8Array).slice() as unknown as A)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, copied(one)])) as A
}

/** Rows that a node may change without changing those of the caller. */
const apart = <Row>(rows: Rows<Row>): Rows<Row> => ({
  ...rows,
  batches: Stream.map(rows.batches, (batch) => batch.map(copied)),
  get: (indices) => Effect.map(rows.get(indices), (some) => some.map(copied))
})

/** What a node sees of an input: a copy, as from a store. */
const handle = (artifact: Artifact, given: unknown): unknown =>
  artifact.kind === "rows"
    ? apart(Array.isArray(given) ? fromArray(given) : (given as Rows<unknown>))
    : artifact.kind === "tree"
      ? { path: given }
      : copied(given)

/** Files that a node was given are the same when it ends. */
const sameFiles = (spec: NodeSpec, given: Readonly<Record<string, unknown>>) => {
  const trees = Object.entries(spec.inputs)
    .filter(([port, declared]) => chosen(port, declared, given).kind === "tree")
    .map(([port]) => ({ port, path: String(given[port]), before: stateOf(String(given[port])) }))
  return Effect.suspend(() => {
    for (const { before, path, port } of trees) {
      const [first] = changesOf(before, stateOf(path))
      if (first !== undefined)
        return Effect.die(
          new WrongResult({
            node: spec.id,
            message: `it ${first.how} ${first.path}, a file of its input ${port}`,
            hint: "Inputs are read-only: copy what is to be changed, and write to the folder of an output."
          })
        )
    }
    return Effect.void
  })
}

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
    const fault =
      inputFault(spec.inputs, given) ??
      Object.entries(spec.inputs)
        .map(([port, declared]) => givenFault(port, chosen(port, declared, given), given[port]))
        .find((one) => one !== undefined)
    if (fault !== undefined) return yield* Effect.die(new WrongInput({ node: spec.id, ...fault }))
    const checked = makeParams(spec.params, params ?? {})
    if (!checked.ok)
      return yield* Effect.die(
        new WrongInput({ node: spec.id, message: checked.fault.message, hint: checked.fault.hint })
      )
    const built = checked.params
    const refusals = makeRefusals(spec.refuses ?? [])
    const whole: Record<string, unknown> = {}
    const shard: Record<string, unknown> = {}
    for (const [port, declared] of Object.entries(spec.inputs)) {
      whole[port] = handle(chosen(port, declared, given), given[port])
      shard[port] = declared.kind === "rows" ? (whole[port] as Rows<unknown>).batches : whole[port]
    }
    const unchanged = sameFiles(spec, given)
    let parts: Record<string, unknown>
    if (spec.kind === "sharded")
      parts = yield* shardParts(spec, { params: built, shard, index: 0, count: 1, ...refusals })
    else if (spec.kind === "whole")
      parts = checkedParts(
        spec.id,
        spec.outputs,
        yield* callEffect(spec.id, "its function", () =>
          (spec.run as (c: unknown) => Effect.Effect<unknown>)({
            params: built,
            inputs: whole,
            report: () => undefined,
            ...refusals
          })
        )
      )
    else {
      const f = checkedFold(spec.id, spec.run as AnyFold)
      const context = { params: built, inputs: whole as never }
      let state = yield* f.init(context)
      for (let at = f.progress(state); at.step < at.total; at = f.progress(state)) state = yield* f.step(context, state)
      parts = checkedParts(spec.id, spec.outputs, yield* f.finish(context, state))
    }
    const out = yield* drain(spec, parts, options.into)
    yield* unchanged
    return { out, refused: refusals.take() }
  })
  return Effect.scoped(work as Effect.Effect<unknown, unknown, Scope.Scope>) as Effect.Effect<
    Ran<O>,
    E,
    Exclude<R, Scope.Scope>
  >
}
