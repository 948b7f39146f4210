/**
 * A notebook file (nbformat 4.5): reading it, running its cells in a kernel, writing it as Jupyter does.
 *
 * Not an editor: cells stay as they are, only outputs and counts change. No times are kept, so that equal outputs give
 * an equal file.
 */
import { readFile, writeFile } from "node:fs/promises"
import { stripVTControlCharacters } from "node:util"
import { Effect, Schema } from "effect"
import type { Executed, Kernel } from "./Kernel.ts"
import type { KernelError } from "./Process.ts"

/** Text as the format has it: one string, or its lines with their ends. */
const Text = Schema.Union([Schema.String, Schema.Array(Schema.String)])
const JsonObject = Schema.Record(Schema.String, Schema.Json)

/** What a cell showed: `stream`, `display_data`, `execute_result` or `error`. */
export const Output = Schema.StructWithRest(Schema.Struct({ output_type: Schema.String }), [JsonObject])
export type Output = typeof Output.Type

const common = { id: Schema.String, metadata: JsonObject, source: Text }
export const CodeCell = Schema.Struct({
  cell_type: Schema.Literal("code"),
  ...common,
  execution_count: Schema.NullOr(Schema.Number),
  outputs: Schema.Array(Output)
})
export type CodeCell = typeof CodeCell.Type
const TextCell = Schema.Struct({ cell_type: Schema.Literals(["markdown", "raw"]), ...common })

export const Notebook = Schema.Struct({
  cells: Schema.Array(Schema.Union([CodeCell, TextCell])),
  metadata: JsonObject,
  nbformat: Schema.Literal(4),
  nbformat_minor: Schema.Literal(5)
})
export type Notebook = typeof Notebook.Type

/** The file is no notebook of this format, or cannot be read or written. */
export class BadNotebook extends Schema.TaggedError<BadNotebook>()("BadNotebook", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A cell threw. */
export class CellFailed extends Schema.TaggedError<CellFailed>()("CellFailed", {
  /** Number of the cell among the code cells, from 1. */
  cell: Schema.Number,
  code: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

export const textOf = (text: typeof Text.Type): string => (typeof text === "string" ? text : text.join(""))
const linesOf = (text: string): ReadonlyArray<string> => text.match(/[^\n]*\n|[^\n]+$/g) ?? []

export const codeCells = (notebook: Notebook): ReadonlyArray<CodeCell> =>
  notebook.cells.filter((cell) => cell.cell_type === "code")

const wrong = (path: string) => (cause: unknown) =>
  new BadNotebook({
    path,
    message: `${path}: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "Notebooks are JSON in nbformat 4.5, as Jupyter saves them.",
    cause
  })

/** Reads a notebook. Fails with `BadNotebook`. */
export const readNotebook = (path: string): Effect.Effect<Notebook, BadNotebook> =>
  Effect.tryPromise({ try: () => readFile(path, "utf8"), catch: wrong(path) }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Notebook))),
    Effect.mapError((cause) => (cause instanceof BadNotebook ? cause : wrong(path)(cause)))
  )

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([name, field]) => [name, sorted(field)])
        )
      : value

/** The file's text: sorted names and an indent of one, as Jupyter saves. */
export const notebookText = (notebook: Notebook): string => `${JSON.stringify(sorted(notebook), undefined, 1)}\n`

export const writeNotebook = (path: string, notebook: Notebook): Effect.Effect<void, BadNotebook> =>
  Effect.tryPromise({ try: () => writeFile(path, notebookText(notebook)), catch: wrong(path) })

/** A bundle as it is saved: text as lines; images (base64) and JSON as they are. */
const savedBundle = (data: Schema.Json | undefined): Schema.Json =>
  Object.fromEntries(
    Object.entries((data ?? {}) as Readonly<Record<string, Schema.Json>>).map(([type, content]) => [
      type,
      typeof content === "string" && type.startsWith("text/") ? linesOf(content) : content
    ])
  )

/** A cell's outputs as they are saved. Neighbouring pieces of one stream are one output. */
export const outputsOf = (shown: Executed["shown"]): ReadonlyArray<Output> => {
  const outputs: Array<Output> = []
  let stream: { readonly name: Schema.Json; text: string } | undefined
  const endStream = () => {
    if (stream !== undefined) outputs.push({ output_type: "stream", name: stream.name, text: linesOf(stream.text) })
    stream = undefined
  }
  for (const { content, type } of shown) {
    if (type === "stream") {
      if (stream?.name !== content["name"]) endStream()
      stream ??= { name: content["name"] ?? "stdout", text: "" }
      stream.text += String(content["text"] ?? "")
      continue
    }
    endStream()
    if (type === "display_data" || type === "execute_result")
      outputs.push({
        output_type: type,
        data: savedBundle(content["data"]),
        metadata: content["metadata"] ?? {},
        ...(type === "execute_result" ? { execution_count: content["execution_count"] ?? null } : {})
      })
  }
  endStream()
  return outputs
}

/** Runs all code cells in order. The first that throws ends it with `CellFailed`. */
export const executeNotebook = Effect.fnUntraced(function* (
  notebook: Notebook,
  kernel: Kernel
): Effect.fn.Return<Notebook, CellFailed | KernelError> {
  let number = 0
  const cells = yield* Effect.forEach(
    notebook.cells,
    Effect.fnUntraced(function* (cell) {
      if (cell.cell_type !== "code") return cell
      number++
      const code = textOf(cell.source)
      const { reply, shown } = yield* kernel.execute(code)
      const { evalue, ename, execution_count, status, traceback } = reply.content
      if (status !== "ok")
        return yield* new CellFailed({
          cell: number,
          code,
          message: stripVTControlCharacters(
            `cell ${number}: ${ename}: ${evalue}\n${Array.isArray(traceback) ? traceback.join("\n") : ""}`
          ),
          hint: "Open the notebook, or put the cells into a file and run it with `npx deno run -A`."
        })
      return { ...cell, execution_count: Number(execution_count), outputs: outputsOf(shown) }
    })
  )
  const language = kernel.info["language_info"]
  return {
    ...notebook,
    cells,
    metadata: { ...notebook.metadata, ...(language === undefined ? {} : { language_info: language }) }
  }
})
