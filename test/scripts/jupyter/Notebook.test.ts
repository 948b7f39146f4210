/** Notebooks are read, run and saved as Jupyter has them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Kernel } from "../../../scripts/jupyter/Kernel.ts"
import type { Message } from "../../../scripts/jupyter/Message.ts"
import {
  executeNotebook,
  type Notebook,
  notebookText,
  outputsOf,
  readNotebook,
  writeNotebook
} from "../../../scripts/jupyter/Notebook.ts"

const message = (type: string, content: Message["content"]): Message => ({ id: "1", type, parent: "0", content })
const printed = (text: string, name = "stdout") => message("stream", { name, text })

const code = (id: string, source: string | ReadonlyArray<string>) =>
  ({ cell_type: "code", id, metadata: {}, source, execution_count: 7, outputs: [{ output_type: "stream" }] }) as const
const notebook = (...cells: Notebook["cells"]): Notebook => ({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 })

/** A kernel that answers with the code itself, and throws where it says so. */
const echo: Kernel = {
  info: { language_info: { name: "typescript" } },
  execute: (source) => {
    const failed = source.startsWith("throw")
    const reply = failed
      ? { status: "error", ename: "Error", evalue: "no", traceback: ["\u001b[31mError: no\u001b[39m"] }
      : { status: "ok", execution_count: 1 }
    return Effect.succeed({ shown: [printed(source)], reply: message("execute_reply", reply) })
  }
}

const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "notebook-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("outputs", () => {
  it("keep their order; neighbouring pieces of one stream are one output", () => {
    const shown = [
      printed("a\nb"),
      printed("c\n"),
      printed("wrong\n", "stderr"),
      message("display_data", { data: { "text/html": "<b>\n</b>", "image/png": "AAAA" }, metadata: {} }),
      printed("d"),
      message("execute_result", { data: { "text/plain": "1" }, metadata: {}, execution_count: 3 })
    ]
    expect(outputsOf(shown)).toEqual([
      { output_type: "stream", name: "stdout", text: ["a\n", "bc\n"] },
      { output_type: "stream", name: "stderr", text: ["wrong\n"] },
      { output_type: "display_data", data: { "text/html": ["<b>\n", "</b>"], "image/png": "AAAA" }, metadata: {} },
      { output_type: "stream", name: "stdout", text: ["d"] },
      { output_type: "execute_result", data: { "text/plain": ["1"] }, metadata: {}, execution_count: 3 }
    ])
  })
})

describe("executeNotebook", () => {
  it.effect("replaces the outputs of code cells and nothing else", () =>
    Effect.gen(function* () {
      const text = { cell_type: "markdown", id: "m", metadata: {}, source: "# A" } as const
      const ran = yield* executeNotebook(notebook(text, code("a", ["1\n", "2"])), echo)
      expect(ran.cells[0]).toEqual(text)
      expect(ran.cells[1]).toEqual({
        ...code("a", ["1\n", "2"]),
        execution_count: 1,
        outputs: [{ output_type: "stream", name: "stdout", text: ["1\n", "2"] }]
      })
      expect(ran.metadata).toEqual({ language_info: { name: "typescript" } })
    })
  )

  it.effect("stops at the first cell that throws, and says which", () =>
    Effect.gen(function* () {
      const ran = executeNotebook(notebook(code("a", "1"), code("b", "throw x"), code("c", "3")), echo)
      const error = yield* Effect.flip(ran)
      expect(error).toMatchObject({ _tag: "CellFailed", cell: 2, code: "throw x" })
      expect(error.message).toBe("cell 2: Error: no\nError: no")
    })
  )
})

describe("the file", () => {
  it.effect("comes back as it was written, with sorted names", () =>
    Effect.gen(function* () {
      const path = join(yield* scratch, "a.ipynb")
      const saved = notebook(code("a", ["1"]), { cell_type: "raw", id: "r", metadata: { b: 1, a: [2] }, source: "" })
      yield* writeNotebook(path, saved)
      const read = yield* readNotebook(path)
      expect(read).toEqual(saved)
      expect(notebookText(read)).toBe(notebookText(saved))
      expect(notebookText(read)).toContain('    "a": [\n     2\n    ],\n    "b": 1\n')
    }).pipe(Effect.scoped)
  )

  it.effect("is refused with its path when it is missing, no JSON or of another format", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const path = join(folder, "a.ipynb")
      for (const text of [undefined, "{", JSON.stringify({ ...notebook(), nbformat: 3 })]) {
        if (text !== undefined) writeFileSync(path, text)
        expect(yield* Effect.flip(readNotebook(path))).toMatchObject({ _tag: "BadNotebook", path })
      }
      expect((yield* Effect.flip(writeNotebook(folder, notebook())))._tag).toBe("BadNotebook")
    }).pipe(Effect.scoped)
  )
})
