/**
 * Reads inputs of ten times a stated memory limit, and demands that the process that reads stays below it.
 *
 *     npm run soak -- memory                     every row: 2.5 to 4.5 GB each, made in the temporary folder and removed
 *     npm run soak -- memory --only json,tar     some of them
 *     npm run soak -- memory --times 1           inputs of once the limit: quick, and proves less
 *
 * Rows: json (an array), gzip (lines), clean (lines, cleaned and stored), zip, tar, arrow (shards in shuffled order),
 * run (readShareGpt and cleanShareGpt by the recipe's own command, once over a small file and once over one four times
 * as large: the second may take a fifth more, and the manifests' peaks must be what is seen from outside).
 *
 * The limit is resident memory of the process, its threads included, as Linux counts its peak. Ends with 1 when a row
 * goes over. Takes up to 6 GB of disk.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { makeShareGpt, memoryRows } from "./memory/Rows.ts"
import { watch } from "./Watch.ts"

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: { only: { type: "string" }, times: { type: "string", default: "10" } }
})
const times = Number(values.times)
const names = [...memoryRows.map(({ name }) => name), "run"]
const wanted = values.only?.split(",") ?? names
for (const name of wanted)
  if (!names.includes(name)) {
    console.error(`there is no row ${name}: ${names.join(", ")}`)
    process.exit(2)
  }
const MIB = 1 << 20
/** A process that is this far over its limit is ended. */
const SLACK = 3
/** Nothing here should take longer on a busy machine. */
const SECONDS = 3600

const mib = (bytes: number): string => `${Math.round(bytes / MIB).toLocaleString("en")} MiB`
const say = (line: string): void => console.log(line)

const inFolder = async (use: (folder: string) => Promise<boolean>): Promise<boolean> => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-memory-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const runRow = ({ limit, name }: (typeof memoryRows)[number]): Promise<boolean> =>
  inFolder(async (folder) => {
    const child = fileURLToPath(new URL("./memory/Child.ts", import.meta.url))
    const bytes = String(limit * times * MIB)
    const half = (what: string, megabytes: number, onLine: (line: string) => void) =>
      watch([child, name, what, folder, bytes], { seconds: SECONDS, megabytes }, () => "", onLine)
    const made = await half("make", 4096, () => undefined)
    let said = { bytes: 0, what: "nothing" }
    const started = performance.now()
    const read =
      made.wrong === undefined ? await half("read", limit * SLACK, (line) => (said = JSON.parse(line))) : made
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    const over = read.peak > limit * 1024
    const enough = said.bytes >= limit * times * MIB * 0.95
    const good = read.wrong === undefined && !over && enough
    const verdict = good ? "" : `FAILED ${read.wrong ?? (over ? "over its limit" : "too little was read")} `
    say(
      `${verdict}${name}: ${mib(said.bytes)} (${said.what}), peak RSS ${mib(read.peak * 1024)} of ${limit} MiB, ` +
        `${(said.bytes / (read.peak * 1024)).toFixed(1)} times the memory, ${seconds} s`
    )
    if (read.wrong !== undefined) say(read.stderr)
    return good
  })

/** Peaks in the manifests of a store. */
const manifestPeaks = (store: string): ReadonlyArray<number> =>
  readdirSync(store, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("manifest.json"))
    .map((name) => (JSON.parse(readFileSync(join(store, name), "utf8")) as { peakMemory: number }).peakMemory)

const runRecipe = (): Promise<boolean> =>
  inFolder(async (folder) => {
    const recipe = fileURLToPath(new URL("../../pipelines/llava-phi.ts", import.meta.url))
    const peaks: Array<number> = []
    let good = true
    for (const megabytes of [20, 80].map((size) => size * times)) {
      const data = join(folder, "sharegpt")
      const store = join(folder, "store")
      mkdirSync(data, { recursive: true })
      makeShareGpt(join(data, "part.json"), megabytes * MIB)
      process.env["MILLRACE_DATA"] = folder
      const args = [recipe, "--preset", "paper", "--until", "cleanShareGpt", "--store", store, "--workers", "2"]
      const started = performance.now()
      const ended = await watch(
        args,
        { seconds: SECONDS, megabytes: 4096 },
        () => "",
        () => undefined
      )
      const seconds = ((performance.now() - started) / 1000).toFixed(0)
      if (ended.wrong !== undefined) {
        say(`FAILED run: ${ended.wrong}\n${ended.stderr}`)
        return false
      }
      const recorded = Math.max(...manifestPeaks(store))
      const seen = ended.peak * 1024
      const honest = recorded >= seen * 0.8 && recorded <= seen * 1.1
      good &&= honest
      peaks.push(seen)
      say(
        `${honest ? "" : "FAILED the manifests say otherwise "}run: ${megabytes} MiB read and cleaned in 2 workers, ` +
          `peak RSS ${mib(seen)}, in the manifests ${mib(recorded)}, ${seconds} s`
      )
      rmSync(data, { recursive: true })
      rmSync(store, { recursive: true })
    }
    const grown = peaks[1]! / peaks[0]!
    const bounded = grown <= 1.2
    say(`${bounded ? "" : "FAILED "}run: four times the input, ${grown.toFixed(2)} times the memory (at most 1.20)`)
    return good && bounded
  })

say(`memory, ${times} times the limit, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
let failures = 0
for (const name of wanted) {
  const row = memoryRows.find((one) => one.name === name)
  if (!(await (row === undefined ? runRecipe() : runRow(row)))) failures++
}
say(failures === 0 ? "passed" : `${failures} failures`)
process.exitCode = failures === 0 ? 0 : 1
