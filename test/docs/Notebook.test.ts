/**
 * The notebook runs from its first cell in a fresh kernel, and shows what its committed outputs show.
 *
 * Its checkpoint is an untrained one that is exported here (`fixtures/untrained.ts`); the committed outputs come from
 * the sample's own run. Cells tagged `checkpoint` depend on it, so of those only the form is compared.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import sharp from "sharp"
import { newestExport, openModel } from "../../docs/notebooks/support.ts"
import { startKernel } from "../../scripts/jupyter/Kernel.ts"
import {
  type CodeCell,
  codeCells,
  executeNotebook,
  type Notebook,
  type Output,
  readNotebook,
  textOf
} from "../../scripts/jupyter/Notebook.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { root } from "./Markdown.ts"

const cwd = join(root, "docs", "notebooks")
const committed = await Effect.runPromise(readNotebook(join(cwd, "reuse-nodes.ipynb")))
const cells = codeCells(committed)
const dependsOnCheckpoint = (cell: CodeCell): boolean =>
  Array.isArray(cell.metadata["tags"]) && cell.metadata["tags"].includes("checkpoint")

const store = mkdtempSync(join(tmpdir(), "notebook-store-"))
let fresh: Notebook

beforeAll(async () => {
  const recipe = fileURLToPath(new URL("./fixtures/untrained.ts", import.meta.url))
  execFileSync(process.execPath, [recipe, "--store", store], { stdio: "pipe" })
  const run = Effect.flatMap(startKernel({ cwd, env: { MILLRACE_STORE: store } }), (kernel) =>
    executeNotebook(committed, kernel)
  )
  fresh = await Effect.runPromise(Effect.scoped(run))
}, 240_000)
afterAll(() => rmSync(store, { recursive: true, force: true }))

type Bundle = Readonly<Record<string, string | ReadonlyArray<string>>>
const bundleOf = (output: Output): Bundle => (output["data"] ?? {}) as Bundle
const plainText = (outputs: ReadonlyArray<Output>): string =>
  outputs.map((output) => textOf(bundleOf(output)["text/plain"] ?? "")).join("\n")

/** An output with its pictures as pixels: how they are packed is the encoder's affair. */
const comparable = async (output: Output) => {
  const { "image/png": png, ...data } = bundleOf(output)
  if (typeof png !== "string") return output
  const pixels = await sharp(Buffer.from(png, "base64")).raw().toBuffer({ resolveWithObject: true })
  const { channels, height, width } = pixels.info
  return { ...output, data, picture: { channels, height, width, pixels: pixels.data.toString("base64") } }
}

describe("the notebook", () => {
  it("is a short story: a sentence before each cell of code, all of them run in order", () => {
    expect(committed.metadata["kernelspec"]).toMatchObject({ name: "deno", language: "typescript" })
    expect(cells.length).toBeGreaterThanOrEqual(6)
    expect(cells.length).toBeLessThanOrEqual(10)
    expect(committed.cells.map((cell) => cell.cell_type)).toEqual(cells.flatMap(() => ["markdown", "code"]))
    expect(cells.map((cell) => cell.execution_count)).toEqual(cells.map((_, i) => i + 1))
    expect(new Set(committed.cells.map((cell) => cell.id)).size).toBe(committed.cells.length)
  })

  it("type-checks, all cells together", { timeout: 120_000 }, () => {
    // Two folders below the root, as the notebook is, so that `../../src/` means the same.
    const home = mkdtempSync(join(root, ".notebook-"))
    try {
      const folder = join(home, "cells")
      mkdirSync(folder)
      const code = cells.map((cell) => textOf(cell.source)).join("\n\n")
      writeFileSync(join(home, ".gitignore"), "*\n")
      writeFileSync(join(folder, "cells.ts"), code.replaceAll('"./support.ts"', '"../../docs/notebooks/support.ts"'))
      writeFileSync(
        join(home, "tsconfig.json"),
        JSON.stringify({ extends: "../tsconfig.json", include: ["**/*.ts"], exclude: [] })
      )
      const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
      let said = ""
      try {
        execFileSync(process.execPath, [tsc, "--noEmit", "-p", home], { encoding: "utf8" })
      } catch (error) {
        said = String((error as { readonly stdout?: string }).stdout ?? error)
      }
      expect(said).toBe("")
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })

  it("shows what its committed outputs show (npm run notebook makes them again)", async () => {
    const again = codeCells(fresh)
    let compared = 0
    let pictures = 0
    for (const [i, cell] of cells.entries()) {
      if (dependsOnCheckpoint(cell)) continue
      const now = await Promise.all(again[i]!.outputs.map(comparable))
      expect(now, `cell ${i + 1} (${cell.id})`).toEqual(await Promise.all(cell.outputs.map(comparable)))
      compared += now.length
      pictures += now.filter((output) => "picture" in output).length
    }
    expect(compared).toBeGreaterThanOrEqual(6)
    expect(pictures).toBe(2)
  })

  it("shows kept and refused rows of both nodes, with reasons and hints", () => {
    const shown = codeCells(fresh).map((cell) => plainText(cell.outputs))
    const refused = shown.filter((text) => text.startsWith("| row | reason | hint |"))
    expect(refused.length).toBe(2)
    for (const text of refused) {
      const rows = text.split("\n").slice(2)
      expect(rows.length).toBeGreaterThan(0)
      for (const row of rows) expect(row).toMatch(/^\| \d+ \| \w+: [\w-]+ \| .{10,} \|$/)
    }
    expect(refused[0]).toContain("Dropped: ")
    expect(shown.find((text) => text.includes("pictures of"))).toMatch(/^\d pictures of \d+ x \d+$/)
  })

  it("asks whatever checkpoint the store has, and gets text for an answer", () => {
    for (const notebook of [committed, fresh]) {
      const [size, answers] = codeCells(notebook).filter(dependsOnCheckpoint)
      expect(plainText(size!.outputs)).toMatch(/\| [\d,]+ \| 9 \| \d+ layers of \d+ \| \d+ layers of \d+ \| 1,526 \|$/)
      const [header, , ...rows] = plainText(answers!.outputs).split("\n")
      expect(header).toBe("| question | answer | truth |")
      expect(rows.length).toBe(4)
      for (const row of rows) expect(row).toMatch(/^\| [^|]+\? \| \S.* \| \w[\w ]+\. \|$/)
    }
    const sizes = [committed, fresh].map((one) => plainText(codeCells(one).filter(dependsOnCheckpoint)[0]!.outputs))
    expect(sizes[0]).not.toBe(sizes[1])
  })
})

describe("support", () => {
  it.effect("a store without an export says how to get one", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "no-store-"))
      try {
        const error = yield* Effect.flip(newestExport(folder))
        expect(error._tag).toBe("StoreError")
        expect(error.hint).toContain("Run the recipe once")
        writeFileSync(join(folder, "format.json"), '{"store":1}')
        expect(yield* Effect.flip(newestExport(folder))).toMatchObject({ _tag: "NoExport", path: folder })
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  )

  it.effect("a picture of another size than the model sees is refused", () =>
    Effect.gen(function* () {
      const model = yield* openModel(yield* newestExport(store))
      const asked = model.ask({ id: "small", pixels_HWC: new Uint8Array(3) }, "What is it?")
      const error = yield* Effect.flip(asked)
      expect(error._tag).toBe("PixelSizeMismatch")
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
