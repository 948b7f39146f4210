/**
 * Shell lines of the documentation as commands: variables set before, words, what a launcher starts.
 *
 * Not a shell: words, quotes, `$(...)`, comments, `<`, `>` and `&&`, which is what these pages use; anything else is an
 * error.
 */
import { blocksOf, type Page } from "./Markdown.ts"

export interface ShellCommand {
  readonly where: string
  /** Variables set for this command alone. */
  readonly env: Readonly<Record<string, string>>
  readonly words: ReadonlyArray<string>
}

/**
 * The words of a line. Throws for what is not understood.
 *
 * @example
 * wordsOf("A=b npx tsx x.ts --set 'a b' # c") // ["A=b", "npx", "tsx", "x.ts", "--set", "a b"]
 */
export const wordsOf = (line: string): ReadonlyArray<string> => {
  const words: Array<string> = []
  const token = /\s+|#.*$|((?:'[^']*'|"[^"]*"|\$\([^)]*\)|&&|[<>](?= )|[^\s'"$#&|;<>`\\])+)/gy
  let at = 0
  while (at < line.length) {
    token.lastIndex = at
    const match = token.exec(line)
    if (match === null) throw new Error(`not understood: ${line.slice(at)}`)
    if (match[1] !== undefined) words.push(match[1].replace(/^'(.*)'$/s, "$1").replace(/^"(.*)"$/s, "$1"))
    at = token.lastIndex
  }
  return words
}

/** The commands of a line, cut at `&&`. */
export const commandsOf = (line: string, where: string): ReadonlyArray<ShellCommand> => {
  const commands: Array<ShellCommand> = []
  let words: Array<string> = []
  const end = () => {
    const first = words.findIndex((word) => !/^[A-Za-z_]\w*=/.test(word))
    const set = first < 0 ? words : words.slice(0, first)
    const env = Object.fromEntries(
      set.map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)])
    )
    commands.push({ where, env, words: first < 0 ? [] : words.slice(first) })
    words = []
  }
  const all = wordsOf(line)
  for (const [i, word] of all.entries())
    if (word === "&&") end()
    // Files that are read and written are the reader's own.
    else if (!/^[<>]$/.test(word) && !/^[<>]$/.test(all[i - 1] ?? "")) words.push(word)
  if (words.length > 0) end()
  return commands
}

/** All commands of a page's `sh` blocks. */
export const shellCommands = (page: Page): ReadonlyArray<ShellCommand> =>
  blocksOf(page)
    .filter(({ info }) => /^(sh|bash)$/.test(info))
    .flatMap(({ line, text }) =>
      text.split("\n").flatMap((one, i) => (one.trim() === "" ? [] : commandsOf(one, `${page.path}:${line + 1 + i}`)))
    )
