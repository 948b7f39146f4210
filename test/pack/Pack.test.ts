/**
 * The package works where it is installed: what it holds, that the graph needs no other package, that a recipe of
 * another project runs, resumes and starts threads, that installed nodes are the nodes of the sources.
 */
import { execFile } from "node:child_process"
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { make } from "../../src/store/CodeDigest.ts"
import { layoutOf } from "../../src/store/Layout.ts"
import { type Block, blocksOf, isElsewhere, pages, tableUnder } from "../docs/Markdown.ts"
import { missing } from "../tensor/torch/built.ts"
import { digests, loads, say, sums, threads, uses, wrong } from "./Fixtures.ts"
import { manifestIn, optionalOf, type Packed, type Project, pack, project, root } from "./Project.ts"

const page = pages().find(({ path }) => path === "docs/use-from-elsewhere.md")!
const all = blocksOf(page)
const manifest = manifestIn(root)
const optional = optionalOf(manifest)
const targets = Object.entries(manifest.exports).flatMap(([entry, target]) =>
  typeof target === "string" ? [] : [{ entry, ...target }]
)
/** `./dag` as others import it. */
const specifier = (entry: string): string => entry.replace(/^\./, manifest.name)

/** The page's files by name: `// words.ts` in the first line. */
const files = new Map(
  all.flatMap((block): Array<[string, Block]> => {
    const name = /^\/\/ ([\w-]+\.ts)\n/.exec(block.text)?.[1]
    return name === undefined ? [] : [[name, block]]
  })
)
const config = all.find((block) => block.info === "json")!.text
const textOf = (name: string): string => files.get(name)!.text

let packed: Packed
let plain: Project
let full: Project
beforeAll(() => {
  packed = pack()
  plain = project(packed)
  full = project(packed, optional)
}, 300_000)
afterAll(() => {
  for (const one of [packed, plain, full]) one?.remove()
})

describe("the tarball", () => {
  it("holds code, declarations, the sample, and nothing else", () => {
    const stray = packed.files.filter(
      (path) =>
        !/^(package\.json|README\.md|LICENSE|dist\/((src|pipelines|datasets)\/.+|scripts\/build-torch)\.(js|d\.ts))$/.test(
          path
        )
    )
    const native = readdirSync(join(root, "native", "torch"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
      .filter((path) => !path.startsWith("native/torch/build/"))
    expect(native).toContain("native/torch/module.cc")
    const sample = readdirSync(join(root, "datasets", "sample"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    expect([...stray].sort()).toEqual(
      [
        ...sample,
        ...native,
        "src/data/wasm/jpeg.wasm",
        "src/data/wasm/resample.wasm",
        "src/tensor/wasm/kernels.wasm",
        "src/text/phrases.NOTICE.txt",
        "src/text/phrases.bin"
      ]
        .map((path) => `dist/${path}`)
        .sort()
    )
    expect(
      packed.files.filter((path) =>
        /(^|\/)(test|datasets\/generate|golden|assembly|build|\.millrace)(\/|\.)/.test(path)
      )
    ).toEqual([])
    expect(manifest.bin).toEqual({ "millrace-build-torch": "dist/scripts/build-torch.js" })
    expect(packed.files).toContain(manifest.bin["millrace-build-torch"])
  })

  it("has the JavaScript and the declarations of every entry", () => {
    expect(targets.length).toBeGreaterThan(30)
    const wanted = targets.flatMap((target) => [target.types, target.default].map((path) => path.slice(2)))
    expect(wanted.filter((path) => !packed.files.includes(path))).toEqual([])
  })

  it("exports every node and all that the recipe imports, as the page says", () => {
    const sources = targets.map((target) => target.default.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts"))
    const defining = readdirSync(join(root, "src", "nodes"))
      .filter((name) => /= (sharded|whole|fold)\(/.test(readFileSync(join(root, "src", "nodes", name), "utf8")))
      .map((name) => `src/nodes/${name}`)
    const recipe = readdirSync(join(root, "pipelines"))
      .filter((name) => name.startsWith("llava-phi"))
      .map((name) => readFileSync(join(root, "pipelines", name), "utf8"))
      .join("\n")
    const imported = [...recipe.matchAll(/from "\.\.\/([^"]+)"/g)]
      .map((match) => match[1]!)
      .map((path) => path.replace(/^src\/dag\/.*/, "src/dag/index.ts").replace(/^src\/run\/.*/, "src/run/index.ts"))
    expect(defining.length).toBeGreaterThan(15)
    expect([...defining, ...imported].filter((path) => !sources.includes(path))).toEqual([])
    const told = tableUnder(page, "## Entries").map(([entry]) => entry!.slice(1, -1))
    const isTold = (entry: string) => told.some((one) => one === entry || one === entry.replace(/[^/]+$/, "*"))
    expect(targets.map(({ entry }) => specifier(entry)).filter((entry) => !isTold(entry))).toEqual([])
  })

  it("asks for the versions that the repository tests", () => {
    for (const [name, range] of Object.entries(manifest.peerDependencies))
      expect(range.replace("^", ""), name).toBe(manifest.devDependencies[name])
    const typed = all
      .find((block) => block.text.includes("apache-arrow@"))!
      .text.trim()
      .split(" ")
      .slice(2)
    expect(typed.sort()).toEqual(optional.map((name) => `${name}@${manifest.devDependencies[name]}`).sort())
  })
})

describe("a project without the recipe's packages", () => {
  beforeAll(() => {
    plain.write("tsconfig.json", config)
    for (const name of ["nodes.ts", "words.ts", "program.ts"]) plain.write(name, textOf(name))
    plain.write("threads.ts", threads)
    plain.write("wrong.ts", wrong)
  })

  it("has none of them", () => {
    const there = readdirSync(join(plain.folder, "node_modules"))
    expect(optional.length).toBe(9)
    expect(optional.filter((name) => there.includes(name.split("/")[0]!))).toEqual([])
  })

  it("type-checks against the declarations, wrong wiring and internal files refused", {
    timeout: 120_000
  }, async () => {
    expect(await plain.complaints()).toBe("")
  })

  it("runs the page's recipe, and the second time everything is cached", { timeout: 120_000 }, async () => {
    const first = await plain.node(["words.ts"])
    expect(first.err + first.out).toContain("completed: 2 nodes ran, 0 cached")
    expect(first.err + first.out).toContain("1 (TooLong 1)")
    expect(first.code).toBe(0)
    const second = await plain.node(["words.ts"])
    expect(second.err + second.out).toContain("completed: 0 nodes ran, 2 cached")
    const longer = await plain.node(["words.ts", "--preset", "long", "--plan"])
    expect(longer.err + longer.out).toContain("will run, because parameter longest 5 to 50")
  })

  it("runs the recipe from the page's program, which leaves a record like any other", {
    timeout: 120_000
  }, async () => {
    const listed = async () =>
      (await plain.node(["words.ts", "runs"])).out.split("\n").filter((line) => / words /.test(line))
    const before = await listed()
    const { code, err, out } = await plain.node(["program.ts"])
    expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" })
    expect(out).toBe("1 1\n")
    expect((await plain.node(["program.ts"])).out).toBe("0 2\n")
    expect((await listed()).length).toBe(before.length + 2)
  })

  it("starts worker threads from the installed JavaScript", { timeout: 120_000 }, async () => {
    const counted = async (workers: string, store: string) => {
      const { code, err, out } = await plain.node(["threads.ts", "--json", "--workers", workers, "--store", store])
      expect(code, err).toBe(0)
      return JSON.parse(out.trim().split("\n").at(-1)!).metrics
    }
    expect(await counted("1", "threads-1")).toEqual({ report: { main: 0, elsewhere: 2 } })
    expect(await counted("0", "threads-0")).toEqual({ report: { main: 2, elsewhere: 0 } })
  })

  it("notices an edited node of its own, and not a comment", { timeout: 120_000 }, async () => {
    const planned = async () => {
      const { err, out } = await plain.node(["words.ts", "--plan"])
      return err + out
    }
    await plain.node(["words.ts"])
    plain.write("nodes.ts", `${textOf("nodes.ts")}\n// nothing\n`)
    expect(await planned()).toContain("2 cached, 0 will run")
    plain.write("nodes.ts", textOf("nodes.ts").replace("toUpperCase", "toLowerCase"))
    expect(await planned()).toContain("code of nodes.ts")
    plain.write("nodes.ts", textOf("nodes.ts"))
  })

  it.skipIf(missing !== "")(
    `builds the addon over libtorch from what is installed, and computes with it${missing}`,
    { timeout: 600_000 },
    async () => {
      plain.write("sums.mjs", sums)
      const { MILLRACE_TORCH_ADDON: _, ...env } = process.env
      const cache = join(plain.folder, "cache")
      const run = (args: ReadonlyArray<string>) =>
        promisify(execFile)(process.execPath, args, { cwd: plain.folder, env: { ...env, XDG_CACHE_HOME: cache } })
      const engines = ["torch", "auto"]
      await expect(run(["sums.mjs", ...engines])).rejects.toThrow("npx millrace-build-torch")
      const built = await run([join(plain.installed, manifest.bin["millrace-build-torch"]!)])
      expect(built.stdout).toContain("files compiled")
      const { stdout } = await run(["sums.mjs", ...engines])
      expect(stdout.trim().split("\n")).toEqual(["torch torch 10", "torch torch 10"])
      // Where the package's folder cannot be written to, the addon is found in the user's cache.
      const beside = join(plain.installed, "dist/native/torch/build")
      const { stdout: folder } = await run(["sums.mjs", "cache"])
      cpSync(beside, folder.trim(), { recursive: true })
      rmSync(beside, { recursive: true })
      expect((await run(["sums.mjs", "auto"])).stdout.trim()).toBe("torch torch 10")
    }
  )

  it("is told by name and hint which package a node needs", { timeout: 120_000 }, async () => {
    plain.write("say.mjs", say)
    const entries = ["data/Images", "nodes/KeepLanguages", "text/Conversation"]
    const { err, out } = await plain.node(["say.mjs", ...entries.map((entry) => `millrace/${entry}`)])
    expect(err).toBe("")
    expect(out.trim().split("\n")).toEqual([
      `millrace/data/Images true sharp npm install sharp@${manifest.devDependencies["sharp"]}`,
      `millrace/nodes/KeepLanguages true apache-arrow npm install apache-arrow@${manifest.devDependencies["apache-arrow"]}`,
      "millrace/text/Conversation works"
    ])
  })
})

describe("a project with all packages", () => {
  beforeAll(() => {
    full.write(
      "tsconfig.json",
      JSON.stringify({ compilerOptions: { ...JSON.parse(config).compilerOptions, skipLibCheck: true } })
    )
    for (const name of ["clean.ts", "llava.ts"]) full.write(name, textOf(name))
  })

  it("the graph, the store and the command line load none of them", async () => {
    full.write("loads.mjs", loads)
    const entries = ["dag", "run", "store", "cli"].map((entry) => `millrace/${entry}`)
    const { err, out } = await full.node(["loads.mjs", ...entries])
    expect(err).toBe("")
    // The parser of code digests is a dependency of its own, in a package for each platform.
    const loaded = (JSON.parse(out) as ReadonlyArray<string>).filter((name) => !name.startsWith("@oxc-parser/"))
    expect(loaded).toEqual(["effect", "millrace", "oxc-parser"])
  })

  it("every entry loads", { timeout: 120_000 }, async () => {
    full.write("loads.mjs", loads)
    const { err, out } = await full.node(["loads.mjs", ...targets.map(({ entry }) => specifier(entry))])
    expect(err).toBe("")
    expect(JSON.parse(out)).toEqual(expect.arrayContaining(["apache-arrow", "effect", "millrace", "sharp"]))
  })

  it("the page's other files compile and print what it says", { timeout: 120_000 }, async () => {
    expect(await full.complaints()).toBe("")
    const { err, out } = await full.node(["clean.ts"])
    expect(err).toBe("")
    expect(out).toBe(files.get("clean.ts")!.next!.text)
  })

  it("no code of the page is left out", () => {
    const tried = ["nodes.ts", "words.ts", "program.ts", "clean.ts", "llava.ts"]
    expect([...files.keys()].sort()).toEqual(tried.sort())
    const code = pages().flatMap(blocksOf).filter(isElsewhere)
    expect(code.filter((block) => ![...files.values()].some((one) => one.text === block.text))).toEqual([])
  })

  it("runs the recipe: pictures, threads and the engine from the installed place", { timeout: 120_000 }, async () => {
    const until = ["--until", "keepFormat,pretrain/computeFeatures", "--workers", "1"]
    const { code, err, out } = await full.node(["llava.ts", ...until])
    expect(code, err).toBe(0)
    expect(err + out).toContain("completed: 12 nodes ran, 0 cached")
    const again = await full.node(["llava.ts", ...until])
    expect(again.err + again.out).toContain("completed: 0 nodes ran, 12 cached")
  })

  it("installed nodes have the code digests of their sources", { timeout: 120_000 }, async () => {
    full.write("digests.mjs", digests)
    const names = ["CleanShareGpt", "TokenizeImages", "FilterCaptions", "TrainVision"]
    const ours = await Effect.runPromise(
      Effect.flatMap(make(layoutOf(join(full.folder, "ours")), { readOnly: true }), (codes) =>
        Effect.forEach(names, (name) => codes.digest({ file: join(root, "src", "nodes", `${name}.ts`), assets: [] }))
      ).pipe(Effect.provide(NodeFileSystem.layer))
    )
    const installed = (name: string) => join(full.installed, "dist", "src", "nodes", `${name}.js`)
    const { err, out } = await full.node(["digests.mjs", ...names.map(installed)])
    expect(err).toBe("")
    expect(ours.some((code) => code.weak)).toBe(false)
    expect(out.trim().split("\n")).toEqual(ours.map((code) => code.digest))
  })
})

describe("a node that imports the package", () => {
  it("depends on the nodes and texts that it uses, not on how they are run", { timeout: 120_000 }, async () => {
    const own = project(packed)
    try {
      own.write("digests.mjs", digests)
      own.write("uses.ts", uses)
      const digest = async () => {
        const { code, err, out } = await own.node(["digests.mjs", join(own.folder, "uses.ts")])
        expect(code, err).toBe(0)
        return out.trim()
      }
      const edit = (path: string, from: string, to: string) => {
        const text = readFileSync(join(own.installed, path), "utf8")
        expect(text).toContain(from)
        writeFileSync(join(own.installed, path), text.replace(from, to))
      }
      const before = await digest()
      expect(before).toMatch(/^[0-9a-f]{64}$/)
      edit("package.json", `"version": "${manifest.version}"`, '"version": "99.0.0"')
      edit("dist/src/dag/InstanceScope.js", "\n", "\nglobalThis.somethingNew = 1;\n")
      edit("dist/src/text/Split.js", "\n", "\nglobalThis.somethingNew = 1;\n")
      expect(await digest()).toBe(before)
      // Of another declaration in the same file, and of the one that the node uses.
      edit("dist/src/text/Conversation.js", "plugins: Schema.optional", "plugins: Schema.optionalKey")
      expect(await digest()).toBe(before)
      edit("dist/src/text/Conversation.js", "Schema.Array(ConversationTurn)", "Schema.NonEmptyArray(ConversationTurn)")
      expect(await digest()).not.toBe(before)
    } finally {
      own.remove()
    }
  })
})
