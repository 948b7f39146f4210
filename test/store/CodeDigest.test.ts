/** Comments and local names do not count; helpers, package versions and assets do; a second look costs stats only. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { make } from "../../src/store/CodeDigest.ts"
import { layoutOf } from "../../src/store/Layout.ts"
import { temporaryFolder } from "./Support.ts"

const dag = fileURLToPath(new URL("../../src/dag/index.ts", import.meta.url))

const sources: Record<string, string> = {
  "package.json": '{ "name": "recipe", "type": "module" }',
  "package-lock.json":
    '{ "packages": { "node_modules/left": { "version": "1.0.0" }, "node_modules/@a/b": { "version": "2.0.0" } } }',
  "nodes/clean.ts": `import { createHash } from "node:crypto"
import { sharded } from ${JSON.stringify(dag)}
import { left } from "left/deep"
import { helper } from "../lib/helper.ts"
import type { Shape } from "../lib/types.ts"
// says what it does
export const clean = (text: string): Shape => {
  const result = helper(text) + left(text) + createHash("sha256").update(text).digest("hex")
  return { result, sharded }
}
`,
  "lib/helper.ts": `import { suffix } from "./deep/suffix.ts"
export const helper = (word: string): string => word.trim() + suffix
export const unused = 1
`,
  "lib/deep/suffix.ts": `import { b } from "@a/b"
import table from "./table.json" with { type: "json" }
import { big } from "../vendor/big.js"
import wasm from "./kernel.wasm"
export const suffix: string = "!" + b + table.x + big + wasm
`,
  "lib/deep/table.json": '{ "x": 1 }',
  "lib/deep/kernel.wasm": "wasm bytes",
  "lib/vendor/big.js": "export const big = 1 // a comment counts here\n",
  "lib/types.ts": "export interface Shape { result: string; sharded: unknown }\n",
  "assets/vocabulary.txt": "a b c"
}

const project = (folder = "project") => {
  const root = join(temporaryFolder(), folder)
  const write = (path: string, text: string) => {
    mkdirSync(join(root, path, ".."), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  for (const [path, text] of Object.entries(sources)) write(path, text)
  const edit = (path: string, from: string, to: string) => {
    assert.include(sources[path], from)
    write(path, sources[path]!.replaceAll(from, to))
  }
  return { root, write, edit }
}

const digestOf = (root: string, store = temporaryFolder()) =>
  Effect.flatMap(make(layoutOf(store), { readOnly: false }), (codes) =>
    codes.digest({ file: join(root, "nodes/clean.ts"), assets: [join(root, "assets/vocabulary.txt")] })
  ).pipe(Effect.provide(NodeFileSystem.layer))

describe("CodeDigest", () => {
  for (const [what, path, from, to] of [
    ["a comment", "nodes/clean.ts", "says what it does", "says something else"],
    ["blanks", "nodes/clean.ts", "  return", "\n\n      return"],
    ["a local name", "nodes/clean.ts", "text", "aVeryDifferentName"],
    ["a local name two imports away", "lib/helper.ts", "word", "w"],
    ["what is never used", "lib/helper.ts", "unused = 1", "unused = 2"],
    ["a type", "lib/types.ts", "unknown", "string"],
    ["the version of a package that nobody imports", "package.json", "recipe", "cake"]
  ] as const)
    it.live(`${what} does not count`, () =>
      Effect.gen(function* () {
        const { root, edit } = project()
        const before = yield* digestOf(root)
        edit(path, from, to)
        assert.strictEqual((yield* digestOf(root)).digest, before.digest)
      })
    )

  it.live("a project that lies in a folder called vendor is code like any other", () =>
    Effect.gen(function* () {
      const { edit, root } = project("vendor/project")
      const store = temporaryFolder()
      const before = yield* digestOf(root, store)
      edit("nodes/clean.ts", "says what it does", "says something else")
      assert.strictEqual((yield* digestOf(root, store)).digest, before.digest)
      edit("nodes/clean.ts", "helper(text) +", "helper(text + text) +")
      assert.notStrictEqual((yield* digestOf(root, store)).digest, before.digest)
    })
  )

  for (const [what, path, from, to] of [
    ["the module itself", "nodes/clean.ts", "helper(text) +", "helper(text + text) +"],
    ["a helper two imports away", "lib/deep/suffix.ts", '"!"', '"?"'],
    ["a package's version", "package-lock.json", "1.0.0", "1.0.1"],
    ["the version of a package imported two files away", "package-lock.json", "2.0.0", "2.1.0"],
    ["a declared asset", "assets/vocabulary.txt", "a b c", "a b d"],
    ["an imported file that is no code", "lib/deep/kernel.wasm", "wasm bytes", "wasm bytez"],
    ["imported JSON", "lib/deep/table.json", "1", "2"],
    ["a vendored file, bytes and all", "lib/vendor/big.js", "a comment", "another comment"]
  ] as const)
    it.live(`${what} counts, also with what was remembered`, () =>
      Effect.gen(function* () {
        const { root, edit } = project()
        const store = temporaryFolder()
        const before = yield* digestOf(root, store)
        yield* Effect.sleep(40)
        assert.deepStrictEqual(yield* digestOf(root, store), before)
        edit(path, from, to)
        const after = yield* digestOf(root, store)
        assert.notStrictEqual(after.digest, before.digest)
        assert.isFalse(after.weak)
      })
    )

  it.effect.prop(
    "however locals are called, the digest is the same; a property's name counts",
    { names: Schema.Array(Schema.Literals(["a", "e", "zzz", "tokens", "Q", "$x", "_", "longAndWinding"])) },
    ({ names }) =>
      Effect.gen(function* () {
        const { root, write } = project()
        const source = (name: (i: number) => string, property: string) => {
          const [p, q, r, s, t, u] = [0, 1, 2, 3, 4, 5].map(name)
          return `const ${p} = (${q}: number, ${r}: Array<string>): number => ${q} * ${r}.length + ${q}
class ${u} { ${property} = 1; get(${s}: number) { return ${s} + this.${property} } }
export const clean = (${s}: { readonly text: string }, ${t} = 2) => {
  const { text: ${q}, ...${r} } = ${s}
  for (const ${u}1 of ${q}) if (${u}1 === "e") return { ${r}, value: ${p}(${t}, [${u}1]), e: new ${u}() }
  return ${p}(${t} ?? 1, Object.keys(${r}))
}
`
        }
        const digest = Effect.fnUntraced(function* (text: string) {
          write("nodes/clean.ts", text)
          return (yield* digestOf(root)).digest
        })
        const plain = yield* digest(source((i) => `v${i}`, "count").replaceAll(/\{ v2, /g, "{ rest: v2, "))
        const renamed = source((i) => `${names[i] ?? "n"}${i}`, "count")
        const shorthand = `${names[2] ?? "n"}2`
        assert.strictEqual(yield* digest(renamed.replaceAll(`{ ${shorthand}, `, `{ rest: ${shorthand}, `)), plain)
        assert.notStrictEqual(yield* digest(source((i) => `v${i}`, "total")), plain)
      }),
    { arbitrary: { runs: 25 } }
  )

  it.live("names every local file relative to its package, and the packages; the framework is left out", () =>
    Effect.gen(function* () {
      const { root } = project()
      const code = yield* digestOf(root)
      assert.deepStrictEqual(
        code.files.map((file) => file.path),
        [
          "assets/vocabulary.txt",
          "lib/deep/kernel.wasm",
          "lib/deep/suffix.ts",
          "lib/deep/table.json",
          "lib/helper.ts",
          "lib/vendor/big.js",
          "nodes/clean.ts"
        ]
      )
      assert.deepStrictEqual(code.packages, { left: "1.0.0", "@a/b": "2.0.0" })
    })
  )

  it.live("moving the project changes nothing", () =>
    Effect.gen(function* () {
      const { root } = project()
      const before = yield* digestOf(root)
      renameSync(root, `${root}-moved`)
      assert.deepStrictEqual(yield* digestOf(`${root}-moved`), before)
    })
  )

  it.live("what has no file is weak, and a missing import is an error that names it", () =>
    Effect.gen(function* () {
      const codes = yield* make(layoutOf(temporaryFolder()), { readOnly: true })
      assert.isTrue((yield* codes.digest({ file: "<notebook>", assets: [] })).weak)
      const { root, edit } = project()
      edit("lib/helper.ts", "./deep/suffix.ts", "./deep/gone.ts")
      const error = yield* Effect.flip(digestOf(root))
      assert.include(error.message, "gone.ts")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.live("what a store remembers of code is what a fresh look at it gives", () =>
    Effect.gen(function* () {
      const { root, write } = project()
      for (let i = 0; i < 20; i++) write(`nodes/n${i}.ts`, `${sources["nodes/clean.ts"]}\nexport const more = ${i}\n`)
      yield* Effect.sleep(40)
      const store = temporaryFolder()
      const all = Effect.gen(function* () {
        const codes = yield* make(layoutOf(store), { readOnly: false })
        return yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => join(root, `nodes/n${i}.ts`)),
          (file) => codes.digest({ file, assets: [] }),
          { concurrency: "unbounded" }
        )
      }).pipe(Effect.provide(NodeFileSystem.layer))
      const cold = yield* all
      assert.strictEqual(new Set(cold.map((code) => code.digest)).size, 20)
      assert.deepStrictEqual(yield* all, cold)
    })
  )
})
