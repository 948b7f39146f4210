/**
 * `--only`, `--from`, `--until` and `--force` choose the nodes of a run; a wrong name is an error that lists the right
 * ones.
 */
import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { pipeline, rows, sharded, whole } from "../../src/dag/index.ts"
import { select } from "../../src/run/Selection.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const list = whole({ id: "list", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words } }, () =>
  Effect.succeed({ rows: Stream.make([{ text: "mill" }]) })
)
const copy = sharded(
  { id: "copy", version: "1", params: Schema.Struct({}), inputs: { rows: Words }, outputs: { rows: Words } },
  ({ shard }) => ({ rows: shard.rows })
)

// list -> a -> b -> c, and list -> side
const first = list({}, {})
const a = copy.named("a")({ rows: first.out.rows }, {})
const b = copy.named("b")({ rows: a.out.rows }, {})
const c = copy.named("c")({ rows: b.out.rows }, {})
const side = copy.named("side")({ rows: first.out.rows }, {})
const graph = pipeline("graph", { c: c.out.rows, side: side.out.rows })

type Flags = Readonly<Record<"only" | "from" | "until" | "force", ReadonlyArray<string>>>
const none: Flags = { only: [], from: [], until: [], force: [] }
const chosen = (options: Partial<Flags>) =>
  Effect.map(select(graph, { ...none, ...options }), ({ forced, mayRun, nodes }) => ({
    nodes: nodes.map(({ id }) => id),
    mayRun: nodes.filter((node) => mayRun.has(node)).map(({ id }) => id),
    forced: [...forced]
  }))

it.effect("without a flag every node may run", () =>
  Effect.gen(function* () {
    const all = ["list", "a", "b", "c", "side"]
    expect(yield* chosen({})).toEqual({ nodes: all, mayRun: all, forced: [] })
  })
)

it.effect("--until runs a node and what it needs, --from a node and what follows, --only a node alone", () =>
  Effect.gen(function* () {
    expect(yield* chosen({ until: ["b"] })).toMatchObject({ nodes: ["list", "a", "b"], mayRun: ["list", "a", "b"] })
    expect(yield* chosen({ from: ["b"] })).toMatchObject({ nodes: ["list", "a", "b", "c"], mayRun: ["b", "c"] })
    expect(yield* chosen({ only: ["b"] })).toMatchObject({ nodes: ["list", "a", "b"], mayRun: ["b"] })
  })
)

it.effect("--from and --until together run what lies between", () =>
  Effect.gen(function* () {
    expect(yield* chosen({ from: ["a"], until: ["b"] })).toMatchObject({
      nodes: ["list", "a", "b"],
      mayRun: ["a", "b"]
    })
  })
)

it.effect("--force chooses nothing: it names nodes that run whatever is stored", () =>
  Effect.gen(function* () {
    const { forced, nodes } = yield* chosen({ force: ["a"] })
    expect(forced).toEqual(["a"])
    expect(nodes).toHaveLength(5)
  })
)

for (const flag of ["only", "from", "until", "force"] as const)
  it.effect(`--${flag} with a name that no node has fails with the names of all nodes`, () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(select(graph, { ...none, [flag]: ["d"] }))
      expect(error).toMatchObject({ _tag: "SelectionError", node: "d", hint: "Nodes: list, a, b, c, side" })
    })
  )
