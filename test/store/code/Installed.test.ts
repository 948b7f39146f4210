/**
 * Packages count as they are installed: edited in place, and with all that they depend on; what is for one machine does
 * not.
 */
import { mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { codeChanges } from "../../../src/dag/Plan.ts"
import { make } from "../../../src/store/CodeDigest.ts"
import { layoutOf } from "../../../src/store/Layout.ts"
import { temporaryFolder } from "../Support.ts"

const dag = fileURLToPath(new URL("../../../src/dag/index.ts", import.meta.url))

const files: Readonly<Record<string, string>> = {
  "package.json": '{ "type": "module" }',
  "package-lock.json": '{ "packages": { "node_modules/left": { "version": "1.0.0" } } }',
  "nodes/case.ts": `import { whole } from ${JSON.stringify(dag)}
import { left } from "left"
export const n = whole({ id: "n" }, () => left)
`,
  "nodes/apart.ts": "export const apart = 1\n",
  "node_modules/left/package.json":
    '{ "name": "left", "version": "1.0.0", "main": "index.js", "dependencies": { "right": "1", "inner": "1" }, "optionalDependencies": { "left-linux": "1" }, "peerDependencies": { "compiler": "1" }, "peerDependenciesMeta": { "compiler": { "optional": true } } }',
  "node_modules/left/index.js":
    'exports.left = require("right").right + require("inner").inner + require("./lib/deep")',
  "node_modules/left/lib/deep.js": "module.exports = 1",
  "node_modules/left/lib/table.json": "1",
  "node_modules/left/lib/kernel.wasm": "wasm",
  "node_modules/left/lib/index.d.ts": "export {}",
  "node_modules/left/README.md": "words",
  "node_modules/left/.cache/x.js": "1",
  "node_modules/left/build/native.node": "machine code",
  "node_modules/left/node_modules/inner/package.json": '{ "name": "inner", "version": "1.0.0" }',
  "node_modules/left/node_modules/inner/index.js": "exports.inner = 1",
  "node_modules/right/package.json": '{ "name": "right", "version": "1.0.0", "dependencies": { "left": "1" } }',
  "node_modules/right/index.js": "exports.right = 1",
  "node_modules/left-linux/package.json": '{ "name": "left-linux", "version": "1.0.0", "os": ["linux"] }',
  "node_modules/left-linux/index.js": "1",
  "node_modules/compiler/package.json": '{ "name": "compiler", "version": "1.0.0" }',
  "node_modules/compiler/index.js": "1",
  "node_modules/nobody/package.json": '{ "name": "nobody", "version": "1.0.0" }',
  "node_modules/nobody/index.js": "1"
}

const project = (more: Readonly<Record<string, string>> = {}) => {
  const root = join(temporaryFolder(), "project")
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  for (const [path, text] of Object.entries({ ...files, ...more })) write(path, text)
  return { root, write }
}

const codeOf = (root: string, store = temporaryFolder(), file = "nodes/case.ts") =>
  Effect.flatMap(make(layoutOf(store), { readOnly: false }), (codes) =>
    codes.digest({ file: join(root, file), assets: [] })
  ).pipe(Effect.provide(NodeFileSystem.layer))

describe("installed packages", () => {
  for (const [what, path, text, change] of [
    ["a package edited in place", "left/index.js", "exports.left = 2", "left 1.0.0 (its installed files)"],
    ["another of its files", "left/lib/deep.js", "module.exports = 2", "left 1.0.0 (its installed files)"],
    ["its JSON", "left/lib/table.json", "2", "left 1.0.0 (its installed files)"],
    ["its WebAssembly", "left/lib/kernel.wasm", "wasn", "left 1.0.0 (its installed files)"],
    ["a file that is new in it", "left/lib/new.js", "1", "left 1.0.0 (its installed files)"],
    ["a package that it depends on, edited", "right/index.js", "2", "right 1.0.0 (its installed files)"],
    ["one inside of it, edited", "left/node_modules/inner/index.js", "2", "inner 1.0.0 (its installed files)"],
    [
      "the version of a package that it depends on",
      "right/package.json",
      '{ "name": "right", "version": "1.0.1", "dependencies": { "left": "1" } }',
      "right 1.0.0 to 1.0.1"
    ],
    [
      "a package that now lies nearer to it",
      "left/node_modules/right/package.json",
      '{ "name": "right", "version": "2.0.0" }',
      "right 1.0.0 to 2.0.0"
    ]
  ] as const)
    it.live(`${what} counts, also with what was remembered, and the plan names it`, () =>
      Effect.gen(function* () {
        const { root, write } = project()
        yield* Effect.sleep(40) // what was written just now is not remembered
        const store = temporaryFolder()
        const before = yield* codeOf(root, store)
        const apart = yield* codeOf(root, store, "nodes/apart.ts")
        assert.deepStrictEqual(yield* codeOf(root, store), before)
        write(`node_modules/${path}`, text)
        const after = yield* codeOf(root, store)
        assert.notStrictEqual(after.digest, before.digest)
        assert.deepStrictEqual(after, yield* codeOf(root))
        assert.deepStrictEqual(codeChanges(after, before), [change])
        assert.deepStrictEqual(yield* codeOf(root, store, "nodes/apart.ts"), apart)
      })
    )

  for (const [what, path, text] of [
    ["a declaration", "left/lib/index.d.ts", "export type A = 1"],
    ["a README", "left/README.md", "other words"],
    ["a hidden folder", "left/.cache/x.js", "2"],
    ["machine code", "left/build/native.node", "other code"],
    ["a package for one platform", "left-linux/index.js", "2"],
    ["an optional peer", "compiler/index.js", "2"],
    ["a package that nobody imports", "nobody/index.js", "2"]
  ] as const)
    it.live(`${what} does not count`, () =>
      Effect.gen(function* () {
        const { root, write } = project()
        const before = yield* codeOf(root)
        write(`node_modules/${path}`, text)
        assert.deepStrictEqual(yield* codeOf(root), before)
      })
    )

  it.live("equal size and modification time with other bytes count", () =>
    Effect.gen(function* () {
      const { root, write } = project()
      const path = join(root, "node_modules/left/index.js")
      utimesSync(path, 1e9, 1e9)
      yield* Effect.sleep(40)
      const store = temporaryFolder()
      const before = yield* codeOf(root, store)
      write("node_modules/left/index.js", files["node_modules/left/index.js"]!.replace("right +", "right -"))
      utimesSync(path, 1e9, 1e9)
      assert.notStrictEqual((yield* codeOf(root, store)).digest, before.digest)
    })
  )

  it.live("TypeScript counts in a package that is published as that", () =>
    Effect.gen(function* () {
      const { root, write } = project({
        "node_modules/left/package.json": '{ "name": "left", "version": "1.0.0", "exports": { ".": "./index.ts" } }',
        "node_modules/left/index.ts": "export const left = 1"
      })
      const before = yield* codeOf(root)
      write("node_modules/left/index.ts", "export const left = 2")
      assert.notStrictEqual((yield* codeOf(root)).digest, before.digest)
    })
  )

  it.live("what is locked and not installed counts by its locked version, dependencies included", () =>
    Effect.gen(function* () {
      const lock = (version: string) =>
        `{ "packages": { "node_modules/left": { "version": "1.0.0", "dependencies": { "right": "1" } }, "node_modules/right": { "version": "${version}" } } }`
      const { root, write } = project({ "package-lock.json": lock("1.0.0") })
      rmSync(join(root, "node_modules"), { recursive: true })
      const before = yield* codeOf(root)
      write("package-lock.json", lock("1.0.1"))
      const after = yield* codeOf(root)
      assert.notStrictEqual(after.digest, before.digest)
      assert.deepStrictEqual(codeChanges(after, before), ["right 1.0.0 to 1.0.1"])
    })
  )

  it.live("two versions of one package, found from two folders, both count", () =>
    Effect.gen(function* () {
      const more = (text: string) => ({
        "nodes/case.ts": `${files["nodes/case.ts"]}import { b } from "../other/b.ts"\nexport const m = b\n`,
        "other/b.ts": 'import { left } from "left"\nexport const b = left\n',
        "other/node_modules/left/package.json": '{ "name": "left", "version": "2.0.0" }',
        "other/node_modules/left/index.js": text
      })
      const { root, write } = project(more("exports.left = 1"))
      const before = yield* codeOf(root)
      write("other/node_modules/left/index.js", "exports.left = 2")
      const after = yield* codeOf(root)
      assert.notStrictEqual(after.digest, before.digest)
      assert.hasAnyKeys(after.installed, ["left@1.0.0"])
      assert.hasAnyKeys(after.installed, ["left@2.0.0"])
    })
  )

  it.live("where packages lie says nothing: moved, or behind links as pnpm keeps them", () =>
    Effect.gen(function* () {
      const { root } = project()
      const before = yield* codeOf(root)
      renameSync(root, `${root}-moved`)
      assert.deepStrictEqual(yield* codeOf(`${root}-moved`), before)
      const modules = realpathSync(join(`${root}-moved`, "node_modules"))
      const kept = join(modules, ".pnpm/right@1.0.0/node_modules")
      mkdirSync(kept, { recursive: true })
      renameSync(join(modules, "right"), join(kept, "right"))
      symlinkSync(join(kept, "right"), join(modules, "right"))
      assert.deepStrictEqual(yield* codeOf(`${root}-moved`), before)
    })
  )
})
