/**
 * Fold nodes: long computations with a state, step by step; the framework owns their checkpoints.
 *
 * Training is a fold over optimiser steps. The state holds *everything* the rest of the run depends on (weights,
 * optimiser, RNG position, data cursor, loss log), so a restored state continues bit-identically. Data arrives as
 * `Rows` handles, because a shuffled order is no stream.
 *
 * Lifecycle of a state: `init` or `state.decode` makes it inside the node's scope; `step` may change it in place and
 * returns the next one; `state.encode` copies it (later steps must not show in what it returned); `finish` reads it. A
 * fold with `help` may ask other threads for parts of its steps (`Helpers.ts`); one with `load` may have a thread that
 * loads what they need (`Loader.ts`); one with `follow` may run in several processes, in lockstep (`ProcessGroup.ts`).
 */
import type { Effect, Schema, Scope } from "effect"
import type { ArtifactOf, Handle, Outputs, Ports } from "./Artifact.ts"
import {
  type Declaration,
  define,
  type NodeDefinition,
  type NodeSpec,
  type PartError,
  type PartServices,
  type RefusalClass,
  type WholeOutputs
} from "./Node.ts"
import { callerLocation } from "./SourceLocation.ts"

/** A checkpoint's contents: file name (no folders) to bytes. */
export type StateFiles = ReadonlyMap<string, Uint8Array>

export interface FoldContext<P, I extends Ports> {
  readonly params: P
  readonly inputs: { readonly [K in keyof I]: Handle<ArtifactOf<I[K]>> }
}

/** Where a fold stands, for progress and for keep-best. */
export interface FoldProgress {
  /** Steps done, and steps in all. */
  readonly step: number
  readonly total: number
  /** Figures of the last step; `loss` is shown live. */
  readonly metrics: Readonly<Record<string, number>>
}

/** The functions of a fold node over state `S`. */
export interface FoldFunctions<C, S, Out, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5> {
  readonly init: (context: C) => Effect.Effect<S, E1, R1>
  /** One step; called until `progress(state).step` reaches `total`. */
  readonly step: (context: C, state: S) => Effect.Effect<S, E2, R2>
  readonly progress: (state: S) => FoldProgress
  readonly finish: (context: C, state: S) => Effect.Effect<Out, E3, R3>
  readonly state: {
    readonly encode: (state: S) => Effect.Effect<StateFiles, E4, R4>
    readonly decode: (context: C, files: StateFiles) => Effect.Effect<S, E5, R5>
  }
  /** Run in a helper's thread: opens the node once, and gives what answers the tasks that steps send. */
  readonly help?: (context: C) => Effect.Effect<(task: unknown) => Effect.Effect<unknown, E2, R2>, E1, R1>
  /** Run in a loader's thread, without the recipe's services: opens the node's data, and gives what loads a request. */
  readonly load?: (
    context: C
  ) => Effect.Effect<(request: unknown) => Effect.Effect<unknown, E2, Scope.Scope>, E1, Scope.Scope>
  /** Run in the processes that follow rank 0, from before its `init` or `decode` until its `finish` or its end. */
  readonly follow?: (context: C) => Effect.Effect<void, E5, R5>
}

/** A fold's functions, types erased. */
export type AnyFold = FoldFunctions<
  FoldContext<any, Ports>,
  unknown,
  Record<string, unknown>,
  unknown,
  never,
  unknown,
  never,
  unknown,
  never,
  unknown,
  never,
  unknown,
  never
>

/**
 * A node that advances a state step by step and survives SIGKILL at any point through checkpoints.
 *
 * @example
 * const count = fold(
 *   { id: "count", version: "1", params: Schema.Struct({ to: Schema.Int }), inputs: {}, outputs: { n: Total } },
 *   {
 *     init: ({ params }) => Effect.succeed({ n: 0, to: params.to }),
 *     step: (_, s) => Effect.succeed({ ...s, n: s.n + 1 }),
 *     progress: (s) => ({ step: s.n, total: s.to, metrics: {} }),
 *     finish: (_, s) => Effect.succeed({ n: Effect.succeed(s.n) }),
 *     state: {
 *       encode: (s) => Effect.succeed(new Map([["n.json", new TextEncoder().encode(String(s.n))]])),
 *       decode: ({ params }, files) => Effect.succeed({ n: Number(new TextDecoder().decode(files.get("n.json"))), to: params.to })
 *     }
 *   }
 * )
 */
export const fold = <
  P extends Schema.Top,
  const I extends Ports,
  const O extends Outputs,
  S,
  Out extends WholeOutputs<O, any, any>,
  E1 = never,
  R1 = never,
  E2 = never,
  R2 = never,
  E3 = never,
  R3 = never,
  E4 = never,
  R4 = never,
  E5 = never,
  R5 = never
>(
  declaration: Declaration<P, I, O, readonly []>,
  functions: FoldFunctions<FoldContext<P["Type"], I>, S, Out, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>
): NodeDefinition<
  P,
  I,
  O,
  E1 | E2 | E3 | E4 | E5 | PartError<Out[keyof Out]>,
  Exclude<R1 | R2 | R3 | R4 | R5 | PartServices<Out[keyof Out]>, Scope.Scope>,
  ReadonlyArray<RefusalClass>
> => define({ ...(declaration as unknown as NodeSpec), kind: "fold", run: functions, sourceLocation: callerLocation() })
