/**
 * `npm run pack:gpu [-- --out FILE] [--without-node]`: all that `bench -- gpu` needs on a machine without a network, in
 * one archive under 60 MB: sources, the modules they import, this Node, stripped, and `run.sh`.
 *
 * Not the npm package and not a bundle: files keep their places, so that paths beside a module stay right. That machine
 * brings torch, transformers and a C++ compiler; `run.sh` builds the addon over its `python3`'s torch and runs the
 * benchmark.
 */
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { build, type Plugin } from "esbuild"

const root = fileURLToPath(new URL("..", import.meta.url))
const MOST_BYTES = 60e6

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "millrace-gpu.tar.xz" },
    "without-node": { type: "boolean", default: false }
  }
})

/** Modules that are run there. */
const entries = ["benchmarks/main.ts", "scripts/build-torch.ts"]

/** Files that no module imports: what is compiled, what Python runs, what says which Node this is. */
const beside = [
  "LICENSE",
  "benchmarks/peer_pytorch.py",
  "benchmarks/peers/serve.py",
  ...readdirSync(join(root, "native/torch"), { recursive: true, encoding: "utf8" })
    .filter((name) => /(\.(cc|h|hpp)|\/target)$/.test(name))
    .map((name) => `native/torch/${name}`)
]

/** The other suites of the benchmark stay here. */
const otherSuites: Plugin = {
  name: "other-suites",
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/(rows|generate)\// }, ({ path }) => ({ path, external: true }))
}

/** Every file that the entries import, as esbuild resolves them; relative to the repository. */
const imported = async (): Promise<ReadonlyArray<string>> => {
  const { metafile } = await build({
    entryPoints: [...entries],
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    outdir: "nowhere",
    // As Node resolves, and not as a bundler does: the same files must be found there.
    conditions: ["node", "import", "default"],
    mainFields: ["main"],
    logLevel: "error",
    plugins: [otherSuites]
  })
  return Object.keys(metafile.inputs).filter((path) => !path.includes(":"))
}

/** The package.json of every package that a file lies in: Node reads them to resolve. */
const manifests = (files: ReadonlyArray<string>): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const file of files)
    for (let folder = dirname(file); folder.startsWith("node_modules"); folder = dirname(folder))
      if (existsSync(join(root, folder, "package.json"))) found.add(join(folder, "package.json"))
  return [...found]
}

const runScript = `#!/bin/sh
# Builds the addon over the torch of $PYTHON (python3) and runs the benchmark; words are passed on:
#   ./run.sh                              Phi-2 at full size on the GPU
#   ./run.sh --device cpu --size tiny     a walk through all of it in seconds
set -eu
cd "$(dirname "$0")"
node=./bin/node
[ -x "$node" ] || node=node
python=\${PYTHON:-python3}
"$node" scripts/build-torch.ts --torch "python:$python"
exec "$node" benchmarks/main.ts gpu --python "$python" "$@"
`

const copy = (into: string, file: string): void => {
  const to = join(into, file)
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(join(root, file), to)
}

/** This Node without its symbols, where `strip` is there to take them off; it must still run. */
const copyNode = (into: string): void => {
  const node = join(into, "bin", "node")
  mkdirSync(dirname(node))
  copyFileSync(process.execPath, node)
  chmodSync(node, 0o755)
  if (spawnSync("strip", [node]).status !== 0) process.stderr.write("node is packed with its symbols: no strip\n")
  execFileSync(node, ["--version"])
}

const staging = mkdtempSync(join(tmpdir(), "millrace-pack-"))
try {
  const folder = join(staging, "millrace-gpu")
  const files = await imported()
  for (const file of [...files, ...manifests(files), ...beside]) copy(folder, file)
  // Named at run time (`build-torch.ts` asks for its folder).
  const headers = dirname(createRequire(import.meta.url).resolve("node-api-headers/package.json"))
  cpSync(headers, join(folder, relative(root, headers)), { recursive: true })
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ type: "module", private: true })}\n`)
  writeFileSync(join(folder, "run.sh"), runScript, { mode: 0o755 })
  if (!values["without-node"]) copyNode(folder)
  const out = resolve(values.out)
  mkdirSync(dirname(out), { recursive: true })
  rmSync(out, { force: true })
  const env = { ...process.env, XZ_OPT: "-6 -T0" }
  execFileSync("tar", ["-cJf", out, "-C", staging, "millrace-gpu"], { stdio: "inherit", env })
  const { size } = statSync(out)
  process.stdout.write(`${out}: ${(size / 1e6).toFixed(1)} MB, ${files.length} modules\n`)
  if (size > MOST_BYTES) {
    process.stderr.write(`it is larger than ${MOST_BYTES / 1e6} MB: look at what the benchmark imports\n`)
    process.exitCode = 1
  }
} finally {
  rmSync(staging, { recursive: true, force: true })
}
