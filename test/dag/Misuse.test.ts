/**
 * Wrong inputs and results of a node are errors with the node, the field, the value received and a hint.
 */
import { expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Result, Schema, Stream } from "effect"
import {
  fold,
  Node,
  pipeline,
  rows,
  sharded,
  source,
  tree,
  value,
  type WiringError,
  whole
} from "../../src/dag/index.ts"
import { decodeName, encodeName } from "../../src/store/Layout.ts"

const Words = rows("words", Schema.Struct({ id: Schema.String }))
const Count = value("count", Schema.Number)
const Files = tree("files")
const any = (given: unknown): any => given
const params = Schema.Struct({
  longest: Schema.Int.check(Schema.isGreaterThan(0)),
  style: Schema.optional(Schema.Literals(["plain", "loud"])),
  nested: Schema.optional(Schema.Struct({ rate: Schema.Number })),
  token: Schema.optional(Schema.Redacted(Schema.String))
})
const count = whole(
  { id: "count", version: "1", params, inputs: { rows: Words }, outputs: { n: Count } },
  ({ inputs }) => Effect.succeed({ n: Effect.succeed(inputs.rows.length) })
)
const words = sharded(
  { id: "words", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words } },
  () => ({ rows: Stream.make([{ id: "a" }]) })
)

const wiring = (build: () => unknown): WiringError => {
  try {
    build()
  } catch (error) {
    if ((error as WiringError)._tag === "WiringError") return error as WiringError
    throw error
  }
  throw new Error("nothing was thrown")
}

const defect = (exit: Exit.Exit<unknown, unknown>): { readonly message: string; readonly hint: string } => {
  if (Exit.isSuccess(exit)) throw new Error("it succeeded")
  return Result.getOrThrow(Cause.findDefect(exit.cause)) as never
}

const wrongParams: ReadonlyArray<readonly [unknown, string]> = [
  [{ longest: "5" }, 'parameter longest: expected number, got "5"'],
  [{ longest: -5 }, "parameter longest: expected a value greater than 0, got -5"],
  [{}, "parameter longest is missing"],
  [{ longst: 5, longest: 5 }, 'there is no parameter longst; did you mean "longest"?'],
  [{ longest: 5, nested: { rat: 1, rate: 1 } }, 'there is no parameter nested.rat; did you mean "rate"?'],
  [{ longest: 5, nested: { rate: null } }, "parameter nested.rate: expected number, got null"],
  [{ longest: 5, style: "shy" }, 'parameter style: expected "plain" | "loud", got "shy"'],
  [[5], "parameters are an object, got an array"],
  ["5", 'parameters are an object, got a string ("5")']
]

it("a wrong parameter is named with what was given and what was expected, when a node is applied", () => {
  for (const [given, message] of wrongParams) {
    const error = wiring(() => count({ rows: words({}, {}).out.rows }, any(given)))
    expect(error).toMatchObject({ node: "count" })
    expect(error.message).toContain(message)
    expect(error.hint).toContain("Parameters are: longest, style, nested, token.")
  }
})

it.effect("and in Node.run, in the same words", () =>
  Effect.gen(function* () {
    for (const [given, message] of wrongParams)
      expect(defect(yield* Effect.exit(Node.run(count, { rows: [] }, any(given)))).message).toContain(message)
  })
)

it("all faults of the parameters are told at once", () => {
  expect(wiring(() => count({ rows: words({}, {}).out.rows }, any({ longest: "x", stile: "loud" }))).message).toBe(
    'there is no parameter stile; did you mean "style"?; parameter longest: expected number, got "x"'
  )
})

it("a redacted parameter that is given in clear is refused without its value", () => {
  const error = wiring(() => count({ rows: words({}, {}).out.rows }, any({ longest: 1, token: "hunter2" })))
  expect(error.message).toBe(
    "parameter token: expected Redacted, got a value that is not shown (wrap it with Redacted.make)"
  )
  expect(JSON.stringify(error)).not.toContain("hunter2")
  const inner = wiring(() => count({ rows: words({}, {}).out.rows }, any({ longest: 1, token: Redacted.make(77123) })))
  expect(inner.message + JSON.stringify(inner)).not.toContain("77123")
})

it("a wrong input is named: missing, unknown, of another artifact, no reference", () => {
  const made = words({}, {})
  const messages = [
    [any({}), "input rows is missing", "Give it rows of words."],
    [any({ row: made.out.rows }), 'there is no input row; did you mean "rows"?', "Inputs are: rows."],
    [any({ rows: made }), "input rows takes a reference to rows of words, got", "`.out.rows`"],
    [any({ rows: [{ id: "a" }] }), "input rows takes a reference to rows of words, got an array", "`.out.NAME`"],
    [
      any({ rows: source(Files, { id: "f", location: "x" }).out.files }),
      "input rows takes words, got files",
      "between"
    ],
    [any(undefined), "inputs are an object by port, got undefined", "Inputs are: rows."]
  ] as const
  for (const [given, message, hint] of messages) {
    const error = wiring(() => count(given, { longest: 1 }))
    expect(error.message).toContain(message)
    expect(error.hint).toContain(hint)
  }
})

it.effect("Node.run says which input, and which row of it, does not fit", () =>
  Effect.gen(function* () {
    const told = (inputs: unknown) =>
      Effect.map(Effect.exit(Node.run(count, any(inputs), { longest: 1 })), (exit) => defect(exit).message)
    expect(yield* told({})).toBe("input rows is missing")
    expect(yield* told({ rows: "words.json" })).toBe('input rows takes rows of words, got a string ("words.json")')
    expect(yield* told({ rows: [{ id: "a" }, { id: 3 }] })).toBe("input rows, row 1: id: Expected string, got 3")
    expect(yield* told({ rows: [], more: [] })).toContain("there is no input more")
  })
)

it("a name that no file can have is refused before anything runs", () => {
  const bad = ["", "a//b", "x".repeat(300), "é".repeat(60), "a\u0000b", "\ud800"]
  for (const id of bad) {
    expect(wiring(() => count.named(id)({ rows: words({}, {}).out.rows }, { longest: 1 })).hint).toContain("200")
    expect(wiring(() => source(Files, { id, location: "x" })).hint).toContain("200")
    expect(wiring(() => pipeline(id, {})).hint).toContain("200")
    const odd = whole(
      { id: "odd", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { [id]: Count } },
      () => Effect.succeed(any({}))
    )
    expect(wiring(() => odd({}, {})).hint).toContain("200")
  }
})

it.prop("every name is either refused or has a short path that gives it back", [Schema.String], ([id]) => {
  let made: string
  try {
    made = count.named(id)({ rows: words({}, {}).out.rows }, { longest: 1 }).id
  } catch (error) {
    expect((error as WiringError)._tag).toBe("WiringError")
    return
  }
  const name = encodeName(made)
  expect(decodeName(name)).toBe(id)
  expect(Buffer.byteLength(`${name}.json`)).toBeLessThan(240)
  expect(name).not.toMatch(/^$|^\.|\//)
})

/** Node.run on what its types refuse. */
const runAny = Node.run as unknown as (
  definition: unknown,
  inputs: unknown,
  params: unknown,
  options?: unknown
) => Effect.Effect<unknown, unknown>

const returning = (made: unknown) =>
  whole({ id: "n", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { v: Count } }, () => any(made))

it.effect("a whole node's wrong result is a WrongResult that says what was got", () =>
  Effect.gen(function* () {
    const ok = Effect.succeed(1)
    const cases: ReadonlyArray<readonly [unknown, string, string]> = [
      [Promise.resolve({ v: 1 }), "its function must give an Effect, got a Promise", "`Effect.promise(() => ...)`"],
      [Promise.reject(new Error("late")), "its function must give an Effect, got a Promise", "`Effect.tryPromise`"],
      [{ v: ok }, "its function must give an Effect, got a plain object", "`Effect.succeed(...)`"],
      [undefined, "its function must give an Effect, got undefined", "Return an Effect"],
      [7, "its function must give an Effect, got a number (7)", "`Effect.succeed(...)`"],
      [Effect.succeed({ v: 1 }), "output v must be an Effect that gives the value, got a number (1)", "Effect.succeed"],
      [
        Effect.succeed({ v: Promise.resolve(1) }),
        "output v must be an Effect that gives the value, got a Promise",
        "Effect.promise"
      ],
      [Effect.succeed({}), "its function gave no output v", "Outputs are: v."],
      [Effect.succeed({ v: ok, w: ok }), "its function gave an output w, which it does not declare", "Outputs are: v."],
      [Effect.succeed(undefined), "its function must give its outputs by name, got undefined", "Outputs are: v."],
      [Effect.succeed(1), "its function must give its outputs by name, got a number (1)", "Outputs are: v."]
    ]
    for (const [made, message, hint] of cases) {
      const error = defect(yield* Effect.exit(runAny(returning(made), {}, {})))
      expect(error).toMatchObject({ _tag: "WrongResult", node: "n" })
      expect(error.message).toContain(message)
      expect(error.hint).toContain(hint)
    }
  })
)

it.effect("rows must be streams of arrays, files a function that gives an Effect", () =>
  Effect.gen(function* () {
    const stream = (made: unknown) =>
      sharded({ id: "s", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words } }, () =>
        any(made)
      )
    const told = (node: any) =>
      Effect.map(Effect.exit(runAny(node, {}, {}, { into: "/dev/null" })), (exit) => defect(exit).message)
    expect(yield* told(stream({ rows: [{ id: "a" }] }))).toContain(
      "output rows must be a Stream of arrays of rows, got an array"
    )
    expect(yield* told(stream({ rows: Stream.make({ id: "a" }) }))).toContain("got a plain object in it")
    expect(yield* told(stream(Stream.make({ row: [] })))).toContain(
      "its stream must give arrays of rows for every output"
    )
    expect(yield* told(stream(Promise.resolve({})))).toContain("its outputs by name, got a Promise")
    const files = whole({ id: "f", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { out: Files } }, () =>
      Effect.succeed(any({ out: Effect.void }))
    )
    expect(yield* told(files)).toContain("output out must be a function that fills a folder")
  })
)

it.effect("a fold's wrong results name the function", () =>
  Effect.gen(function* () {
    const good = {
      init: () => Effect.succeed(0),
      step: (_: unknown, n: number) => Effect.succeed(n + 1),
      progress: (step: number) => ({ step, total: 2, metrics: {} }),
      finish: () => Effect.succeed({ v: Effect.succeed(2) }),
      state: { encode: () => Effect.succeed(new Map()), decode: () => Effect.succeed(0) }
    }
    const told = (change: object) =>
      Effect.map(
        Effect.exit(
          runAny(
            fold(
              { id: "f", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { v: Count } },
              any({ ...good, ...change })
            ),
            {},
            {}
          )
        ),
        (exit) => defect(exit).message
      )
    expect(yield* told({ init: async () => 0 })).toBe("`init` must give an Effect, got a Promise")
    expect(yield* told({ step: (_: unknown, n: number) => n + 1 })).toBe("`step` must give an Effect, got a number (1)")
    expect(yield* told({ progress: () => ({ step: 0, total: Number.NaN, metrics: {} }) })).toContain("step 0 of NaN")
    expect(yield* told({ finish: () => Effect.succeed({ v: 2 }) })).toContain("output v must be an Effect")
    const exit = yield* Effect.exit(
      runAny(
        fold({ id: "f", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { v: Count } }, any(good)),
        {},
        {}
      )
    )
    expect(Exit.isSuccess(exit)).toBe(true)
  })
)

it("a declaration without its function, or with an output that holds a secret, is refused", () => {
  expect(
    wiring(() => (whole as any)({ id: "n", version: "1", params: Schema.Struct({}), inputs: {}, outputs: {} })({}, {}))
      .message
  ).toContain("its second argument must be its function, got undefined")
  const leak = whole(
    {
      id: "n",
      version: "1",
      params: Schema.Struct({}),
      inputs: {},
      outputs: { v: value("v", Schema.Struct({ token: Schema.Redacted(Schema.String) })) }
    },
    () => any(undefined)
  )
  expect(wiring(() => leak({}, {})).message).toBe("output v would store a Redacted value")
})
