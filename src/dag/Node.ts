/**
 * Node definitions are functions: applied to references and parameters they give an instance of the graph.
 *
 * Nothing runs here. Wrong artifact, missing input, unknown port, bad parameter or bad row are compile errors; the
 * error and service types of everything upstream travel in `Ref`.
 *
 * Kinds: `sharded` (batches in, batches out, shard by shard), `whole` (sees all rows), `fold` (steps with a state whose
 * checkpoints the framework owns, see `Fold.ts`), `source` (files from outside, known by content).
 */
import { type Duration, type Effect, type Result, Schema, type Scope, type Stream } from "effect"
import {
  type Artifact,
  type ArtifactOf,
  artifactsOf,
  type Broadcast,
  type Handle,
  type OneOf,
  type Outputs,
  type Port,
  type Ports,
  type RowsArtifact,
  type TreeArtifact,
  type ValueArtifact
} from "./Artifact.ts"
import { canonical } from "./Canonical.ts"
import { crossing, type ErrorClass } from "./Crossing.ts"
import { instanceId, nameFault, overridesFor } from "./InstanceScope.ts"
import { inputFault, kindOf, makeParams, showKinds } from "./Parameters.ts"
import { holdsRedacted } from "./Secrets.ts"
import { callerLocation, type SourceLocation, showSourceLocation } from "./SourceLocation.ts"

/** A class made by `Schema.TaggedError`: a reason why a row can be refused. */
export type RefusalClass = Schema.Codec<any, any> & (new (...args: Array<any>) => { readonly _tag: string })

/** One output of one instance, with the errors and services of everything it takes to make it. */
export interface Ref<out A extends Artifact, out E = any, out R = any> {
  readonly node: AnyNode
  readonly port: string
  readonly artifact: A
  readonly "~": { readonly e: E; readonly r: R }
}
export type AnyRef = Ref<Artifact>
/** References that fit the input ports `I`. */
export type Refs<I extends Ports> = { readonly [K in keyof I]: Ref<ArtifactOf<I[K]>> }
type ErrorOf<X> = X extends Ref<any, infer E, any> ? E : never
type ServicesOf<X> = X extends Ref<any, any, infer R> ? R : never

/** What a definition declares beside its function. */
export interface Declaration<
  P extends Schema.Top,
  I extends Ports,
  O extends Outputs,
  F extends ReadonlyArray<RefusalClass>
> {
  /** Part of the key, for example `cleanShareGpt`. Instances are named after it unless `.named` says otherwise. */
  readonly id: string
  /** Part of the key: the version of the algorithm, raised when results change on purpose. */
  readonly version: string
  /** One sentence for plans, recipe pages and `show`. */
  readonly about?: string
  /**
   * What the node's function takes from functions around it, as plain JSON: `closes: { columns }`. Part of the key.
   * Only for a definition that is made by a function; what differs between two uses is better a parameter.
   */
  readonly closes?: Readonly<Record<string, unknown>>
  /** Everything a result depends on beside inputs and code. Encoded to JSON, it is part of the key. */
  readonly params: P
  readonly inputs: I
  readonly outputs: O
  /** Rows that fail with one of these go to quarantine; all other errors stay in `E`. */
  readonly refuses?: F
  /** Share of rows (0 to 1) that may be refused before the node fails; 1 when left out. */
  readonly refuseAtMost?: number
  /**
   * Where a shard, or a whole node or fold, runs: in a worker thread (long computations), or beside the caller
   * (default, and always with `--workers 0`). Only a thread can be ended by `timeout` while it computes.
   */
  readonly runs?: "worker" | "here"
  /** Computes with an engine: its numerics fingerprint becomes part of the key. */
  readonly engine?: boolean
  /** Files beside the code that results depend on: wasm, vocabularies. */
  readonly assets?: ReadonlyArray<URL>
  /** Times a failed shard or node is tried again; 0 when left out. Never part of a key. */
  readonly retries?: number
  /** How long one attempt of a shard (or of a whole node) may take. */
  readonly timeout?: Duration.Input
}

/** A definition as the framework sees it, types erased. */
export interface NodeSpec extends Declaration<Schema.Top, Ports, Outputs, ReadonlyArray<RefusalClass>> {
  readonly kind: "sharded" | "whole" | "fold" | "source"
  /** The node's function; its shape depends on `kind`. */
  readonly run: unknown
  readonly sourceLocation: SourceLocation
}

/** An instance: a definition applied to references and parameters. */
export interface AnyNode {
  /** Instance id: a path such as `instruct/images`. Never part of a key. */
  readonly id: string
  readonly spec: NodeSpec
  readonly params: unknown
  readonly inputs: Readonly<Record<string, AnyRef>>
  readonly out: Readonly<Record<string, AnyRef>>
  readonly sourceLocation: SourceLocation
  /** Sources only: absolute path of the file or folder, or an address (`isRemote`). */
  readonly location?: string
  /** Sources only: the size of one at an address, and which files of a folder. */
  readonly bytes?: number
  readonly files?: ReadonlyArray<string>
  /** Sources only: what to do when it is not there. */
  readonly hint?: string
}

/** An instance with typed outputs. */
export interface Applied<O extends Outputs, out E, out R> extends AnyNode {
  readonly out: { readonly [K in keyof O]: Ref<O[K], E, R> }
}

/** A definition: apply it to inputs and parameters. */
export interface NodeDefinition<
  P extends Schema.Top,
  I extends Ports,
  O extends Outputs,
  out E,
  out R,
  F extends ReadonlyArray<RefusalClass> = ReadonlyArray<RefusalClass>
> {
  <In extends Refs<I>>(
    inputs: In & { readonly [K in Exclude<keyof In, keyof I>]: never },
    params: P["~type.make.in"]
  ): Applied<O, E | ErrorOf<In[keyof In]>, R | ServicesOf<In[keyof In]>>
  /** The same definition under another instance id, for a second use in one pipeline. */
  readonly named: (id: string) => NodeDefinition<P, I, O, E, R, F>
  readonly spec: NodeSpec
  readonly "~": { readonly i: I; readonly o: O; readonly p: P; readonly e: E; readonly r: R; readonly f: F }
}

type Refusal<F extends ReadonlyArray<RefusalClass>> = InstanceType<F[number]>

/** What a node that refuses rows is given. `at` is the row's number in the (shard's) input. */
export interface Refusing<Refused> {
  /** Sends one row to quarantine. Saying the same twice counts once. */
  readonly refuse: (at: number, reason: Refused) => void
  /**
   * Says how many rows were looked at so far, refused ones counted: for a reader of files, whose rows come through
   * neither `mapEffectOrRefuse` nor `flatMap`. The share of refused rows is of these.
   */
  readonly countRows: (rows: number) => void
  /** Maps rows by an effect; a row that fails with a declared refusal goes to quarantine. */
  readonly mapEffectOrRefuse: <A, X extends Effect.Effect<any, any, any>, E0, R0>(
    batches: Stream.Stream<ReadonlyArray<A>, E0, R0>,
    f: (row: A, at: number) => X
  ) => Stream.Stream<ReadonlyArray<Effect.Success<X>>, E0 | Exclude<Effect.Error<X>, Refused>, R0 | Effect.Services<X>>
  /** Maps rows by a plain function to any number of rows; a failed `Result` goes to quarantine. */
  readonly flatMap: <A, B, E0, R0>(
    batches: Stream.Stream<ReadonlyArray<A>, E0, R0>,
    f: (row: A, at: number) => ReadonlyArray<B> | Result.Result<ReadonlyArray<B>, Refused>
  ) => Stream.Stream<ReadonlyArray<B>, E0, R0>
}

/** What one shard sees of an input port. */
export type ShardInput<P> = P extends Broadcast<infer A> | OneOf<infer A>
  ? Handle<A>
  : P extends RowsArtifact<string, infer Row>
    ? Stream.Stream<ReadonlyArray<Row>>
    : Handle<P>

export interface ShardContext<P, I extends Ports, Refused> extends Refusing<Refused> {
  readonly params: P
  readonly shard: { readonly [K in keyof I]: ShardInput<I[K]> }
  /** This shard's number, and how many there are. */
  readonly index: number
  readonly count: number
}

/** What a result is made from, by content; equal keys and equal code have equal ones, so results may state them. */
export interface Origin {
  /** Digest of each input, by port. */
  readonly inputs: Readonly<Record<string, string>>
  /** Digest of the code behind the node. */
  readonly code: string
}

export interface WholeContext<P, I extends Ports, Refused> extends Refusing<Refused> {
  readonly params: P
  /** Known where a store is: absent where the node runs alone. */
  readonly origin?: Origin
  readonly inputs: { readonly [K in keyof I]: Handle<ArtifactOf<I[K]>> }
  /** Figures to show while the node runs; never part of a result. */
  readonly report: (metrics: Readonly<Record<string, number>>) => void
}

export type ShardOutputs<O extends Outputs, E, R> = {
  readonly [K in keyof O]: O[K] extends RowsArtifact<string, infer Row>
    ? Stream.Stream<ReadonlyArray<Row>, E, R>
    : never
}

/** One batch for every output port at once, for ports that come from the same work (a picture and its caption). */
export type ShardBatches<O extends Outputs> = {
  readonly [K in keyof O]: O[K] extends RowsArtifact<string, infer Row> ? ReadonlyArray<Row> : never
}

/** Rows as a stream, a value as an effect, a tree as an effect that fills the empty folder it is given. */
export type WholeOutputs<O extends Outputs, E, R> = {
  readonly [K in keyof O]: O[K] extends RowsArtifact<string, infer Row>
    ? Stream.Stream<ReadonlyArray<Row>, E, R>
    : O[K] extends ValueArtifact<string, infer V>
      ? Effect.Effect<V, E, R>
      : O[K] extends TreeArtifact<string>
        ? (folder: string) => Effect.Effect<void, E, R>
        : never
}

/** The streams of a sharded node's result. */
export type PartsOf<S> = S extends Stream.Stream<any, any, any> ? S : S[keyof S]

export type PartError<X> =
  X extends Stream.Stream<any, infer E, any>
    ? E
    : X extends Effect.Effect<any, infer E, any>
      ? E
      : X extends (...args: any) => Effect.Effect<any, infer E, any>
        ? E
        : never
export type PartServices<X> =
  X extends Stream.Stream<any, any, infer R>
    ? R
    : X extends Effect.Effect<any, any, infer R>
      ? R
      : X extends (...args: any) => Effect.Effect<any, any, infer R>
        ? R
        : never

/** A pipeline was put together wrongly; thrown while it is being built. */
export class WiringError extends Schema.TaggedError<WiringError>()("WiringError", {
  node: Schema.String,
  sourceLocation: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const checkCloses = (spec: NodeSpec): void => {
  try {
    canonical(spec.closes)
  } catch (cause) {
    throw new WiringError({
      node: spec.id,
      sourceLocation: showSourceLocation(spec.sourceLocation),
      message: `closes: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: "`closes` holds plain JSON: give what stands for the value, such as a digest or a name.",
      cause
    })
  }
}

/** Turns a declaration and a function into an applicable definition. */
export const define = <D>(spec: NodeSpec): D => {
  if (spec.closes !== undefined) checkCloses(spec)
  crossing(...((spec.refuses ?? []) as unknown as ReadonlyArray<ErrorClass>))
  const build = (name: string) => {
    const apply = (inputs: Record<string, AnyRef>, params: unknown): AnyNode => {
      const at = callerLocation()
      const id = instanceId(name)
      const fail = (message: string, hint: string, cause?: unknown): never => {
        throw new WiringError({ node: id, sourceLocation: showSourceLocation(at), message, hint, cause })
      }
      const declaration = declarationFault(id, spec)
      if (declaration !== undefined) fail(declaration.message, declaration.hint)
      const names = inputFault(spec.inputs, inputs)
      if (names !== undefined) fail(names.message, names.hint)
      for (const port of Object.keys(spec.inputs)) {
        const declared = spec.inputs[port]!
        const ref = inputs[port]!
        const taken = artifactsOf(declared)
        if (!isRef(ref))
          fail(`input ${port} takes a reference to ${showKinds(declared)}, got ${kindOf(ref)}`, refHint(ref))
        if (!taken.some(({ kind, tag }) => ref.artifact.tag === tag && ref.artifact.kind === kind))
          fail(
            `input ${port} takes ${taken.map(({ tag }) => tag).join(" or ")}, got ${ref.artifact.tag}`,
            "Put the node that converts one to the other between."
          )
        else if (ref.artifact.kind === "rows" && ref.artifact.transient && !mayStream(spec, declared))
          fail(
            `input ${port} asks for rows by number, but ${ref.node.id}.${ref.port} is transient`,
            "Store that port (drop `transient`), or read it in a sharded node."
          )
        else if (ref.artifact.kind === "rows" && ref.artifact.transient && ref.node.spec.kind !== "sharded")
          fail(
            `input ${port} is ${ref.node.id}.${ref.port}, a transient output of a ${ref.node.spec.kind} node`,
            "Only sharded nodes can stream again shard by shard: drop `transient` from that port."
          )
      }
      const make = (given: unknown): unknown => {
        const built = makeParams(spec.params, given)
        if (built.ok) return built.params
        return fail(built.fault.message, built.fault.hint, built.fault.cause)
      }
      const self: { -readonly [K in keyof AnyNode]: AnyNode[K] } = {
        id,
        spec,
        params: make(withSettings(params ?? {}, overridesFor(id, spec))),
        inputs,
        out: {},
        sourceLocation: at
      }
      self.out = outputsOf(self, spec.outputs)
      return self
    }
    return Object.assign(apply, { spec, named: build })
  }
  return build(spec.id) as D
}

/** What was given with what `--set` replaces; what is no object stays as it is, and fails later. */
const withSettings = (given: unknown, settings: Readonly<Record<string, unknown>>): unknown =>
  typeof given === "object" && !Array.isArray(given) ? { ...given, ...settings } : given

const isRef = (value: unknown): value is AnyRef =>
  typeof value === "object" && value !== null && "node" in value && "port" in value && "artifact" in value

const refHint = (given: unknown): string => {
  const out = (given as { readonly out?: unknown } | undefined)?.out
  return typeof out === "object" && out !== null
    ? `Name the output: ${Object.keys(out)
        .map((port) => `\`.out.${port}\``)
        .join(" or ")}.`
    : "A reference is an output of another node, `.out.NAME`; files from outside come from `source(...)`."
}

/** What is wrong with a declaration itself. The compiler says it first, where there is one. */
const declarationFault = (
  id: string,
  spec: NodeSpec
): { readonly message: string; readonly hint: string } | undefined => {
  const name = nameFault("node", id)
  if (name !== undefined) return name
  if (spec.kind === "fold" ? typeof spec.run !== "object" || spec.run === null : typeof spec.run !== "function")
    return {
      message:
        `its second argument must be ${spec.kind === "fold" ? "the functions of the fold" : "its function"}, ` +
        `got ${kindOf(spec.run)}`,
      hint: "Write `whole({ id, version, params, inputs, outputs }, (context) => Effect...)`."
    }
  for (const [port, artifact] of Object.entries(spec.outputs)) {
    const wrong = nameFault("output", port)
    if (wrong !== undefined) return wrong
    if (artifact.kind !== "tree" && holdsRedacted(artifact.schema))
      return {
        message: `output ${port} would store a Redacted value`,
        hint: "Outputs are files: keep the secret in a parameter or a service, and give rows without it."
      }
  }
  return undefined
}

/** One reference an output of an instance. */
export const outputsOf = (node: AnyNode, outputs: Outputs): Record<string, AnyRef> =>
  Object.fromEntries(
    Object.entries(outputs).map(([port, artifact]) => [port, { node, port, artifact } as unknown as AnyRef])
  )

const mayStream = (consumer: NodeSpec, port: Port): boolean => consumer.kind === "sharded" && port.kind === "rows"

/**
 * A node that turns batches into batches, shard by shard; a killed run repeats only the shards in flight.
 *
 * Output shard i is made of input shard i of every non-broadcast input (they must have equally many shards). Without
 * such an input there is one shard. The function returns a stream a port, each over the same input, or one stream of
 * batches for all ports where they come from the same work.
 *
 * @example
 * const shout = sharded(
 *   { id: "shout", version: "1", params: Schema.Struct({}), inputs: { rows: Words }, outputs: { rows: Words } },
 *   ({ shard }) => ({ rows: Stream.map(shard.rows, (batch) => batch.map((row) => ({ ...row, text: row.text.toUpperCase() }))) })
 * )
 */
export const sharded = <
  P extends Schema.Top,
  const I extends Ports,
  const O extends { readonly [port: string]: RowsArtifact<string, any> },
  S extends ShardOutputs<O, any, any> | Stream.Stream<ShardBatches<O>, any, any>,
  const F extends ReadonlyArray<RefusalClass> = readonly []
>(
  declaration: Declaration<P, I, O, F>,
  run: (context: ShardContext<P["Type"], I, Refusal<F>>) => S
): NodeDefinition<P, I, O, PartError<PartsOf<S>>, PartServices<PartsOf<S>>, F> =>
  define({ ...(declaration as unknown as NodeSpec), kind: "sharded", run, sourceLocation: callerLocation() })

/**
 * A node that sees all rows of its inputs: counts, duplicates, evaluation, export.
 *
 * Row streams are drained first, then values and trees are asked for, so a report can count what the stream did.
 * Output rows are cut into shards of `shardRows` rows (a parameter of that name, else 1,024).
 */
export const whole = <
  P extends Schema.Top,
  const I extends Ports,
  const O extends Outputs,
  S extends WholeOutputs<O, any, any>,
  E,
  R,
  const F extends ReadonlyArray<RefusalClass> = readonly []
>(
  declaration: Declaration<P, I, O, F>,
  run: (context: WholeContext<P["Type"], I, Refusal<F>>) => Effect.Effect<S, E, R>
): NodeDefinition<P, I, O, E | PartError<S[keyof S]>, Exclude<R | PartServices<S[keyof S]>, Scope.Scope>, F> =>
  define({ ...(declaration as unknown as NodeSpec), kind: "whole", run, sourceLocation: callerLocation() })
