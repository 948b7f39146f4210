import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { digestOf } from "../../src/dag/Canonical.ts"
import { toJson, toMermaid, toTable } from "../../src/dag/Describe.ts"
import { pipeline, rows, sharded, source, tree, whole } from "../../src/dag/index.ts"
import { keyOf, keyParts, settingsOf } from "../../src/dag/Key.ts"
import type { AnyNode } from "../../src/dag/Node.ts"
import { type Before, type CodeIdentity, type PlanContext, type PlanEntry, plan } from "../../src/dag/Plan.ts"

const Words = rows("words", Schema.Struct({ text: Schema.String }))
const File = tree("file")
const read = whole(
  {
    id: "read",
    version: "1",
    params: Schema.Struct({ limit: Schema.optional(Schema.Int) }),
    inputs: { file: File },
    outputs: { rows: Words }
  },
  () => Effect.succeed({ rows: Stream.make([{ text: "a" }]) })
)
const shout = sharded(
  {
    id: "shout",
    version: "1",
    params: Schema.Struct({ times: Schema.Int }),
    inputs: { rows: Words },
    outputs: { rows: Words }
  },
  ({ shard }) => ({ rows: shard.rows })
)
const graph = (times: number, limit?: number) => {
  const file = source(File, { id: "words.txt", location: "words.txt" })
  const first = read({ file: file.out.files }, limit === undefined ? {} : { limit })
  const loud = shout({ rows: first.out.rows }, { times })
  return pipeline("words", { loud: shout.named("louder")({ rows: loud.out.rows }, { times: 9 }).out.rows })
}

/** A store in memory: running a node gives output digests that are a function of what `result` says. */
const world = (
  options: {
    file?: string
    code?: (node: AnyNode) => CodeIdentity
    result?: (node: AnyNode, key: string) => string
  } = {}
) => {
  const entries = new Map<string, PlanEntry & { key: string }>()
  const befores = new Map<string, Before>()
  const asked: Array<string> = []
  const code = options.code ?? (() => ({ digest: "c1", files: [{ path: "src/words.ts", sha256: "1" }], packages: {} }))
  const context = (more: Partial<PlanContext<PlanEntry>> = {}): PlanContext<PlanEntry> => ({
    numerics: "none",
    forced: new Set(),
    allowsStaleCode: () => false,
    source: () => Effect.succeed({ digest: options.file ?? "f1", bytes: 3 }),
    code: (node) => Effect.succeed(code(node)),
    entries: (key, now) =>
      Effect.sync(() => {
        asked.push(key)
        const entry = entries.get(key)
        return entry === undefined ? [] : [{ ...entry, accepted: entry.code === now }]
      }),
    before: (node) => Effect.sync(() => befores.get(node.id)),
    storedWith: () => Effect.succeed(false),
    ...more
  })
  const run = (nodes: ReadonlyArray<AnyNode>) => {
    const digests = new Map<AnyNode, Record<string, string>>()
    for (const node of nodes) {
      if (node.spec.kind === "source") {
        digests.set(node, { files: options.file ?? "f1" })
        continue
      }
      const inputs = Object.fromEntries(
        Object.entries(node.inputs).map(([port, ref]) => [port, digests.get(ref.node)![ref.port]!])
      )
      const parts = keyParts(node, inputs, "none")
      const key = keyOf(parts)
      const out = { rows: options.result?.(node, key) ?? digestOf(key) }
      entries.set(key, { key, code: code(node).digest, accepted: true, digests: out, rows: 1, bytes: 10 })
      befores.set(node.id, { parts, code: code(node), key, rows: 1, bytes: 10 })
      digests.set(node, out)
    }
  }
  return { context, run, asked, entries, befores }
}
const lines = (made: { steps: ReadonlyArray<{ node: AnyNode; status: string; because: ReadonlyArray<string> }> }) =>
  made.steps.map(
    (step) => `${step.node.id}: ${step.status}${step.because.length === 0 ? "" : ` (${step.because.join("; ")})`}`
  )

it.effect("an empty store runs everything, a full one nothing", () =>
  Effect.gen(function* () {
    const w = world()
    const p = graph(2)
    expect(lines(yield* plan(p, w.context()))).toEqual([
      "words.txt: source",
      "read: run (not in the store)",
      "shout: run (not in the store)",
      "louder: run (not in the store)"
    ])
    w.run(p.nodes)
    expect(lines(yield* plan(graph(2), w.context()))).toEqual([
      "words.txt: source",
      "read: cached",
      "shout: cached",
      "louder: cached"
    ])
  })
)

it.effect("a changed parameter says so, and what follows may run, if its input changes", () =>
  Effect.gen(function* () {
    const w = world()
    w.run(graph(2).nodes)
    expect(lines(yield* plan(graph(3), w.context()))).toEqual([
      "words.txt: source",
      "read: cached",
      "shout: run (parameter times 2 to 3)",
      "louder: maybe (if shout changes)"
    ])
    expect(lines(yield* plan(graph(2, 5), w.context()))[1]).toBe("read: run (parameter limit (unset) to 5)")
  })
)

it.effect("changed code names the file; --allow-stale-code or `warn` takes the stored result and says so", () =>
  Effect.gen(function* () {
    const w = world()
    w.run(graph(2).nodes)
    const edited = w.context({
      code: (node) =>
        Effect.succeed({
          digest: node.id === "shout" ? "c2" : "c1",
          files: [{ path: "src/words.ts", sha256: node.id === "shout" ? "2" : "1" }],
          packages: {}
        })
    })
    expect(lines(yield* plan(graph(2), edited)).slice(2)).toEqual([
      "shout: run (code of src/words.ts changed)",
      "louder: maybe (if shout changes)"
    ])
    expect(lines(yield* plan(graph(2), { ...edited, allowsStaleCode: () => true })).slice(2)).toEqual([
      "shout: cached (code of src/words.ts changed; the stored result is taken)",
      "louder: cached"
    ])
  })
)

it.effect("a changed source, a forced node", () =>
  Effect.gen(function* () {
    const w = world()
    w.run(graph(2).nodes)
    const moved = w.context({ source: () => Effect.succeed({ digest: "f2", bytes: 4 }) })
    expect(lines(yield* plan(graph(2), moved))[1]).toBe("read: run (input file (words.txt) changed)")
    expect(lines(yield* plan(graph(2), w.context({ forced: new Set(["shout"]) }))).slice(2)).toEqual([
      "shout: run (forced)",
      "louder: cached"
    ])
  })
)

it.effect("renaming an instance is a hit", () =>
  Effect.gen(function* () {
    const w = world()
    const file = source(File, { id: "a", location: "a" })
    w.run(pipeline("p", { out: read({ file: file.out.files }, {}).out.rows }).nodes)
    const renamed = pipeline("p", { out: read.named("elsewhere")({ file: file.out.files }, {}).out.rows })
    expect(lines(yield* plan(renamed, w.context()))[1]).toBe("elsewhere: cached")
  })
)

it.effect("ten thousand nodes: one verdict a node, nothing looked up twice", () =>
  Effect.gen(function* () {
    let rowsRef = read({ file: source(File, { id: "f", location: "f" }).out.files }, {}).out.rows
    for (let i = 0; i < 9_998; i++) rowsRef = shout.named(`n${i}`)({ rows: rowsRef }, { times: i }).out.rows
    const p = pipeline("long", { end: rowsRef })
    expect(p.nodes.length).toBe(10_000)
    const w = world()
    w.run(p.nodes)
    const made = yield* plan(p, w.context())
    expect(made.steps.filter((step) => step.status === "cached").length).toBe(9_999)
    expect(w.asked.length).toBe(9_999)
  })
)

it.effect("what never ran under its name and waits for an input may take an equal result of another", () =>
  Effect.gen(function* () {
    const file = source(File, { id: "words.txt", location: "words.txt" })
    const first = read({ file: file.out.files }, {})
    const [loud, again] = ["loud", "again"].map((name) => shout.named(name)({ rows: first.out.rows }, { times: 2 }))
    const p = pipeline("twice", { loud: loud!.out.rows, again: again!.out.rows })
    const w = world()
    const verdicts = Effect.fnUntraced(function* (more: Partial<PlanContext<PlanEntry>>) {
      return (yield* plan(p, w.context(more))).steps.slice(2).map(({ because, status }) => [status, because.join("; ")])
    })
    expect(yield* verdicts({})).toEqual([
      ["run", "not in the store"],
      ["maybe", "is the same as loud, whose result it takes"]
    ])
    expect(yield* verdicts({ forced: new Set(["again"]) })).toEqual([
      ["run", "not in the store"],
      ["run", "forced"]
    ])
    const settings = settingsOf(keyParts(loud!, { rows: "of another run" }, "none"))
    expect((yield* verdicts({ storedWith: (one) => Effect.succeed(one === settings) }))[0]).toEqual([
      "maybe",
      "unless a stored result of shout was made from the same input"
    ])
  })
)

it("a pipeline prints as a table, as Mermaid and as JSON", () => {
  const p = graph(2)
  expect(
    toTable(p)
      .split("\n")
      .map((line) => line.trimEnd())
  ).toEqual(
    [
      "node       kind     takes          gives",
      "words.txt  source   -              file (files)",
      "read       whole    words.txt.files  words (rows)".replace(/ {2}words \(rows\)/, "  words (rows)"),
      "shout      sharded  read.rows      words (rows)",
      "louder     sharded  shout.rows     words (rows)"
    ].map((line) => expect.stringMatching(new RegExp(`^${line.replace(/[.()]/g, "\\$&").replace(/ +/g, " +")}$`)))
  )
  expect(toMermaid(p)).toContain('n1["read"]')
  expect(toMermaid(p)).toContain("n1 -->|words| n2")
  expect(toJson(p)).toMatchObject({
    name: "words",
    targets: { loud: "louder.rows" },
    nodes: [{ id: "words.txt" }, { id: "read" }, { params: { times: 2 } }, {}]
  })
})

it.effect.prop(
  "whatever is stored and whatever is accepted, a result that another file's definition made is never taken",
  {
    made: Schema.Array(
      Schema.Struct({ file: Schema.Literals(["a.ts", "b.ts", "c.ts"]), code: Schema.Literals(["c1", "c2", "c3"]) })
    ).check(Schema.isMaxLength(4)),
    own: Schema.Literals(["a.ts", "b.ts"]),
    takes: Schema.Boolean
  },
  ({ made, own, takes }) =>
    Effect.gen(function* () {
      const w = world()
      const p = graph(2)
      w.run(p.nodes)
      const context = w.context({
        allowsStaleCode: () => takes,
        code: () => Effect.succeed({ digest: "now", file: own, files: [], packages: {} }),
        entries: (key) => Effect.sync(() => made.map((one) => ({ ...w.entries.get(key)!, ...one, accepted: false })))
      })
      const read = (yield* plan(p, context)).steps[1]!
      const taken = read.decision?.entry
      expect(taken === undefined ? undefined : taken.file).toBe(
        takes && made.some(({ file }) => file === own) ? own : undefined
      )
      if (takes && taken === undefined && made.length > 0)
        expect(read.because.join()).toContain(`not by that in ${own}`)
    })
)
