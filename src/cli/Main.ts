/**
 * The last line of a recipe file: `run(import.meta, recipe)` makes it a command, and does nothing on import.
 *
 * Light on purpose: worker threads and notebooks import recipe files too, and load none of the command line.
 */
import type { Recipe } from "../run/Recipe.ts"
import { isEntry, type Meta } from "./Entry.ts"

const started = new Set<string>()

/**
 * Makes a recipe's module a command; returns at once and does nothing when the module is imported by another.
 *
 * Not awaited: a module that waited for its own run could never be imported by it. Ends the process with exit code 0
 * done, 1 failed, 2 wrong usage, 130 interrupted. `version` is what `--version` says.
 *
 * @example
 * export default llavaPhi
 * run(import.meta, llavaPhi)
 */
export const run = <S, R>(
  meta: Meta,
  recipe: Recipe<S, R>,
  options: { readonly version?: string; readonly args?: ReadonlyArray<string> } = {}
): void => {
  const script = process.argv[1] ?? ""
  // The same file under two URLs (a loader's query string) is still one command.
  if (!isEntry(meta) || started.has(script)) return
  started.add(script)
  void import("./Start.ts").then(({ start }) =>
    start(meta.url, recipe, options.args ?? process.argv.slice(2), options.version ?? "0.1.0")
  )
}
