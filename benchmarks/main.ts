/**
 * `npm run bench -- data`: what millrace does beside what else does it, on generated data, in one run.
 *
 *     npm run bench -- data [--python PY] [--json] [--size quick|full] [--only NAME,...] [--data DIR] [--keep]
 *     npm run bench -- train [--engine torch] [--peer pytorch] [--threads N] --python PY [--json] [--size quick|full]
 *     npm run bench -- loading [--engine torch] [--json] [--size quick|full]
 *     npm run bench -- gpu [--device cuda|cpu] [--size tiny|quick|full] [--python PY] [--json] [--only NAME,...]
 *     npm run bench -- generate DIR [--size quick|full] [--seed N]
 *
 * Exit codes: 0 every row has its peer, equal results and a ratio at its goal; 1 not so, the last line says which; 2
 * wrong usage. A missing peer is a row that failed.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { availableParallelism, cpus, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { removeMade } from "./Data.ts"
import { exitCode, jsonLine, table, verdict } from "./Report.ts"
import { type Benchmark, type Context, measure, type Outcome, type Size } from "./Row.ts"

/** Cores a run uses: what every goal is stated for. */
const CORES = 2
const PINNED = "MILLRACE_BENCH_PINNED"

/** Imported when asked for: what a suite measures takes a while to load. */
const suites: Readonly<Record<string, (options: SuiteOptions) => Promise<ReadonlyArray<Benchmark>>>> = {
  data: async () => (await import("./rows/index.ts")).dataRows,
  train: async ({ engine, threads }) => (await import("./rows/Train.ts")).trainRows(engine, threads),
  loading: async ({ engine }) => (await import("./rows/Loading.ts")).loadingRows(engine),
  gpu: async ({ device, size }) => (await import("./gpu/index.ts")).gpuRows(device, size)
}

interface SuiteOptions {
  readonly engine: string
  readonly device: "cpu" | "cuda"
  readonly size: Size
  readonly threads: number
}

const usage = `usage: npm run bench -- ${[...Object.keys(suites), "generate DIR"].join(" | ")} [flags]
  --size quick|full  how much data (quick); gpu: tiny walks through all of it in seconds
  --json             one JSON line a row in place of the table
  --only NAME,...    some rows alone
  --python PY        interpreter with pillow and pyarrow, or with torch and transformers, for peers in Python
  --engine NAME      train, loading: what computes (torch)
  --peer NAME        train: against whom (pytorch, the only one)
  --threads N        train: threads of either side (2)
  --device NAME      gpu: cuda, or cpu for a walk through (cuda)
  --data DIR         folder for what is made, and where it is looked for (default: a temporary one)
  --keep             leave what was made, for the next run
  --seed N           generate: another seed (0)`

const wrongUsage = (message: string): never => {
  process.stderr.write(`${message}\n${usage}\n`)
  process.exit(2)
}

const arguments_ = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        size: { type: "string", default: "quick" },
        json: { type: "boolean", default: false },
        only: { type: "string" },
        python: { type: "string" },
        engine: { type: "string", default: "torch" },
        peer: { type: "string", default: "pytorch" },
        device: { type: "string", default: "cuda" },
        threads: { type: "string", default: String(CORES) },
        data: { type: "string" },
        keep: { type: "boolean", default: false },
        seed: { type: "string", default: "0" },
        help: { type: "boolean", default: false }
      }
    })
  } catch (cause) {
    return wrongUsage(cause instanceof Error ? cause.message : String(cause))
  }
})()

/** Runs this command again on the first cores it may use, so that "two workers" is two cores on any machine. */
const pinned = (): boolean => {
  if (arguments_.positionals[0] === "gpu") return false
  if (process.platform !== "linux" || availableParallelism() <= CORES || process.env[PINNED] !== undefined) return false
  try {
    const allowed = execFileSync("taskset", ["-cp", String(process.pid)], { encoding: "utf8", stdio: "pipe" })
    const list = /: *([\d,-]+)\s*$/.exec(allowed)?.[1] ?? "0-1"
    const cores = list.split(",").flatMap((part) => {
      const [from, to = from] = part.split("-").map(Number)
      return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i)
    })
    const words = [
      "-c",
      cores.slice(0, CORES).join(","),
      process.execPath,
      ...process.execArgv,
      ...process.argv.slice(1)
    ]
    const { status } = spawnSync("taskset", words, { stdio: "inherit", env: { ...process.env, [PINNED]: "1" } })
    process.exitCode = status ?? 1
    return true
  } catch {
    return false // no taskset: the table's head prints the number of cores
  }
}

const runSuite = async (rows: ReadonlyArray<Benchmark>): Promise<0 | 1> => {
  const { values } = arguments_
  const data = values.data === undefined ? mkdtempSync(join(tmpdir(), "millrace-bench-")) : resolve(values.data)
  mkdirSync(data, { recursive: true })
  process.once("exit", () => {
    if (values.keep) process.stderr.write(`what was made stays in ${data}\n`)
    else if (values.data === undefined) rmSync(data, { recursive: true, force: true })
    else removeMade()
  })
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))
  const context: Context = {
    size: values.size as Size,
    data,
    python: values.python ?? (arguments_.positionals[0] === "gpu" ? "python3" : undefined),
    say: (what) => void process.stderr.write(`${what}\n`)
  }
  const machine = `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${availableParallelism()} of ${cpus().length} cores`
  context.say(`node ${process.version}, ${machine}, ${context.size}`)
  const outcomes: Array<Outcome> = []
  for (const row of rows) {
    context.say(`${row.name}: ${row.about}`)
    const started = performance.now()
    const outcome = await measure(row, context)
    outcomes.push(outcome)
    context.say(
      `${row.name}: ratio ${outcome.line.ratio ?? "-"} (${((performance.now() - started) / 1000).toFixed(0)} s)`
    )
    if (values.json) process.stdout.write(`${jsonLine(outcome.line)}\n`)
  }
  if (!values.json)
    process.stdout.write(`${table(outcomes)}\n`)
    // JSON lines stay alone on standard output.
  ;(values.json ? process.stderr : process.stdout).write(`${verdict(outcomes)}\n`)
  return exitCode(outcomes)
}

const main = async (): Promise<number> => {
  const { positionals, values } = arguments_
  const [word, folder] = positionals
  if (values.help) {
    process.stdout.write(`${usage}\n`)
    return 0
  }
  const sizes = word === "gpu" ? ["tiny", "quick", "full"] : ["quick", "full"]
  if (!sizes.includes(values.size)) return wrongUsage(`--size ${values.size}: ${sizes.join(", ")}`)
  if (word === "generate") {
    const seed = Number(values.seed)
    if (folder === undefined || !Number.isInteger(seed))
      return wrongUsage("generate needs a folder, and a whole --seed")
    const { generate } = await import("./generate/Layout.ts")
    await generate(
      resolve(folder),
      values.size as "quick" | "full",
      seed,
      (what) => void process.stdout.write(`${what}\n`)
    )
    return 0
  }
  const suite = word === undefined ? undefined : suites[word]
  if (suite === undefined || folder !== undefined) return wrongUsage(`unknown: ${positionals.join(" ")}`)
  if (values.peer !== "pytorch") return wrongUsage(`--peer ${values.peer}: pytorch`)
  if (values.device !== "cpu" && values.device !== "cuda") return wrongUsage(`--device ${values.device}: cuda or cpu`)
  const threads = Number(values.threads)
  if (!Number.isInteger(threads) || threads < 1) return wrongUsage(`--threads ${values.threads}: a number from 1`)
  const rows = await suite({ engine: values.engine, device: values.device, size: values.size as Size, threads })
  const only = values.only?.split(",")
  const unknown = only?.filter((name) => !rows.some((row) => row.name === name)) ?? []
  const names = rows.map(({ name }) => name).join(", ")
  if (unknown.length > 0) return wrongUsage(`--only: no row ${unknown.join(", ")}; there are ${names}`)
  return await runSuite(rows.filter(({ name }) => only === undefined || only.includes(name)))
}

if (!pinned()) process.exitCode = await main()
