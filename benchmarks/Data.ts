/**
 * Files that benchmarks make for themselves: made once, under a folder that goes away unless it is asked to stay.
 *
 * Not a store: a name stands for its content, so a name says size and seed. A file is there whole or not at all.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Context } from "./Row.ts"

/** Paths made by this process. */
const here = new Set<string>()

/** Removes the files that this process created; files that existed before stay. */
export const removeMade = (): void => {
  for (const path of here) rmSync(path, { recursive: true, force: true })
  here.clear()
}

/** The path of a file or folder, made by `make` where it is not there yet. `make` writes to the path it is given. */
export const made = async (
  { data, say }: Pick<Context, "data" | "say">,
  name: string,
  make: (path: string) => unknown
): Promise<string> => {
  const path = join(data, name)
  if (existsSync(path)) return path
  mkdirSync(data, { recursive: true })
  say(`making ${name}`)
  const part = join(data, `.part-${process.pid}-${name}`)
  try {
    await make(part)
    renameSync(part, path)
    here.add(path)
  } finally {
    rmSync(part, { recursive: true, force: true })
  }
  return path
}
