/** Edited code is noticed: run again, or the old result is taken and the store says for which code. */
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import type { Event } from "../../src/run/Events.ts"
import { digestsOf, makeBench } from "./Harness.ts"

const dag = new URL("../../src/dag/index.ts", import.meta.url).href
const run = new URL("../../src/run/Recipe.ts", import.meta.url).href
const effect = import.meta.resolve("effect")

/** A recipe of a sharded node that multiplies by a helper's factor. */
const recipeText = (whenCodeDiffers: "rerun" | "warn") => `
import { Layer } from "${effect}"
import { pipeline } from "${dag}"
import { recipe } from "${run}"
import { times } from "./times.ts"
import { start } from "./start.ts"

export default recipe({
  name: "code",
  presets: { sample: {} },
  build: () => {
    const made = start({}, {})
    const many = times({ rows: made.out.rows }, { plus: 0 })
    return { pipeline: pipeline("code", { rows: many.out.rows }) }
  },
  services: () => Layer.empty,
  engines: ["plain"],
  numerics: (engine) => engine,
  whenCodeDiffers: () => "${whenCodeDiffers}"
})
`
const rowsText = `
import { Schema } from "${effect}"
import { rows } from "${dag}"
export const Numbers = rows("numbers", Schema.Struct({ n: Schema.Number }))
`
const startText = `
import { Effect, Schema, Stream } from "${effect}"
import { whole } from "${dag}"
import { Numbers } from "./rows.ts"
export const start = whole(
  { id: "start", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Numbers } },
  () => Effect.succeed({ rows: Stream.make([{ n: 1 }, { n: 2 }]) })
)
`
const timesText = `
import { Schema, Stream } from "${effect}"
import { sharded } from "${dag}"
import { factor } from "./helper.ts"
import { Numbers } from "./rows.ts"
export const times = sharded(
  {
    id: "times", version: "1", params: Schema.Struct({ plus: Schema.Number }), inputs: { rows: Numbers }, outputs: { rows: Numbers },
    runs: "worker"
  },
  ({ params, shard }) => ({
    rows: Stream.map(shard.rows, (batch) => batch.map(({ n }) => ({ n: n * factor + params.plus })))
  })
)
`
const helperText = (factor: string, comment = "") => `// ${comment}\nexport const factor = ${factor}\n`

const makeProject = (whenCodeDiffers: "rerun" | "warn" = "rerun") => {
  const bench = makeBench()
  const write = (name: string, text: string) => writeFileSync(join(bench.folder, name), text)
  write("recipe.ts", recipeText(whenCodeDiffers))
  write("rows.ts", rowsText)
  write("start.ts", startText)
  write("times.ts", timesText)
  write("helper.ts", helperText("2"))
  write("package.json", '{ "type": "module" }')
  const recipe = `file://${join(bench.folder, "recipe.ts")}`
  return {
    bench,
    write,
    run: async (options = {}) => {
      const { told, stderr } = await bench.start({ recipe, options }).ended
      if (told === undefined) throw new Error(stderr)
      return told
    }
  }
}
const planOf = (events: ReadonlyArray<Event>, node: string) =>
  events.find((event) => event.event === "plan" && event.node === node) as Extract<Event, { event: "plan" }> | undefined

test("an edited helper runs the node again and is named; an edited comment does not", async () => {
  const { run, write } = makeProject()
  expect(await run()).toMatchObject({ status: "completed", nodesRun: 2 })
  write("helper.ts", helperText("2", "a comment"))
  expect(await run()).toMatchObject({ nodesRun: 0, nodesCached: 2 })
  write("helper.ts", helperText("3"))
  const edited = await run()
  expect(edited).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 1 })
  expect(planOf(edited.events, "times")?.because).toEqual(["code of helper.ts changed"])
  expect(planOf(edited.events, "start")?.status).toBe("cached")
  write("helper.ts", helperText("2"))
  expect(await run()).toMatchObject({ nodesRun: 0, nodesCached: 2 })
})

test("--allow-stale-code takes the old result, records for which code, and needs no second time", async () => {
  const { bench, run, write } = makeProject()
  const first = await run()
  write("helper.ts", helperText("Math.max(1, 2)"))
  const other = await run({ allowStaleCode: ["times"] })
  expect(other).toMatchObject({ nodesRun: 0, nodesCached: 2 })
  expect(other.events.find((event) => event.event === "notice")).toMatchObject({
    node: "times",
    message: "code of helper.ts changed; the stored result is taken"
  })
  expect(digestsOf(other)).toEqual(digestsOf(first))
  expect(readdirSync(join(bench.store, "aliases"))).toEqual([first.outputs!["rows"]!.key])
  const plain = await run()
  expect(plain).toMatchObject({ nodesRun: 0, nodesCached: 2 })
  expect(plain.events.filter((event) => event.event === "notice")).toEqual([])
})

for (const [how, when, options] of [
  ["--allow-stale-code", "rerun", { allowStaleCode: ["start", "times"] }],
  ["a preset that says warn", "warn", {}]
] as const)
  test(`${how} never takes what another file's definition of the same id made, and says whose it is`, async () => {
    const { run, write } = makeProject(when)
    await run()
    write("other.ts", startText.replace("n: 2", "n: 20"))
    write("recipe.ts", recipeText(when).replace('"./start.ts"', '"./other.ts"'))
    const moved = await run(options)
    expect(planOf(moved.events, "start")?.because).toEqual([
      "the stored result was made by the definition in start.ts, not by that in other.ts: it is not taken"
    ])
    expect(moved).toMatchObject({ status: "completed", nodesRun: 2, nodesCached: 0 })
    write("other.ts", startText.replace("n: 2", "n: 30"))
    // Its own file's older result is taken, as asked for.
    expect(await run(options)).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 2 })
  })

test("--allow-stale-code never takes rows of another Schema: a field more, a type that changed, a field that left", async () => {
  const { run, write } = makeProject()
  const take = { allowStaleCode: ["start", "times"] }
  await run()
  for (const [fields, row] of [
    ["n: Schema.Number, m: Schema.Number", "{ n: 1, m: 2 }"],
    ["n: Schema.Number, m: Schema.String", '{ n: 1, m: "2" }'],
    ["n: Schema.Number, m: Schema.optional(Schema.String)", "{ n: 1 }"],
    ["n: Schema.Int", "{ n: 1 }"]
  ] as const) {
    write("rows.ts", rowsText.replace("n: Schema.Number", fields))
    write("start.ts", startText.replace("{ n: 1 }", row).replace("{ n: 2 }", row))
    write("times.ts", timesText.replace("{ n }) => ({ n: n", `{ n, ...rest }) => ({ ...rest, n: n`))
    const changed = await run(take)
    expect(changed).toMatchObject({ status: "completed", nodesRun: 2, nodesCached: 0 })
    expect(planOf(changed.events, "start")?.because).toEqual([
      "schema of rows changed",
      "a result of another Schema is not taken"
    ])
  }
})

test("--allow-stale-code takes results of the nodes it names, and of no other", async () => {
  const { run, write } = makeProject()
  await run()
  write("helper.ts", helperText("Math.max(1, 2)"))
  write("start.ts", startText.replace("{ n: 2 }", "{ n: Math.max(1, 2) }"))
  const one = await run({ allowStaleCode: ["times"] })
  expect(planOf(one.events, "start")).toMatchObject({ status: "run", because: ["code of start.ts changed"] })
  expect(one).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 1 })
})

test("a preset that says warn takes the old result and says so", async () => {
  const { run, write } = makeProject("warn")
  await run()
  write("helper.ts", helperText("5"))
  const warned = await run()
  expect(warned).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 2 })
  expect(warned.events.some((event) => event.event === "notice" && event.message.includes("is taken"))).toBe(true)
})

for (const [what, file, text] of [
  ["code", "helper.ts", helperText("7")],
  ["a parameter in the recipe", "recipe.ts", recipeText("rerun").replace("plus: 0", "plus: 1")]
] as const)
  test(`${what} edited while the run goes on never enters the store as what was planned`, async () => {
    const { run, write } = makeProject()
    // A thread imports the recipe when it is first needed: `start` edits a file between the plan and that moment.
    write(
      "start.ts",
      startText
        .replace("Effect.succeed(", "Effect.sync(() => (edit(), ")
        .replace("]) })", "]) }))")
        .concat(`
import { existsSync, writeFileSync } from "node:fs"
const edit = () => {
  const mark = new URL("./edited", import.meta.url)
  if (!existsSync(mark)) writeFileSync(new URL(${JSON.stringify(file)}, import.meta.url), ${JSON.stringify(text)})
  writeFileSync(mark, "")
}
`)
    )
    const edited = await run({ workers: 1 })
    expect(edited.error).toMatchObject({ node: "times", message: expect.stringContaining("was edited while the run") })
    const again = await run({ workers: 1 })
    expect(again).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 1 })
  })
