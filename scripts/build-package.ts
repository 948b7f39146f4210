/**
 * Builds `dist/`, what `npm pack` holds: JavaScript and declarations of the entries in package.json's `exports` and of
 * all that they import, and the files that this code reads. Runs by itself before `npm pack`.
 *
 * Not a bundler: one file a module, under the folders of the repository, so that paths beside a module stay right. What
 * no entry reaches does not ship. A file that is referred to and does not exist ends the build.
 */
import { execFileSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"

const root = fileURLToPath(new URL("..", import.meta.url))
const dist = join(root, "dist")

const Manifest = Schema.fromJsonString(
  Schema.Struct({
    exports: Schema.Record(
      Schema.String,
      Schema.Union([Schema.String, Schema.Struct({ types: Schema.String, default: Schema.String })])
    )
  })
)

/** Modules that are started by their address, or by a person: nothing imports them. */
const started = ["src/run/WorkerMain.ts", "scripts/build-torch.ts"]

const entries = (): ReadonlyArray<string> =>
  Object.values(Schema.decodeUnknownSync(Manifest)(readFileSync(join(root, "package.json"), "utf8")).exports)
    .flatMap((target) => (typeof target === "string" ? [] : [target.default]))
    .map((path) => path.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts"))

const compile = (): void => {
  const config = join(dist, "tsconfig.json")
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    rewriteRelativeImportExtensions: true,
    rootDir: "..",
    outDir: "."
  }
  const files = [...entries(), ...started].map((path) => `../${path}`)
  writeFileSync(
    config,
    JSON.stringify({ extends: "../tsconfig.json", compilerOptions, files, include: [], exclude: [] })
  )
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
  execFileSync(process.execPath, [tsc, "-p", config], { stdio: "inherit" })
  rmSync(config)
}

const built = (ending: string): ReadonlyArray<string> =>
  readdirSync(dist, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(ending))
    .map((path) => join(dist, path))

/**
 * `from "./Node.ts"` in a declaration: not rewritten by the compiler, and not every reader of declarations takes it.
 */
const renameInDeclarations = (): void => {
  for (const path of built(".d.ts")) {
    const text = readFileSync(path, "utf8")
    writeFileSync(path, text.replace(/((?:from |import\(|import )"\.[^"\n]*)\.ts"/g, '$1.js"'))
  }
}

/** What a module reads or imports beside it that the compiler did not write: wasm, vendored code, the sample. */
const copyWhatIsReferredTo = (): void => {
  for (const path of built(".js"))
    for (const line of readFileSync(path, "utf8").split("\n")) {
      if (line.trimStart().startsWith("*")) continue
      for (const match of line.matchAll(/(?:from |import\(|new URL\()"(\.[^"\n]+)"/g)) {
        const wanted = resolve(dirname(path), match[1]!)
        if (existsSync(wanted)) continue
        copy(join(root, relative(dist, wanted)), wanted, path)
        const types = wanted.replace(/\.js$/, ".d.ts")
        if (types !== wanted) copy(join(root, relative(dist, types)), types, path)
      }
    }
}

const copy = (from: string, to: string, because: string): void => {
  if (!existsSync(from)) throw new Error(`${because} refers to ${from}, which does not exist`)
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true })
}

rmSync(dist, { recursive: true, force: true })
mkdirSync(dist)
compile()
renameInDeclarations()
// The sample's folder holds a module already (JSON that is imported): it is copied whole, not only where it is missing.
cpSync(join(root, "datasets", "sample"), join(dist, "datasets", "sample"), { recursive: true })
// The addon is built where its libtorch is: the package holds its sources, without what was built here.
cpSync(join(root, "native", "torch"), join(dist, "native", "torch"), {
  recursive: true,
  filter: (path) => path !== join(root, "native", "torch", "build")
})
copyWhatIsReferredTo()
