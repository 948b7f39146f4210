/**
 * A hint can be followed: each name in backticks is a parameter, a flag, a subcommand, a variable, a file or a command
 * that exists. Held over every literal of the code, messages and help texts too, so that none is passed over.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "@effect/vitest"
import * as effect from "effect"
import { allVariables } from "../../src/dag/Environment.ts"
import * as dag from "../../src/dag/index.ts"
import type { NodeSpec } from "../../src/dag/Node.ts"
import { IMAGE_KEYS } from "../../src/text/RowMedia.ts"
import { declared, type Named, named, namedFlags, propertiesOf, reached } from "./Hints.ts"
import { root } from "./Markdown.ts"

/** Parameters of the nodes that each file of `src/nodes` defines. */
const params = new Map<string, ReadonlySet<string>>()
beforeAll(async () => {
  for (const name of readdirSync(join(root, "src/nodes")).filter((one) => one.endsWith(".ts"))) {
    const exported = Object.values((await import(join(root, "src/nodes", name))) as Record<string, unknown>)
    const specs = exported.flatMap((one) => {
      const spec = typeof one === "function" ? (one as { readonly spec?: NodeSpec }).spec : undefined
      return spec === undefined ? [] : [spec]
    })
    const fields = specs.flatMap(({ params }) => Object.keys((params as { readonly fields?: object }).fields ?? {}))
    if (specs.length > 0) params.set(`src/nodes/${name}`, new Set(fields))
  }
}, 60_000)

/**
 * Of a node in whose code the sentence stands: the node's own file, or one that imports it. Of any node for the
 * framework.
 */
const isParameter = ({ name, path }: Named): boolean => {
  const ofAny = !/^src\/(nodes|text|data|model|training)\//.test(path)
  return [...params].some(([file, fields]) => fields.has(name) && (ofAny || reached(file).has(path)))
}
const nodeIds = () => new Set([...params.keys()].map((path) => path.slice("src/nodes/".length, -".ts".length)))
const isNode = ({ name }: Named): boolean => nodeIds().has(name.slice(0, 1).toUpperCase() + name.slice(1))

/** What a definition, a fold, a recipe or a result may have, and how that is called in an error about it. */
const shapes = new Set(
  ["src/dag/Node.ts", "src/dag/Fold.ts", "src/dag/Artifact.ts", "src/dag/RunNode.ts", "src/run/Recipe.ts"].flatMap(
    (path) => [...propertiesOf(path)]
  )
)
const isDeclaration = ({ name, path }: Named): boolean =>
  /^src\/(dag|run|cli|store)\//.test(path) &&
  name
    .split(/[.:]/)
    .slice(0, 1)
    .every((word) => shapes.has(word.trim()))

/** Programs whose command lines are written out; ours are checked word by word. */
const PROGRAMS = /^(tar|unzip|zip|gunzip|bunzip2|unxz|zstd|curl|git|iconv|npm|npx|pip|apt|ulimit)( |$)/
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> }
const isCommand = ({ name }: Named): boolean => {
  const words = name.split(" ")
  if (declared.subcommands.has(words[0]!))
    return words.every((word) => !word.startsWith("--") || declared.flags.has(word))
  if (!PROGRAMS.test(name)) return false
  const script = /^npm run ([\w:]+)/.exec(name)?.[1]
  const file = /^npx tsx (\S+)/.exec(name)?.[1]
  return (script === undefined || script in scripts) && (file === undefined || existsSync(join(root, file)))
}
const isVariable = ({ name }: Named): boolean => allVariables.some((variable) => variable.name === name)
const isFile = ({ name }: Named): boolean => existsSync(join(root, name))
const isField = ({ name }: Named): boolean => [...IMAGE_KEYS].includes(name)
/** `Effect.tryPromise`, `Stream.make(rows)`, `source(...)`: what Effect or our own index exports. */
const isCode = ({ name }: Named): boolean => {
  const [, module, member] = /^([A-Z]\w+)\.(\w+)/.exec(name) ?? []
  if (module !== undefined) return member! in (effect as unknown as Record<string, object>)[module]!
  const called = /^(\w+)\(/.exec(name)?.[1]
  return called !== undefined && called in dag
}

/** What is none of these, and whose it is. An entry that nobody names any more is an error too. */
const OTHERS: Readonly<Record<string, string>> = {
  last: "for a run's id, of the subcommand show",
  "python:PATH": "a form of MILLRACE_TORCH",
  "FROM=TO ...": "the form of MILLRACE_REWRITE",
  ":4096:8": "a value of CUBLAS_WORKSPACE_CONFIG",
  dumb: "a value of TERM",
  ".out.NAME": "an output of a node",
  ".named": "a method of a definition",
  "./plugins/${name}.ts": "an example of an import that cannot be followed",
  "{ NAME: node.out.PORT }": "an argument of pipeline",
  "(folder) => Effect...": "what a tree output is",
  'new Map([["state.json", new TextEncoder().encode(text)]])': "what state.encode gives",
  "{ step: state.step, total: 100, metrics: { loss } }": "what a fold's progress is",
  to_parquet: "of datasets, in Python",
  save_to_disk: "of datasets, in Python",
  "flatten_indices()": "of datasets, in Python",
  _data_files: "a field of a folder that datasets saved",
  _indices_data_files: "a field of a folder that datasets saved",
  configs: "a field of the card of a data set on the hub",
  data_files: "a field of the card of a data set on the hub",
  file: "a program",
  "[": "a character of JSON",
  "]": "a character of JSON",
  "[...]": "a form of JSON",
  "*": "a wildcard in `files`",
  "--pretrain_mm_mlp_adapter": "of LLaVA's scripts",
  caption: "a field of a webdataset's .json",
  Error: "JavaScript's class",
  quantiseNf4: "a function beside it",
  keys: "an argument of the attention region",
  "<": "a character of HTML",
  "&lt;": "a character of HTML",
  "@tensorflow/tfjs-node": "a package"
}

const isKnown = (one: Named): boolean =>
  (one.name.startsWith("--") && declared.flags.has(one.name)) ||
  isParameter(one) ||
  isNode(one) ||
  isDeclaration(one) ||
  isCommand(one) ||
  isVariable(one) ||
  isFile(one) ||
  isField(one) ||
  isCode(one)

describe("a name in backticks", () => {
  it("is a parameter, flag, subcommand, variable, file or command that exists", () => {
    expect(named.length).toBeGreaterThan(100)
    const unknown = named.filter((one) => !isKnown(one) && !(one.name in OTHERS))
    expect(unknown.map(({ name, path }) => `${path}: ${name}`)).toEqual([])
  })

  it("of another program or format is in the table above as long as somebody names it", () => {
    const names = new Set(named.filter((one) => !isKnown(one)).map(({ name }) => name))
    expect(Object.keys(OTHERS).filter((name) => !names.has(name))).toEqual([])
  })

  it("of a rule is a parameter of the node that has the rule", () => {
    const names = [
      "minCharacters",
      "notices",
      "bannedWords",
      "specialTokens",
      "repeatedDigits",
      "maxTokens",
      "languages"
    ]
    for (const name of names) {
      const places = named.filter((one) => one.name === name)
      expect([name, places.length > 0 && places.every(isParameter)]).toEqual([name, true])
    }
  })
})

/** Flags of other programs and of `npm run` scripts. */
const THEIRS: Readonly<Record<string, string>> = {
  "--sparse": "of tar",
  "--multi-volume": "of tar",
  "--listed": "of tar: --listed-incremental",
  "--dereference": "of tar",
  "--hard-dereference": "of tar",
  "--pretrain_mm_mlp_adapter": "of LLaVA's scripts",
  "--torch": "of npm run build:torch"
}

describe("a flag in a sentence", () => {
  it("is a flag of a command", () => {
    expect(declared.flags.size).toBeGreaterThan(20)
    const unknown = namedFlags.filter(({ name }) => !declared.flags.has(name) && !(name in THEIRS))
    expect(unknown.map(({ name, path }) => `${path}: ${name}`)).toEqual([])
    expect(Object.keys(THEIRS).filter((flag) => !namedFlags.some(({ name }) => name === flag))).toEqual([])
  })
})
