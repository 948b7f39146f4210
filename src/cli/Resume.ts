/**
 * The command that continues an interrupted run: what was typed, quoted for a POSIX shell.
 *
 * `--force` stays for nodes that are not finished (their unfinished work is gone on with) and goes for those that are.
 */
import { relative } from "node:path"
import { underTsx } from "./Parent.ts"

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

const stillForced = (args: ReadonlyArray<string>, ran: ReadonlySet<string>): ReadonlyArray<string> => {
  const out: Array<string> = []
  const force = (list: string) => {
    for (const id of list.split(",").map((one) => one.trim())) if (id !== "" && !ran.has(id)) out.push("--force", id)
  }
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--force") force(args[++i] ?? "")
    else if (args[i]!.startsWith("--force=")) force(args[i]!.slice("--force=".length))
    else out.push(args[i]!)
  }
  return out
}

/**
 * The command line to type again; `ran` holds the nodes that this run finished.
 *
 * @example
 * resumeCommand({ argv0: "node", execArgv: [], argv: ["/n", "/w/p.ts", "--preset", "a b"], cwd: "/w", npmCommand: undefined }, new Set())
 * // node p.ts --preset 'a b'
 */
export const resumeCommand = (started: Started, ran: ReadonlySet<string>): string => {
  const [, script = "", ...args] = started.argv
  const runner = underTsx(started.execArgv)
    ? ["npx", "tsx"]
    : started.npmCommand === "exec"
      ? ["npx", "node", ...started.execArgv]
      : [started.argv0, ...started.execArgv]
  const near = relative(started.cwd, script)
  const path = near === "" || near.startsWith("..") ? script : near
  return [...runner, path, ...stillForced(args, ran)].map(quote).join(" ")
}
