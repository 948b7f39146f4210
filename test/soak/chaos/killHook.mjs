/**
 * Kills the process at operation number CHAOS_KILL of `node:fs` below CHAOS_ROOT: for machines without a C compiler.
 *
 * Coarser than `shim.c`: an operation is a call of a function that is given a path, and each thread counts its own.
 */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"

const root = process.env.CHAOS_ROOT
const at = Number(process.env.CHAOS_KILL)
let count = 0
for (const name of ["open", "rename", "link", "unlink", "mkdir", "rmdir", "rm", "writeFile"]) {
  for (const [holder, key] of [
    [fs, name],
    [fs, `${name}Sync`],
    [fs.promises, name]
  ]) {
    const call = holder[key]
    holder[key] = function (path, ...rest) {
      if (String(path).startsWith(root) && ++count === at) process.kill(process.pid, "SIGKILL")
      return Reflect.apply(call, this, [path, ...rest])
    }
  }
}
syncBuiltinESMExports()
