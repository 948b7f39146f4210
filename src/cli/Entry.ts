/** Whether a module is the one that the process was started with, so that importing it runs nothing. */
import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { isMainThread } from "node:worker_threads"

/** What of `import.meta` is read. */
export interface Meta {
  readonly url: string
  readonly main?: boolean
}

const real = (path: string): string | undefined => {
  for (const ending of ["", ".ts", ".mts", ".js", ".mjs", "/index.ts", "/index.js"]) {
    try {
      return realpathSync(path + ending)
    } catch {
      // No such file: the script may have been named without its ending.
    }
  }
  return undefined
}

/**
 * True in the module that the process was started with: by `import.meta.main` where the runtime has it, else by
 * comparing real paths (tsx, older Node, symbolic links).
 */
export const isEntry = (meta: Meta, script: string | undefined = process.argv[1]): boolean => {
  if (!isMainThread) return false
  if (meta.main !== undefined) return meta.main
  if (script === undefined || !meta.url.startsWith("file:")) return false
  const here = real(fileURLToPath(meta.url.replace(/[?#].*$/, "")))
  return here !== undefined && here === real(script)
}
