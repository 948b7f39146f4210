/**
 * Each shell line of the documentation can be typed: programs, files, scripts, subcommands, flags and variables exist.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { allVariables } from "../../src/dag/Environment.ts"
import { declared, sources } from "./Hints.ts"
import { type Page, pages, root } from "./Markdown.ts"
import { commandsOf, type ShellCommand, shellCommands, wordsOf } from "./Shell.ts"

const read = (path: string): string => readFileSync(join(root, path), "utf8")
const { bin, scripts } = JSON.parse(read("package.json")) as {
  readonly scripts: Readonly<Record<string, string>>
  readonly bin: Readonly<Record<string, string>>
}
const variables = new Set([
  ...allVariables.map(({ name }) => name),
  // Those of recipes, by their names in code.
  ...sources
    .filter((path) => path.startsWith("pipelines/"))
    .flatMap((path) => [...read(path).matchAll(/(?:pathVariable|modelFolder)\("(\w+)"/g)].map((match) => match[1]!))
])

/** What is wrong with the arguments of a file of ours: its flags, or the first word where it has subcommands. */
const argumentFaults = (file: string, words: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (!existsSync(join(root, file))) return [`there is no ${file}`]
  const flags = words.filter((word) => word.startsWith("--")).map((word) => word.split("=")[0]!)
  if (file.startsWith("pipelines/")) {
    const [first] = words
    const isSubcommand = first === undefined || first.startsWith("-") || declared.subcommands.has(first)
    const unknown = flags.filter((flag) => !declared.flags.has(flag))
    return [
      ...(isSubcommand ? [] : [`there is no subcommand ${first}`]),
      ...unknown.map((flag) => `there is no ${flag}`)
    ]
  }
  // Options of `parseArgs`, by name.
  const text = read(file)
  return flags
    .filter((flag) => !new RegExp(`\\b"?${flag.slice(2)}"?: \\{ type:`).test(text))
    .map((flag) => `there is no ${flag}`)
}

/** Programs that start what follows their own flags, and flags of theirs that take a value. */
const LAUNCHERS: Readonly<
  Record<string, { readonly values: ReadonlyArray<string>; readonly needs: ReadonlyArray<string> }>
> = {
  torchrun: { values: ["--nproc-per-node"], needs: ["MILLRACE_RANKS"] },
  // Says who is who, and not where they meet.
  srun: { values: ["--ntasks"], needs: ["MASTER_ADDR", "MASTER_PORT", "MILLRACE_RANKS"] }
}

const faultsOf = ({ env, words }: ShellCommand): ReadonlyArray<string> => {
  const unread = Object.keys(env).filter((name) => !variables.has(name))
  return [...unread.map((name) => `${name} is a variable that nothing reads`), ...programFaults(words, env)]
}

const programFaults = (words: ReadonlyArray<string>, env: ShellCommand["env"]): ReadonlyArray<string> => {
  const [program = "", ...rest] = words
  const launcher = LAUNCHERS[program]
  if (launcher !== undefined) {
    let at = 0
    while (rest[at]?.startsWith("--")) at += launcher.values.includes(rest[at]!) ? 2 : 1
    const missing = launcher.needs.filter((name) => !(name in env))
    return [...missing.map((name) => `${program} needs ${name}`), ...programFaults(rest.slice(at), env)]
  }
  if (program === "npx" && rest[0] === "tsx") return argumentFaults(rest[1] ?? "", rest.slice(2))
  if (program === "npx" && rest[0] === "-p") return programFaults(rest.slice(2), env)
  if (program === "npx") return rest[0]! in bin ? [] : [`there is no program ${rest[0]}`]
  if (program === "node") return argumentFaults(rest[0] ?? "", rest.slice(1))
  if (program === "npm" && rest[0] === "run") {
    const file = /(\S+\.ts)/.exec(scripts[rest[1]!] ?? "")?.[1]
    if (scripts[rest[1]!] === undefined) return [`there is no script ${rest[1]}`]
    return file === undefined
      ? []
      : argumentFaults(file, rest.slice(rest.indexOf("--") < 0 ? rest.length : rest.indexOf("--") + 1))
  }
  if (program === "npm") return /^(ci|test|install)$/.test(rest[0] ?? "") ? [] : [`npm ${rest[0]} is not known here`]
  if (program === "jupyter") return existsSync(join(root, rest.at(-1)!)) ? [] : [`there is no ${rest.at(-1)}`]
  if (program === "python3" || program === "python")
    return existsSync(join(root, rest[0]!)) ? [] : [`there is no ${rest[0]}`]
  if (program === "pip") return rest[0] === "install" ? [] : [`pip ${rest[0]} is not known here`]
  return [`${program} is a program that is not known here`]
}

const all: ReadonlyArray<Page> = [...pages(), { path: "datasets/README.md", text: read("datasets/README.md") }]

describe("a shell line", () => {
  it("names programs, files, scripts, subcommands, flags and variables that exist", () => {
    const commands = all.flatMap(shellCommands)
    expect(commands.length).toBeGreaterThan(30)
    expect(commands.flatMap((one) => faultsOf(one).map((fault) => `${one.where}: ${fault}`))).toEqual([])
  })

  it("of a launcher that says who is who sets where the ranks meet, and the token that lets them in", () => {
    const srun = all.flatMap(shellCommands).filter(({ words }) => words[0] === "srun")
    expect(srun.length).toBeGreaterThan(0)
    for (const { env } of srun) expect(Object.keys(env)).toEqual(["MILLRACE_RANKS", "MASTER_ADDR", "MASTER_PORT"])
  })

  it.each([
    ["npx tsx pipelines/llava-phi.ts --plam", "there is no --plam"],
    ["npx tsx pipelines/llava-phi.ts quarantines", "there is no subcommand quarantines"],
    ["npx tsx pipelines/lava-phi.ts", "there is no pipelines/lava-phi.ts"],
    ["npm run benches -- data", "there is no script benches"],
    ["npm run bench -- data --sise full", "there is no --sise"],
    ["MILRACE_DATA=x npm ci", "MILRACE_DATA is a variable that nothing reads"],
    ["MILLRACE_RANKS=s MASTER_ADDR=a srun --ntasks 8 npx tsx pipelines/llava-phi.ts", "srun needs MASTER_PORT"],
    ["npm ci && make", "make is a program that is not known here"]
  ])("with a mistake is found: %s", (line, fault) => {
    expect(commandsOf(line, "").flatMap(faultsOf)).toEqual([fault])
  })

  it("is cut into words as a shell does", () => {
    expect(wordsOf(`A=$(b c) d --e 'f g="h"' # i`)).toEqual(["A=$(b c)", "d", "--e", 'f g="h"'])
    expect(() => wordsOf("a | b")).toThrow("not understood: | b")
  })
})
