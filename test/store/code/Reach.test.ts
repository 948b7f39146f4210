/**
 * What a definition reaches counts, statement by statement; what it does not reach does not, in the same file or
 * another.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SourcePosition } from "../../../src/dag/SourceLocation.ts"
import { make } from "../../../src/store/CodeDigest.ts"
import { layoutOf } from "../../../src/store/Layout.ts"
import { temporaryFolder } from "../Support.ts"

const dag = fileURLToPath(new URL("../../../src/dag/index.ts", import.meta.url))
const run = fileURLToPath(new URL("../../../src/run/Recipe.ts", import.meta.url))
const cli = fileURLToPath(new URL("../../../src/cli/Main.ts", import.meta.url))

type Files = Readonly<Record<string, string>>

/** Where `text` begins in a file, as a stack names it. */
const spotOf = (root: string, files: Files, [file, text]: readonly [string, string]): SourcePosition => {
  const at = files[file]!.indexOf(text)
  assert.isAtLeast(at, 0, text)
  const before = files[file]!.slice(0, at).split("\n")
  return { file: join(root, file), line: before.length, column: before.at(-1)!.length + 1 }
}

const codeOf = (
  files: Files,
  chain: ReadonlyArray<readonly [string, string]> = [["case.ts", "whole("]],
  services?: ReadonlyArray<readonly [string, string]>
) =>
  Effect.gen(function* () {
    const root = join(temporaryFolder(), "project")
    const all: Files = { "package.json": '{ "type": "module" }', ...files }
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      if (text.startsWith("-> ")) symlinkSync(join(root, text.slice(3)), join(root, path))
      else writeFileSync(join(root, path), text)
    }
    const codes = yield* make(layoutOf(temporaryFolder()), { readOnly: true })
    const spots = chain.map((one) => spotOf(root, all, one))
    return yield* codes.digest({
      file: spots[0]!.file,
      assets: [],
      chain: spots,
      ...(services === undefined ? {} : { services: services.map((one) => spotOf(root, all, one)) })
    })
  }).pipe(Effect.provide(NodeFileSystem.layer))

const node = `import { whole, value } from ${JSON.stringify(dag)}
import { help } from "./help.ts"
import { Schema } from "effect"
export const V = value("v", Schema.String)
const table = { a: 1 }
const list = [1]
export const slow = whole({ id: "slow" }, () => help(table) + V.tag + list.length)
`
const help = `const unused = { n: 1 }
const made = setUp(unused)
function setUp(x: object) { return Object.keys(x).length }
export const help = (x: object) => Object.keys(x).length
export const other = () => made
`
const base: Files = { "case.ts": node, "help.ts": help }
const withMore = (more: string): Files => ({ ...base, "case.ts": node + more })
const same = (before: Files, after: Files, counts: boolean) =>
  Effect.gen(function* () {
    const [a, b] = [yield* codeOf(before), yield* codeOf(after)]
    assert.strictEqual(a.digest !== b.digest, counts)
    assert.isUndefined(a.closesOver)
    assert.isUndefined(a.unplaced)
  })

const recipe = `import { recipe } from ${JSON.stringify(run)}
import { run } from ${JSON.stringify(cli)}
const presets = { a: { n: 1 } }
const of = (build: any) => recipe({ presets, build } as any)
export default of(() => slow({}, {}))
const c = of(() => whole({ id: "sibling" }, () => 1))
run(import.meta, c)
`

describe("reach", () => {
  for (const [what, after] of [
    ["a sibling node, a preset, a recipe and its run", withMore(recipe)],
    ["a function that nothing uses", withMore("export const f = () => table.a = 2\n")],
    ["a declaration made by a call that changes nothing of it", withMore("const n = Object.keys({ b: 1 })\n")],
    ["an unused helper of an imported file", { ...base, "help.ts": help.replace("n: 1", "n: 2") }]
  ] as const)
    it.live(`${what} does not count`, () => same(base, after, false))

  for (const [what, after] of [
    ["a constant that the node reads", { ...base, "case.ts": node.replace("a: 1", "a: 2") }],
    ["a statement that changes it", withMore("table.a = 3\n")],
    ["a declaration whose call changes it", withMore("const n = list.push(2)\n")],
    [
      "a function that changes it and is called for another value",
      withMore("const grow = (l: number[]) => l.push(2)\nconst n = grow(list)\n")
    ],
    ["an effect on everything", withMore("globalThis.x = 1\n")],
    [
      "a declaration whose call changes a global",
      withMore("const patch = () => (Array.prototype.x = 1)\nconst p = patch()\n")
    ],
    ["an effect of an imported file", { ...base, "help.ts": `${help}console.log(1)\n` }],
    [
      "the helper",
      {
        ...base,
        "help.ts": help
          .replace("(x).length\nexport", "(x).length + 1\nexport")
          .replace("=> Object.keys(x).length", "=> 7")
      }
    ]
  ] as const)
    it.live(`${what} counts`, () => same(base, after, true))

  it.live("re-exports, stars and namespaces are followed to the statement", () =>
    Effect.gen(function* () {
      const files: Files = {
        "case.ts": `import { whole } from ${JSON.stringify(dag)}
import * as all from "./all.ts"
export const n = whole({ id: "n" }, () => all.one())`,
        "all.ts": 'export { a as one } from "./a.ts"\nexport * from "./b.ts"\nexport const gone = 1\n',
        "a.ts": "export const a = () => 1\nexport const a2 = () => 2\n",
        "b.ts": "export const b = () => 1\n"
      }
      yield* same(files, { ...files, "a.ts": files["a.ts"]!.replace("=> 2", "=> 3") }, false)
      yield* same(files, { ...files, "b.ts": files["b.ts"]!.replace("=> 1", "=> 3") }, false)
      yield* same(files, { ...files, "a.ts": files["a.ts"]!.replace("=> 1", "=> 3") }, true)
    })
  )
})

describe("code that no import names", () => {
  const files: Files = {
    "case.ts": `import { createRequire } from "node:module"
import { whole } from ${JSON.stringify(dag)}
const load = createRequire(import.meta.url)
const h = load("./h.cjs")
const direct = createRequire(import.meta.url)("./d.json")
const plugin = (name: string) => import(\`./plugins/\${name}.ts\`)
const worker = () => new Worker(new URL("./w.ts", import.meta.url))
export const n = whole({ id: "n" }, () => [h, direct, plugin, worker, linked])
import { linked } from "linked"
`,
    "h.cjs": 'exports.x = require("./deep.cjs")',
    "deep.cjs": "exports.x = 1",
    "d.json": "1",
    "plugins/a.ts": "export const a = 1",
    "w.ts": 'import "./w2.ts"',
    "w2.ts": "1",
    "packages/linked/package.json": '{ "name": "linked", "type": "module", "exports": "./index.js" }',
    "packages/linked/index.js": "export const linked = 1",
    "node_modules/linked": "-> packages/linked"
  }
  for (const [what, path, text] of [
    ["what `createRequire` loads", "h.cjs", "exports.x = 2"],
    ["what that loads in turn", "deep.cjs", "exports.x = 2"],
    ["JSON that it loads", "d.json", "2"],
    ["a file that a computed name may mean", "plugins/b.ts", "export const b = 1"],
    ["the code of a worker", "w2.ts", "2"],
    ["the source of a linked package", "packages/linked/index.js", "export const linked = 2"]
  ] as const)
    it.live(`${what} counts`, () => same(files, { ...files, [path]: text }, true))

  it.live("and a file that nothing names does not", () => same(files, { ...files, "other.ts": "1" }, false))
})

describe("closures", () => {
  const factory = `import { whole } from ${JSON.stringify(dag)}
const suffix = "!"
const constant = (text: string) => whole({ id: "constant" }, () => text + suffix)
`
  const calls = (use: string) => ({ "case.ts": `${factory}${use}` })
  const ask = (use: string, ...callers: ReadonlyArray<string>) =>
    codeOf(calls(use), [["case.ts", "whole("], ...callers.map((text) => ["case.ts", text] as const)])

  it.live("what a factory is given is code of the definition, and nothing else of its caller", () =>
    Effect.gen(function* () {
      const a = yield* ask('export const a = constant("A")\n', 'constant("A")')
      const b = yield* ask('export const a = constant("B")\n', 'constant("B")')
      const again = yield* ask('export const n = [1, constant("A")]\n', 'constant("A")')
      assert.isUndefined(a.closesOver)
      assert.notStrictEqual(a.digest, b.digest)
      assert.strictEqual(again.digest, a.digest)
      const helper = (value: string) =>
        ask(`const word = () => "${value}"\nexport const a = constant(word())\n`, "constant(word")
      assert.notStrictEqual((yield* helper("x")).digest, (yield* helper("y")).digest)
    })
  )

  it.live("a value that passes through two functions is found at the outer call", () =>
    Effect.gen(function* () {
      const deep = (value: string) =>
        ask(
          `const twice = (t: string) => constant(t + t)\nexport const a = twice("${value}")\n`,
          "constant(t + t)",
          `twice("${value}")`
        )
      const a = yield* deep("A")
      assert.isUndefined(a.closesOver)
      assert.notStrictEqual(a.digest, (yield* deep("B")).digest)
    })
  )

  for (const [what, use, at] of [
    ["a setting of the preset", "export const build = (s: any) => constant(s.text)\n", "constant(s"],
    ["an element of a list", 'export const all = ["A", "B"].map((t) => constant(t))\n', "constant(t)"],
    ["a loop's variable", 'for (const t of ["A", "B"]) constant(t)\n', "constant(t)"],
    ["what a generator yields", "export function* g() {\n  const t = yield 1\n  constant(t)\n}\n", "constant(t)"],
    ["`this`", "export class K { t = 1; m() { return constant(this.t) } }\n", "constant(this"]
  ] as const)
    it.live(`${what} comes from no text, and is named`, () =>
      Effect.gen(function* () {
        const code = yield* ask(use, at)
        assert.isAtLeast(code.closesOver?.length ?? 0, 1)
      })
    )

  it.live("a callback's caller is not taken for the function's", () =>
    Effect.gen(function* () {
      const use = 'export const all = ["A", "B"].map((t) => whole({ id: "t" }, () => t))\n'
      const code = yield* codeOf(calls(use), [
        ["case.ts", 'whole({ id: "t" }'],
        ["case.ts", "map("]
      ])
      assert.deepStrictEqual(code.closesOver, ["t"])
    })
  )

  for (const field of ["closes: { text }", "version: text", "outputs: { rows: text }"])
    it.live(`what the declaration states needs no more: ${field}`, () =>
      Effect.gen(function* () {
        const text = `import { whole } from ${JSON.stringify(dag)}
export const constant = (text: string) => whole({ id: "constant", ${field} }, () => text)`
        const code = yield* codeOf({ "case.ts": text })
        assert.isUndefined(code.closesOver)
      })
    )

  it.live("a definition that is not found counts with all of its module, and says so", () =>
    Effect.gen(function* () {
      const code = yield* codeOf({ "case.ts": "// a comment alone\nexport const x = 1\n" }, [["case.ts", "x = 1"]])
      assert.isTrue(code.unplaced)
    })
  )
})

describe("services", () => {
  const files: Files = {
    "case.ts": `import { recipe } from ${JSON.stringify(run)}
import { live } from "./live.ts"
import { n } from "./node.ts"
const presets = { a: 1 }
export default recipe({ name: "c", presets, build: () => n, services: () => live } as any)
`,
    "greeter.ts": `import { Context } from "effect"
export class Greeter extends Context.Service<Greeter, { greet: string }>()("Greeter") {}`,
    "live.ts": `import { Layer } from "effect"
import { Greeter } from "./greeter.ts"
export const live = Layer.succeed(Greeter, { greet: "one" })`,
    "node.ts": `import { whole } from ${JSON.stringify(dag)}
import { Greeter } from "./greeter.ts"
export const n = whole({ id: "n" }, () => Greeter)
export const plain = whole({ id: "plain" }, () => 1)`
  }
  const ask = (all: Files, of = 'whole({ id: "n" }') => codeOf(all, [["node.ts", of]], [["case.ts", "recipe({"]])
  const edited = { ...files, "live.ts": files["live.ts"]!.replace("one", "two") }

  it.live("what a recipe provides for a node's service is code of the node, and of no other", () =>
    Effect.gen(function* () {
      const before = yield* ask(files)
      assert.include(
        before.files.map(({ path }) => path),
        "live.ts"
      )
      assert.notStrictEqual((yield* ask(edited)).digest, before.digest)
      const preset = { ...files, "case.ts": files["case.ts"]!.replace("a: 1", "a: 2") }
      assert.strictEqual((yield* ask(preset)).digest, before.digest)
      const plain = 'whole({ id: "plain" }'
      assert.strictEqual((yield* ask(edited, plain)).digest, (yield* ask(files, plain)).digest)
    })
  )

  it.live("services that a helper was given count with all of the recipe's module", () =>
    Effect.gen(function* () {
      const kit = `import { recipe } from ${JSON.stringify(run)}
export const of = (services: any) => recipe({ services } as any)`
      const all = (one: Files): Files => ({
        ...one,
        "kit.ts": kit,
        "case.ts": 'import { of } from "./kit.ts"\nimport { live } from "./live.ts"\nexport default of(() => live)\n'
      })
      const chain = [
        ["kit.ts", "recipe({"],
        ["case.ts", "of(() "]
      ] as const
      const node = [["node.ts", 'whole({ id: "n" }']] as const
      const [a, b] = [yield* codeOf(all(files), node, chain), yield* codeOf(all(edited), node, chain)]
      assert.notStrictEqual(a.digest, b.digest)
    })
  )
})
