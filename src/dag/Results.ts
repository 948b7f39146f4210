/**
 * What a node's functions return, checked before it is run: the first mistakes of whoever writes JavaScript.
 *
 * Not types (the compiler refuses these in TypeScript) and not schemas of rows (shard formats check those). A wrong
 * result is a `WrongResult`, a defect: the node's code is to be changed, and trying again gives the same.
 */
import { Effect, Schema, Stream } from "effect"
import type { Artifact, Outputs } from "./Artifact.ts"
import type { AnyFold } from "./Fold.ts"
import { didYouMean } from "./Nearest.ts"
import { kindOf } from "./Parameters.ts"

/** A node's function returned what it may not. */
export class WrongResult extends Schema.TaggedError<WrongResult>()("WrongResult", {
  node: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

const toEffect = (value: unknown): string =>
  kindOf(value) === "a Promise"
    ? "Wrap it: `Effect.promise(() => ...)`, or `Effect.tryPromise` where it may fail."
    : value === undefined
      ? "Return an Effect; `Effect.succeed(...)` makes one of a value."
      : "`Effect.succeed(...)` makes one of a value, `Effect.sync(() => ...)` of code that computes it."

const wrong = (node: string, message: string, hint: string) => new WrongResult({ node, message, hint })

/** Calls a function of a node that must return an Effect. What it throws is a defect, as in an effect. */
export const callEffect = <A, E, R>(
  node: string,
  what: string,
  call: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const built: unknown = call()
    if (Effect.isEffect(built)) return built as Effect.Effect<A, E, R>
    // Its rejection is the node's: it must not end the process a second time.
    if (built instanceof Promise) built.catch(() => undefined)
    return Effect.die(wrong(node, `${what} must give an Effect, got ${kindOf(built)}`, toEffect(built)))
  })

/** Rows come in arrays; a stream of single rows is a mistake that looks right. */
const checkedBatches = (node: string, port: string, stream: Stream.Stream<unknown, unknown, unknown>) =>
  Stream.map(stream, (batch) => {
    if (!Array.isArray(batch))
      throw wrong(
        node,
        `output ${port} must be a stream of arrays of rows, got ${kindOf(batch)} in it`,
        "Put rows into arrays: `Stream.make([row, row])`, or `Stream.grouped(stream, 256)`."
      )
    return batch as ReadonlyArray<unknown>
  })

const checkedPort = (node: string, port: string, artifact: Artifact, built: unknown): unknown => {
  if (artifact.kind === "rows") {
    if (Stream.isStream(built)) return checkedBatches(node, port, built as Stream.Stream<unknown, unknown, unknown>)
    const hint = Array.isArray(built)
      ? "`Stream.make(rows)` makes a stream of one array of rows."
      : Effect.isEffect(built)
        ? "`Stream.fromEffect(...)` makes a stream of an effect that gives an array of rows."
        : "A stream of arrays of rows: `Stream.make([row, row])`."
    throw wrong(node, `output ${port} must be a Stream of arrays of rows, got ${kindOf(built)}`, hint)
  }
  if (artifact.kind === "value") {
    if (Effect.isEffect(built)) return built
    throw wrong(node, `output ${port} must be an Effect that gives the value, got ${kindOf(built)}`, toEffect(built))
  }
  if (typeof built !== "function")
    throw wrong(
      node,
      `output ${port} must be a function that fills a folder, got ${kindOf(built)}`,
      "Write `(folder) => Effect...`: the effect puts its files into that folder."
    )
  return (folder: string) =>
    callEffect(node, `the function of output ${port}`, () => (built as (folder: string) => Effect.Effect<void>)(folder))
}

/** The outputs of a whole node or a fold, one a declared port. Throws `WrongResult`. */
export const checkedParts = (
  node: string,
  outputs: Outputs,
  built: unknown,
  ports: ReadonlyArray<string> = Object.keys(outputs)
): Readonly<Record<string, unknown>> => {
  const names = Object.keys(outputs)
  const hint = `Outputs are: ${names.join(", ")}.`
  if (
    typeof built !== "object" ||
    built === null ||
    Array.isArray(built) ||
    built instanceof Promise ||
    Effect.isEffect(built)
  )
    throw wrong(node, `its function must give its outputs by name, got ${kindOf(built)}`, hint)
  const parts = built as Readonly<Record<string, unknown>>
  for (const name of Object.keys(parts))
    if (!names.includes(name))
      throw wrong(
        node,
        `its function gave an output ${name}, which it does not declare${didYouMean(name, names)}`,
        hint
      )
  return Object.fromEntries(
    ports.map((port) => {
      if (parts[port] === undefined) throw wrong(node, `its function gave no output ${port}`, hint)
      return [port, checkedPort(node, port, outputs[port]!, parts[port])]
    })
  )
}

/** The same as an effect that dies of it. */
export const partsOf = (node: string, outputs: Outputs, built: unknown) =>
  Effect.sync(() => checkedParts(node, outputs, built))

/** A fold's functions, each of which says so when it returns what it may not. */
export const checkedFold = (node: string, functions: AnyFold): AnyFold => ({
  ...functions,
  init: (context) => callEffect(node, "`init`", () => functions.init(context)),
  step: (context, state) => callEffect(node, "`step`", () => functions.step(context, state)),
  finish: (context, state) => callEffect(node, "`finish`", () => functions.finish(context, state)),
  progress: (state) => checkedProgress(node, functions.progress(state)),
  state: {
    decode: (context, files) => callEffect(node, "`state.decode`", () => functions.state.decode(context, files)),
    encode: (state) =>
      Effect.map(
        callEffect(node, "`state.encode`", () => functions.state.encode(state)),
        (files: unknown) => {
          if (files instanceof Map && [...files.values()].every((one) => one instanceof Uint8Array)) return files
          throw wrong(
            node,
            `\`state.encode\` must give a Map of file names to bytes, got ${kindOf(files)}`,
            'Write `new Map([["state.json", new TextEncoder().encode(text)]])`.'
          )
        }
      )
  }
})

/** Where a fold stands. Throws `WrongResult` for what would never end. */
const checkedProgress = <P>(node: string, built: P): P => {
  const { step, total, metrics } = (built ?? {}) as {
    readonly step?: unknown
    readonly total?: unknown
    readonly metrics?: unknown
  }
  if (Number.isFinite(step) && Number.isFinite(total) && typeof metrics === "object" && metrics !== null) return built
  throw wrong(
    node,
    `\`progress\` must give numbers \`step\` and \`total\` and an object \`metrics\`, ` +
      `got step ${String(step)} of ${String(total)}`,
    "For example `{ step: state.step, total: 100, metrics: { loss } }`."
  )
}
