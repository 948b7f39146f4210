/**
 * Kills a real recipe at random moments, again and again, and demands the uninterrupted run's digests in the end.
 *
 *     npm run soak                                        50 SIGKILLs of pipelines/llava-phi.ts
 *     npm run soak -- pipelines/other.ts --kills 200 --seed 7 -- --workers 2 --set sft/train.epochs=1
 *
 * Not a unit test: it takes minutes to hours. One store is filled without interruption; another is filled by processes
 * that are killed after a random time, until one completes, then yet another, until all kills are spent. Every
 * completed store is compared with the first, entry by entry, read byte by byte (`--verify`) and run once more, which
 * must compute nothing. A node that has ended, or a shard that was reported as done, must not be made again after a
 * kill. Prints what it does; ends with 1 on any difference, or when a run fails for another reason than the kill.
 *
 * What follows a second `--` goes to the recipe. Steps between checkpoints are 5 unless given there, so that folds get
 * somewhere between two kills. `--keep` leaves the stores for a look.
 */
import { spawn } from "node:child_process"
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
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
  /** Nodes that this process made to the end. */
  readonly made: ReadonlyArray<string>
  /** Shards that were done when a node started, and when last heard of; of all, where that is known. */
  readonly shards: ReadonlyMap<string, { readonly before: number; readonly after: number; readonly all: number }>
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
    const made: Array<string> = []
    const shards = new Map<string, { before: number; after: number; all: number }>()
    let last: Ended["last"]
    let rest = ""
    let errors = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()!
      for (const line of lines) {
        if (line === "") continue
        const event = JSON.parse(line)
        if (event.event === "node-start") {
          running.add(event.node)
          const before: number = event.shardsDone ?? 0
          if (event.shards !== undefined) shards.set(event.node, { before, after: before, all: event.shards })
        }
        if (event.event === "node-progress" && event.shardsDone !== undefined)
          shards.get(event.node)!.after = event.shardsDone
        if (event.event === "node-end") {
          running.delete(event.node)
          if (event.status === "ran") made.push(event.node)
        }
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
      const ms = performance.now() - started
      done({ killed: signal === "SIGKILL", ms, running: [...running], made, shards, last, errors })
    })
  })

const folders: Array<string> = []
const freshStore = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-soak-"))
  folders.push(folder)
  return join(folder, "store")
}

class Different extends Error {}

/** The digests of all entries of a store, by their place in it: key, code digest and port. */
const entriesIn = (store: string): Record<string, string> =>
  Object.fromEntries(
    globSync("entries/*/*/*/manifest.json", { cwd: store }).flatMap((path) => {
      const { outputs } = JSON.parse(readFileSync(join(store, path), "utf8")) as {
        readonly outputs: Readonly<Record<string, { readonly digest: string }>>
      }
      return Object.entries(outputs).map(([port, { digest }]) => [`${path} ${port}`, digest])
    })
  )

/** Follows the processes on one store: what one has finished, no later one may begin again. */
const makeMemory = () => {
  const ended = new Set<string>()
  const done = new Map<string, number>()
  return (store: string, now: Ended): void => {
    for (const node of now.made) if (ended.has(node)) throw new Different(`${node} was made twice (${store})`)
    for (const [node, { after, before }] of now.shards) {
      const known = done.get(node) ?? 0
      if (before < known) throw new Different(`${node} began again with ${before} of ${known} shards (${store})`)
      done.set(node, after)
    }
    for (const node of now.made) ended.add(node)
  }
}

/** A killed process's nodes, with the shards that were done. */
const told = ({ running, shards }: Ended): string =>
  running
    .map((node) => {
      const of = shards.get(node)
      return of === undefined ? node : `${node} (${of.after} of ${of.all} shards done)`
    })
    .join(", ") || "planning"

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
  const entries = entriesIn(join(folders[0]!, "store"))

  let killed = 0
  let stores = 0
  while (killed < kills) {
    const store = freshStore()
    stores++
    const remember = makeMemory()
    for (let attempt = 0; ; attempt++) {
      // Mostly somewhere in the next tenth of the work, now and then in the first moments or far on. Patience grows
      // with the attempts: a whole node that takes longer than every interval would never end.
      const kind = random()
      const span = (reference.ms - warm.ms) * (kind < 0.85 ? 0.1 : 0.5) * (1 + attempt / 25)
      const early = kind < 0.15
      const later = early ? warm.ms * (0.4 + 0.8 * random()) : warm.ms + random() * span
      const after = killed >= kills ? undefined : later
      const ended = await runOnce(store, after)
      remember(store, ended)
      if (!ended.killed) {
        same(store, completed(ended, `the run after ${killed} kills`).digests, digests)
        same(store, entriesIn(store), entries)
        say(`store ${stores} is complete after ${attempt} kills: equal digests in ${Object.keys(entries).length} ports`)
        break
      }
      killed++
      say(`kill ${killed} after ${(ended.ms / 1000).toFixed(2)} s in ${told(ended)}`)
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
