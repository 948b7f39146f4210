/**
 * Gives every reader of foreign bytes random inputs, and demands that it accepts them or refuses them with a typed
 * error.
 *
 *     npm run soak -- fuzz                                      100,000 inputs of each kind, then the bombs
 *     npm run soak -- fuzz --count 2000 --seed 7 --only zip,json
 *     npm run soak -- fuzz --only zip --seed 7 --at 1234        one input again, with its stack
 *     npm run soak -- fuzz --only bombs
 *
 * Kinds: json, html, tokenizer, zip, tar, image, arrow, safetensors; `bombs` are crafted inputs, one process each.
 * Inputs are valid ones with bits, lengths, cuts and splices changed, noise, and valid ones left whole, whose result is
 * compared.
 *
 * A kind runs in a process of its own that is watched from here: one input may take `--limit` seconds (default 20), the
 * process `--memory` MiB (default 1,024). A crash, a hang or a broken promise is printed with the number that repeats
 * it; the process is started again behind it. Ends with 1 when there was any.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { bombs } from "./fuzz/Bombs.ts"
import { addTally, emptyTally, kinds, type Tally } from "./fuzz/Run.ts"
import { watch } from "./Watch.ts"

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    count: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    at: { type: "string" },
    limit: { type: "string", default: "20" },
    memory: { type: "string", default: "1024" }
  }
})
const say = (line: string): void => console.log(line)
const names = [...kinds.map(({ name }) => name), "bombs"]
const wanted = values.only?.split(",") ?? names
for (const name of wanted)
  if (!names.includes(name)) {
    console.error(`there is no kind ${name}: ${names.join(", ")}`)
    process.exit(2)
  }
const MOST_FAILURES = 20

const child = (file: string): string => fileURLToPath(new URL(`./fuzz/${file}`, import.meta.url))

const report = (name: string, tally: Tally, peak: number): void => {
  const { accepted = 0, ...refused } = tally.said
  const reasons = Object.entries(refused).sort(([, a], [, b]) => b - a)
  const all = reasons.reduce((sum, [, count]) => sum + count, 0)
  const list = reasons.map(([reason, count]) => `${reason} ${count.toLocaleString("en")}`).join(", ")
  const slowest = `slowest ${tally.slowest.ms.toFixed(0)} ms (input ${tally.slowest.index})`
  const counts = `${tally.inputs.toLocaleString("en")} inputs, ${accepted.toLocaleString("en")} accepted`
  say(
    `${name}: ${counts}, ${all.toLocaleString("en")} refused${list === "" ? "" : ` (${list})`}; ${slowest}; peak RSS ${Math.round(peak / 1024)} MiB`
  )
}

/** One kind, from one number to another; gives how many promises were broken. */
const runKind = async (name: string, from: number, to: number): Promise<number> => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-fuzz-"))
  const tally = emptyTally()
  let peak = 0
  const fail = (index: number, message: string): void => {
    tally.failures.push({ index, message })
    say(`FAILED ${name} input ${index}: ${message}`)
    say(`  again: npm run soak -- fuzz --only ${name} --seed ${values.seed} --at ${index}`)
  }
  try {
    for (let next = from; next < to && tally.failures.length < MOST_FAILURES; ) {
      const place = (): string => {
        try {
          return String(readFileSync(join(folder, "at")).readDoubleLE())
        } catch {
          return "" // not begun
        }
      }
      const limits = { seconds: Number(values.limit), megabytes: Number(values.memory) }
      const args = [child("Child.ts"), name, values.seed, String(next), String(to), folder]
      const ended = await watch(args, limits, place, (line) => {
        const part = JSON.parse(line) as Tally
        const { failures } = part
        addTally(tally, { ...part, failures: [] })
        for (const { index, message } of failures) fail(index, message)
      })
      peak = Math.max(peak, ended.peak)
      if (ended.wrong === undefined) break
      if (place() === "") {
        fail(next, `the process did not start: ${ended.wrong}\n${ended.stderr}`)
        break
      }
      const index = Number(place())
      fail(index, `${ended.wrong}\n${ended.stderr}`)
      next = index + 1
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  report(name, tally, peak)
  return tally.failures.length
}

const runBombs = async (): Promise<number> => {
  let failures = 0
  for (const bomb of bombs) {
    const started = performance.now()
    let said = ""
    const limits = { seconds: bomb.seconds, megabytes: bomb.megabytes }
    const ended = await watch(
      [child("BombChild.ts"), bomb.name],
      limits,
      () => "",
      (line) => {
        said = line
      }
    )
    const wrong = ended.wrong ?? (said === bomb.says ? undefined : `it says ${said}`)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    say(
      `${wrong === undefined ? "" : "FAILED "}bomb ${bomb.name}: ${wrong ?? said}; ${seconds} s of ${bomb.seconds}; ` +
        `peak RSS ${Math.round(ended.peak / 1024)} of ${bomb.megabytes} MiB${wrong === undefined ? "" : `\n${ended.stderr}`}`
    )
    if (wrong !== undefined) failures++
  }
  return failures
}

const from = values.at === undefined ? 0 : Number(values.at)
const to = values.at === undefined ? Number(values.count) : from + 1
say(`fuzz, seed ${values.seed}, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
let failures = 0
for (const name of wanted) failures += name === "bombs" ? await runBombs() : await runKind(name, from, to)
say(failures === 0 ? "passed" : `${failures} failures`)
process.exitCode = failures === 0 ? 0 : 1
