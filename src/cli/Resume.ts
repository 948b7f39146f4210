/**
 * The command that continues an interrupted run: what was typed, quoted for a POSIX shell.
 *
 * `--force` is left out: finished forced work is in the store, and forcing again would throw it away.
 */
import { relative } from "node:path"

/** What a process knows of how it was started. */
export interface Started {
  readonly argv0: string
  readonly execArgv: ReadonlyArray<string>
  readonly argv: ReadonlyArray<string>
  readonly cwd: string
  /** `npm_command` of the environment: `exec` under npx. */
  readonly npmCommand: string | undefined
}

/** Quotes a word for a POSIX shell when it needs to be. */
export const quote = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

const withoutForce = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--force") i++
    else if (!args[i]!.startsWith("--force=")) out.push(args[i]!)
  }
  return out
}

/**
 * The command line to type again.
 *
 * @example
 * resumeCommand({ argv0: "node", execArgv: [], argv: ["/n", "/w/p.ts", "--preset", "a b"], cwd: "/w", npmCommand: undefined })
 * // node p.ts --preset 'a b'
 */
export const resumeCommand = (started: Started): string => {
  const [, script = "", ...args] = started.argv
  const underTsx = started.execArgv.some((arg) => /[\\/]tsx[\\/]/.test(arg))
  const runner = underTsx
    ? ["npx", "tsx"]
    : started.npmCommand === "exec"
      ? ["npx", "node", ...started.execArgv]
      : [started.argv0, ...started.execArgv]
  const near = relative(started.cwd, script)
  const path = near === "" || near.startsWith("..") ? script : near
  return [...runner, path, ...withoutForce(args)].map(quote).join(" ")
}
