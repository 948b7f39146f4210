/** A pipeline's page lists every node with its kind, inputs, outputs and parameters. */
import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { pipeline, rows, sharded, source, toMarkdown, tree, value, whole } from "../../src/dag/index.ts"
import { cell } from "../../src/dag/Page.ts"

const File = tree("file")
const Words = rows("words", Schema.Struct({ text: Schema.String }))
const Count = value("count", Schema.Number)
const read = whole(
  {
    id: "read",
    version: "3",
    about: "Reads | splits.",
    params: Schema.Struct({ separator: Schema.String }),
    inputs: { file: File },
    outputs: { rows: Words }
  },
  () => Effect.succeed({ rows: Stream.make([{ text: "a" }]) })
)
const keep = sharded(
  { id: "keep", version: "1", params: Schema.Struct({}), inputs: { rows: Words }, outputs: { rows: Words } },
  ({ shard }) => ({ rows: shard.rows })
)
const count = whole(
  { id: "count", version: "1", params: Schema.Struct({}), inputs: { a: Words, b: Words }, outputs: { n: Count } },
  () => Effect.succeed({ n: Effect.succeed(0) })
)

const made = () => {
  const text = source(File, { id: "text", location: "/somewhere/of/mine", about: "A text." })
  const words = read({ file: text.out.files }, { separator: "`|`" })
  const first = keep.named("first")({ rows: words.out.rows }, {})
  const second = keep.named("second")({ rows: first.out.rows }, {})
  return pipeline("page", { n: count({ a: first.out.rows, b: second.out.rows }, {}).out.n })
}

it("names sources, outputs, definitions, instances, wiring and parameters, and no place of this machine", () => {
  const page = toMarkdown(made())
  for (const line of [
    "flowchart LR",
    "| `text` | file (files) | A text. |",
    "| `n` | count | `count.n` |",
    "### read",
    "Reads | splits.",
    "Kind whole, version 3. Gives `rows`: words (rows).",
    "| input `file` | `text` |",
    '| `separator` | `` "`\\|`" `` |',
    "|  | `first` | `second` |",
    "| input `rows` | `read.rows` | `first.rows` |",
    "| input `b` | `second.rows` |"
  ])
    expect(page.includes(line), line).toBe(true)
  expect(page.match(/^### /gm)?.length).toBe(3)
  expect(page).not.toContain("somewhere")
})

it.prop("a cell stays one cell on one line, whatever the text", [Schema.String], ([text]) => {
  const line = `| ${cell(text)} |`
  expect(line.split(/(?<!\\)\|/).length).toBe(3)
  expect(line).not.toMatch(/[\r\n]/)
})
