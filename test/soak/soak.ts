/**
 * Kills a real recipe at random moments, again and again, and demands the uninterrupted run's digests in the end.
 *
 *     npm run soak                                        50 SIGKILLs of pipelines/llava-phi.ts
 *     npm run soak -- pipelines/other.ts --kills 200 --seed 7 -- --workers 2 --set sft/train.epochs=1
 *
 * Not a unit test: it takes minutes to hours. One store is filled without interruption; another is filled by processes
 * that are killed after a random time, until one completes, then yet another, until all kills are spent. Every completed
 * store is compared with the first, read byte by byte (`--verify`) and run once more, which must compute nothing. Prints
 * what it does; ends with 1 on any difference, or when a run fails for another reason than the kill.
 *
 * What follows a second `--` goes to the recipe. Steps between checkpoints are 5 unless given there, so that folds get
 * somewhere between two kills. `--keep` leaves the stores for a look.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"

const split = process.argv.indexOf("--", 2)
const { positionals, values } = parseArgs({
  args: process.argv.slice(2, split < 0 ? undefined : split),
  allowPositionals: true,
  options: {
    kills: { type: "string", default: "50" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    keep: { type: "boolean", default: false }
  }
})
const given = split < 0 ? [] : process.argv.slice(split + 1)
const flags = given.includes("--checkpoint-every") ? given : ["--checkpoint-every", "5", ...given]
const recipe = resolve(positionals[0] ?? "pipelines/llava-phi.ts")
const kills = Number(values.kills)
const say = (line: string): void => console.log(line)

/** mulberry32: the same kills for the same seed, as far as the machine's speed is the same. */
const makeRandom = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
const random = makeRandom(Number(values.seed))

interface Ended {
  readonly killed: boolean
  readonly ms: number
  /** Nodes that had started and not ended. */
  readonly running: ReadonlyArray<string>
  /** The last event, when there is one. */
  readonly last:
    | { readonly status: string; readonly nodesRun: number; readonly digests: Record<string, string> }
    | undefined
  readonly errors: string
}

/** Runs the recipe, and kills it after `killAfterMs`. */
const runOnce = (store: string, killAfterMs?: number, more: ReadonlyArray<string> = []): Promise<Ended> =>
  new Promise((done, broken) => {
    const started = performance.now()
    const child = spawn(process.execPath, [recipe, "--json", "--store", store, ...flags, ...more], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    const running = new Set<string>()
    let last: Ended["last"]
    let rest = ""
    let errors = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()!
      for (const line of lines) {
        if (line === "") continue
        const event = JSON.parse(line)
        if (event.event === "node-start") running.add(event.node)
        if (event.event === "node-end") running.delete(event.node)
        if (event.event === "run")
          last = {
            status: event.status,
            nodesRun: event.nodesRun,
            digests: Object.fromEntries(
              Object.entries<{ readonly digest: string }>(event.outputs).map(([name, output]) => [name, output.digest])
            )
          }
      }
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-4000)
    })
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs)
    child.once("error", broken)
    child.once("close", (_, signal) => {
      clearTimeout(timer)
      done({ killed: signal === "SIGKILL", ms: performance.now() - started, running: [...running], last, errors })
    })
  })

const folders: Array<string> = []
const freshStore = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-soak-"))
  folders.push(folder)
  return join(folder, "store")
}

class Different extends Error {}

const completed = (ended: Ended, what: string): NonNullable<Ended["last"]> => {
  if (ended.last?.status !== "completed")
    throw new Different(`${what} ended as ${ended.last?.status ?? "nothing"}:\n${ended.errors}`)
  return ended.last
}

const same = (store: string, found: Record<string, string>, wanted: Record<string, string>): void => {
  const names = [...new Set([...Object.keys(found), ...Object.keys(wanted)])]
  const wrong = names.filter((name) => found[name] !== wanted[name])
  if (wrong.length > 0)
    throw new Different(
      wrong
        .map((name) => `${name}: ${found[name] ?? "none"}, uninterrupted ${wanted[name] ?? "none"} (${store})`)
        .join("\n")
    )
}

const main = async (): Promise<void> => {
  say(`${recipe}, ${kills} kills, seed ${values.seed}, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`)
  const reference = await runOnce(freshStore())
  const { digests, nodesRun } = completed(reference, "the uninterrupted run")
  const warm = await runOnce(join(folders[0]!, "store"))
  say(
    `uninterrupted: ${nodesRun} nodes in ${(reference.ms / 1000).toFixed(1)} s; all cached: ${(warm.ms / 1000).toFixed(2)} s`
  )
  same(folders[0]!, completed(warm, "the second run").digests, digests)

  let killed = 0
  let stores = 0
  while (killed < kills) {
    const store = freshStore()
    stores++
    for (let attempt = 0; ; attempt++) {
      // Mostly somewhere in the next tenth of the work, now and then in the first moments or far on. Patience grows with
      // the attempts: a whole node that takes longer than every interval would never end.
      const kind = random()
      const span = (reference.ms - warm.ms) * (kind < 0.85 ? 0.1 : 0.5) * (1 + attempt / 25)
      const early = kind < 0.15
      const later = early ? warm.ms * (0.4 + 0.8 * random()) : warm.ms + random() * span
      const after = killed >= kills ? undefined : later
      const ended = await runOnce(store, after)
      if (!ended.killed) {
        same(store, completed(ended, `the run after ${killed} kills`).digests, digests)
        say(`store ${stores} is complete after ${attempt} kills: equal digests of ${Object.keys(digests).join(", ")}`)
        break
      }
      killed++
      say(`kill ${killed} after ${(ended.ms / 1000).toFixed(2)} s in ${ended.running.join(", ") || "planning"}`)
    }
    const checked = completed(await runOnce(store, undefined, ["--verify"]), "the verified run")
    if (checked.nodesRun !== 0) throw new Different(`${store}: --verify made ${checked.nodesRun} nodes again`)
    same(store, checked.digests, digests)
  }
  say(`passed: ${killed} SIGKILLs over ${stores} stores, every result equal to the uninterrupted run's`)
}

try {
  await main()
  if (!values.keep) for (const folder of folders) rmSync(folder, { recursive: true, force: true })
} catch (error) {
  if (!(error instanceof Different)) throw error
  console.error(`DIFFERENT: ${error.message}\nStores are left in ${folders.join(", ")}`)
  process.exitCode = 1
}
