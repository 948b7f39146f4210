/**
 * Kills, power cuts, disk errors, damaged files and runs at once, on a small recipe, judged by a checker of its own.
 *
 *     npm run soak -- chaos                                as many trials as four minutes hold, up to 62
 *     npm run soak -- chaos --trials 1000 --seed 7 --only kill
 *     npm run soak -- chaos --only error --seed 7 --at 12  one trial again; its store stays for a look
 *
 * What is done is in `chaos/Trials.ts`, what must hold in `chaos/Check.ts`, which shares no code with the store. Prints
 * its counts as a table; ends with 1 when anything was wrong, and leaves those stores.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { buildShim } from "./chaos/Process.ts"
import { writeReadings } from "./chaos/recipe.ts"
import { type Kind, kinds, layGround, runTrial } from "./chaos/Trials.ts"

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    trials: { type: "string" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    at: { type: "string" },
    minutes: { type: "string" },
    jobs: { type: "string", default: "2" },
    folder: { type: "string", default: tmpdir() }
  }
})
const say = (line: string): void => console.log(line)

/** Minutes after which no trial is begun: with `--trials` or `--at` all are. */
const minutes = Number(values.minutes ?? (values.trials === undefined && values.at === undefined ? 4 : Infinity))

/** Trials of each kind at most, without `--trials`. */
const usual: Readonly<Record<string, number>> = { kill: 8, power: 16, error: 16, damage: 16, read: 4, together: 2 }

const names = kinds.map(({ name }) => name)
const only = values.only?.split(",") ?? names
for (const name of only)
  if (!names.includes(name)) {
    console.error(`there is no kind ${name}: ${names.join(", ")}`)
    process.exit(2)
  }
const countOf = ({ name }: Kind): number => (values.trials === undefined ? usual[name]! : Number(values.trials))

interface Row {
  trials: number
  wanted: number
  skipped: number
  wrong: number
  readonly did: Record<string, number>
}

const folder = mkdtempSync(join(values.folder, "millrace-chaos-"))
const source = join(folder, "readings.tsv")
writeReadings(source, 300)
const shim = buildShim(folder)
say(`chaos, seed ${values.seed}, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
if (shim === undefined)
  say(
    "NoShim: there is no C compiler or no Linux here: kills are made at calls of node:fs, power cuts and errors are skipped"
  )
const started = performance.now()
const ground = await layGround({ source, shim }, folder, values.seed)
say(
  `undisturbed: ${ground.wanted.length} entries, ${ground.operations} file operations, logs ${ground.logs.map(({ name, operations }) => `${name} ${operations.length}`).join(", ")}`
)

const table = new Map<string, Row>()
const queue: Array<{ readonly kind: Kind; readonly number: number }> = []
for (const kind of kinds.filter(({ name }) => only.includes(name))) {
  const row: Row = { trials: 0, wanted: 0, skipped: 0, wrong: 0, did: {} }
  table.set(kind.name, row)
  const from = values.at === undefined ? 0 : Number(values.at)
  const to = values.at === undefined ? countOf(kind) : from + 1
  if (kind.shim && shim === undefined) row.skipped = to - from
  else for (let number = from; number < to; number++) queue.push({ kind, number })
  row.wanted = to - from - row.skipped
}
// Of each kind some come early: the minutes may be over before all are begun.
const share = ({ kind, number }: (typeof queue)[number]): number => (number + 0.5) / table.get(kind.name)!.wanted
queue.sort((a, b) => share(a) - share(b))

const work = async (): Promise<void> => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (performance.now() - started > minutes * 60_000) return
    const { kind, number } = next
    const row = table.get(kind.name)!
    const { did, store, wrong } = await runTrial(ground, kind, number)
    row.trials++
    for (const [name, count] of Object.entries(did)) row.did[name] = (row.did[name] ?? 0) + count
    if (wrong.length === 0) continue
    row.wrong++
    say(`WRONG ${kind.name} ${number}:`)
    for (const line of wrong.slice(0, 8)) say(`  ${line}`)
    say(`  again: npm run soak -- chaos --only ${kind.name} --seed ${values.seed} --at ${number}; its store: ${store}`)
  }
}
await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work))

say("\n| kind | trials | not begun | skipped | wrong | of these |\n|---|---|---|---|---|---|")
for (const [name, { did, skipped, trials, wanted, wrong }] of table) {
  const list = Object.entries(did)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, count]) => `${what} ${count}`)
  say(`| ${name} | ${trials} | ${wanted - trials} | ${skipped} | ${wrong} | ${list.join("; ")} |`)
}
const wrong = [...table.values()].reduce((sum, row) => sum + row.wrong, 0)
say(
  `\n${wrong === 0 ? "passed" : `${wrong} trials went wrong`} in ${Math.round((performance.now() - started) / 1000)} s`
)
if (wrong === 0) rmSync(folder, { recursive: true, force: true })
process.exitCode = wrong === 0 ? 0 : 1
