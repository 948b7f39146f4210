/**
 * Runs a notebook from its first cell in a fresh kernel and saves its outputs.
 *
 *     npm run notebook [-- PATH]
 *
 * Without a path: `docs/notebooks/reuse-nodes.ipynb`. The file is written only when every cell ran.
 */
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Cause, Effect, Exit } from "effect"
import { startKernel } from "./jupyter/Kernel.ts"
import { codeCells, executeNotebook, readNotebook, writeNotebook } from "./jupyter/Notebook.ts"

const path = resolve(process.argv[2] ?? fileURLToPath(new URL("../docs/notebooks/reuse-nodes.ipynb", import.meta.url)))

const work = Effect.gen(function* () {
  const kernel = yield* startKernel({ cwd: dirname(path) })
  const notebook = yield* executeNotebook(yield* readNotebook(path), kernel)
  yield* writeNotebook(path, notebook)
  return codeCells(notebook).length
})

const exit = await Effect.runPromiseExit(Effect.scoped(work))
if (Exit.isSuccess(exit)) console.log(`${path}: ${exit.value} cells ran`)
else {
  const error = Cause.squash(exit.cause) as { readonly message?: string; readonly hint?: string }
  console.error(`${error.message ?? String(error)}\n${error.hint ?? ""}`)
  process.exitCode = 1
}
