/**
 * The trials of `npm run soak -- chaos`, one kind after the other: what is done to a store, and what must hold
 * afterwards.
 *
 * A trial is named by seed, kind and number alone, so that it can be made again by itself. Each has a store of its own.
 * It gives what is wrong, in words; nothing is what is wanted.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { type Random, randomOf } from "../fuzz/Random.ts"
import { type Facts, factsOf, leftoversIn, wrongIn } from "./Check.ts"
import { cutPower, type Operation, readLog, survivals } from "./Power.ts"
import { type Bench, type Ended, type Faults, runOn, uglyIn } from "./Process.ts"

/** What all trials share: undisturbed runs, and logs of what they did to the disk. */
export interface Ground extends Bench {
  readonly folder: string
  readonly seed: string
  readonly reference: Facts
  /** Entries of the preset that trials run, of those of the reference. */
  readonly wanted: ReadonlyArray<string>
  /** A complete store of that preset. */
  readonly complete: string
  /** File operations of an undisturbed run. */
  readonly operations: number
  readonly logs: ReadonlyArray<Log>
}

interface Log {
  readonly name: string
  readonly operations: ReadonlyArray<Operation>
  readonly root: string
  readonly before: string
}

/** What came of a trial: how often the process was hit, in words for the table, and what is wrong. */
export interface Outcome {
  readonly did: Readonly<Record<string, number>>
  readonly wrong: ReadonlyArray<string>
}

export interface Kind {
  readonly name: string
  readonly about: string
  /** Needs the shim: skipped, and counted, where there is none. */
  readonly shim: boolean
  readonly run: (ground: Ground, random: Random, store: string, number: number) => Promise<Outcome>
}

const EVERY = ["--checkpoint-every", "5"]

const ranWell = ({ code, signal, stderr, stdout }: Ended, what: string): ReadonlyArray<string> =>
  code === 0 && signal === null ? [] : [`${what} ended with ${signal ?? code}: ${(stderr + stdout).slice(-600)}`]

/**
 * Runs to the end, and holds every file against the reference; then nothing may be left, and nothing to be made again.
 */
const recovers = async (ground: Ground, store: string, thorough: boolean): Promise<ReadonlyArray<string>> => {
  const last = await runOn(ground, store, EVERY)
  const wrong = [
    ...ranWell(last, "the run that goes on"),
    ...uglyIn(last),
    ...wrongIn(store, ground.reference, ground.wanted)
  ]
  if (!thorough || wrong.length > 0) return wrong
  const gc = await runOn(ground, store, ["--collect"], { command: "gc" })
  wrong.push(...ranWell(gc, "gc"), ...uglyIn(gc))
  wrong.push(...leftoversIn(store).map((path) => `${path} is left after gc`))
  const verified = await runOn(ground, store, ["--verify", "--json"])
  wrong.push(...ranWell(verified, "--verify"))
  if (!/"nodesRun":0\b/.test(verified.stdout)) wrong.push("--verify made something again in a sound store")
  wrong.push(...wrongIn(store, ground.reference, ground.wanted))
  return wrong
}

const kills: Kind = {
  name: "kill",
  about: "SIGKILL at a file operation, up to six in a row",
  shim: false,
  run: async (ground, random, store) => {
    const wanted = 1 + random.int(6)
    let killed = 0
    for (let tries = 0; killed < wanted && tries < 2 * wanted; tries++) {
      const operation = 1 + Math.floor(-Math.log(1 - random.next()) * (ground.operations / 4))
      const faults: Faults = { CHAOS_KILL: String(operation), CHAOS_AFTER: String(random.int(2)) }
      const workers = random.pick(["0", "1", "2"])
      const ended = await runOn(
        ground,
        store,
        ["--checkpoint-every", random.pick(["1", "3", "5"]), "--workers", workers],
        { faults }
      )
      if (ended.signal === "SIGKILL") killed++
      else if (ended.code === 0) break
      else return { did: { kills: killed }, wrong: ranWell(ended, "a run that was not killed") }
    }
    return { did: { kills: killed }, wrong: await recovers(ground, store, true) }
  }
}

const power: Kind = {
  name: "power",
  about: "power cut at a file operation, of a run, a repair, a collection or a run that goes on",
  shim: true,
  run: async (ground, random, store, number) => {
    const log = ground.logs[number % ground.logs.length]!
    const survival = survivals[Math.floor(number / ground.logs.length) % survivals.length]!
    cutPower(log, 1 + random.int(log.operations.length), survival, random, store)
    // A repair makes again what `--verify` finds: without it, sizes are all that a run looks at.
    return { did: { [`${log.name}, ${survival}`]: 1 }, wrong: await recovers(ground, store, number % 4 === 0) }
  }
}

const errnos = { EIO: 5, ENOSPC: 28, EDQUOT: 122, EROFS: 30, EACCES: 13, EMFILE: 24 } as const

const errors: Kind = {
  name: "error",
  about: "a file operation fails (EIO, ENOSPC, EDQUOT, EROFS, EACCES, EMFILE) or writes half, once or from then on",
  shim: true,
  run: async (ground, random, store) => {
    const name = random.pick([...Object.keys(errnos), "short write"] as Array<keyof typeof errnos | "short write">)
    const at = String(1 + random.int(ground.operations))
    const only = random.pick([undefined, undefined, "write", "open", "rename", "fsync", "mkdir", "link", "unlink"])
    const faults: Faults =
      name === "short write"
        ? { CHAOS_SHORT: at }
        : {
            CHAOS_FAIL: at,
            CHAOS_ERRNO: String(errnos[name]),
            CHAOS_TIMES: random.pick(["1", "1", "5", "1000000"]),
            ...(only === undefined ? {} : { CHAOS_ONLY: only })
          }
    const ended = await runOn(ground, store, [...EVERY, "--workers", random.pick(["0", "2"])], { faults })
    const what = `${name} at ${at} (${JSON.stringify(faults)}): `
    const wrong = [
      ...uglyIn(ended),
      ...(ended.code === 0 || ended.code === 1 ? [] : [`exit code ${ended.code}`]),
      ...(existsSync(store) ? wrongIn(store, ground.reference, ended.code === 0 ? ground.wanted : []) : [])
    ]
    wrong.push(...(await recovers(ground, store, false)))
    return { did: { [name]: 1 }, wrong: wrong.map((one) => what + one) }
  }
}

const filesOf = (store: string): ReadonlyArray<string> =>
  readdirSync(store, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort()

/** Kinds of files, so that each is hit as often: there are hundreds of shards and one `format.json`. */
const targets = {
  shard: /\/ports\/[^/]+\/\d+\.jsonl$/,
  tree: /\/ports\/(files|trend)\//,
  value: /\/value\.json$/,
  manifest: /\/manifest\.json$/,
  refused: /\/refused\//,
  "shard record": /\/shards\//,
  "run's record": /\/runs\//,
  "store's own": /\/(format|sources|code)\.json$|\/instances\//
} as const

const hurt = (path: string, random: Random): string => {
  const bytes = readFileSync(path)
  const how = random.pick(["bit", "bit", "cut", "empty", "gone", "longer"] as const)
  if (how === "gone") rmSync(path)
  else if (how === "empty") truncateSync(path, 0)
  else if (how === "cut") truncateSync(path, random.int(statSync(path).size))
  else if (how === "longer") writeFileSync(path, Buffer.concat([bytes, random.bytes(1 + random.int(40))]))
  else if (bytes.length > 0) {
    const at = random.int(bytes.length)
    bytes[at] = bytes[at]! ^ (1 << random.int(8))
    writeFileSync(path, bytes)
  }
  return how
}

const hurtOne = (store: string, random: Random): { readonly target: string; readonly what: string } => {
  const target = random.pick(Object.keys(targets) as Array<keyof typeof targets>)
  const path = random.pick(filesOf(store).filter((one) => targets[target].test(one)))
  return { target, what: `${path.slice(store.length + 1)}, ${hurt(path, random)}` }
}

const damage: Kind = {
  name: "damage",
  about: "a bit, a cut, more bytes or nothing left of a stored file, then --verify",
  shim: false,
  run: async (ground, random, store) => {
    cpSync(ground.complete, store, { recursive: true })
    const { target, what } = hurtOne(store, random)
    const verified = await runOn(ground, store, ["--verify"])
    const wrong = [
      ...ranWell(verified, "--verify"),
      ...uglyIn(verified),
      ...wrongIn(store, ground.reference, ground.wanted)
    ]
    return { did: { [target]: 1 }, wrong: wrong.map((one) => `${what}: ${one}`) }
  }
}

const readDamage: Kind = {
  name: "read",
  about: "a damaged file of an input, read by nodes with other parameters without --verify",
  shim: false,
  run: async (ground, random, store) => {
    cpSync(ground.complete, store, { recursive: true })
    const { target, what } = hurtOne(store, random)
    const ended = await runOn(ground, store, ["--preset", "other"])
    const wrong = [...uglyIn(ended)]
    // It may fail, with a hint; it may not store a wrong result. What was damaged itself is for --verify to find.
    const verified = await runOn(ground, store, ["--preset", "other", "--verify"])
    const again = await runOn(ground, store, ["--verify"])
    wrong.push(...ranWell(verified, "--verify"), ...ranWell(again, "--verify"), ...uglyIn(verified), ...uglyIn(again))
    wrong.push(...wrongIn(store, ground.reference, ground.wanted))
    return { did: { [target]: 1 }, wrong: wrong.map((one) => `${what}: ${one}`) }
  }
}

const together: Kind = {
  name: "together",
  about: "runs of two presets at once on one store, one killed, gc --collect meanwhile",
  shim: false,
  run: async (ground, random, store) => {
    const count = 2 + random.int(2)
    const victim = random.chance(0.6) ? random.int(count) : -1
    const jobs = Array.from({ length: count }, (_, i) => {
      const args = [...EVERY, "--workers", random.pick(["0", "2"]), ...(i % 2 === 1 ? ["--preset", "other"] : [])]
      if (i === 0 && random.chance(0.3)) args.push("--verify")
      if (i === count - 1 && random.chance(0.3))
        args.push("--force", random.pick(["dropCold", "joinReadings", "followTrend"]))
      return runOn(ground, store, args, i === victim ? { killAfterMs: 1000 + random.int(6000) } : {})
    })
    let over = false
    const all = Promise.all(jobs).finally(() => (over = true))
    const wrong: Array<string> = []
    let collections = 0
    while (!over) {
      await new Promise((resolve) => setTimeout(resolve, 300))
      if (over || !existsSync(join(store, "format.json"))) continue
      const gc = await runOn(ground, store, ["--collect"], { command: "gc" })
      collections++
      // It refuses to collect beside a run that lives, with a hint: that is no fault.
      if (!gc.stderr.includes("is alive")) wrong.push(...ranWell(gc, "gc beside runs"))
      wrong.push(...uglyIn(gc))
    }
    const ended = await all
    let killed = 0
    for (const [i, one] of ended.entries()) {
      if (i === victim && one.signal === "SIGKILL") killed++
      else wrong.push(...ranWell(one, `run ${i + 1} of ${count}`), ...uglyIn(one))
    }
    wrong.push(...(await recovers(ground, store, true)))
    return { did: { runs: count, killed, collections }, wrong }
  }
}

/** In the order of the table. `share`: of the trials. */
export const kinds: ReadonlyArray<Kind> = [kills, power, errors, damage, readDamage, together]

/** Runs one trial in a store of its own, which is removed unless something is wrong. */
export const runTrial = async (
  ground: Ground,
  kind: Kind,
  number: number
): Promise<Outcome & { readonly store: string }> => {
  const store = join(ground.folder, `${kind.name}-${number}`)
  const outcome = await kind.run(ground, randomOf(ground.seed, kind.name, number), store, number)
  if (outcome.wrong.length === 0) rmSync(store, { recursive: true, force: true })
  return { ...outcome, store }
}

/** Makes the undisturbed runs and, with a shim, the logs. */
export const layGround = async (bench: Bench, folder: string, seed: string): Promise<Ground> => {
  const must = async (
    store: string,
    args: ReadonlyArray<string>,
    options: Parameters<typeof runOn>[3] = {}
  ): Promise<void> => {
    const wrong = ranWell(await runOn(bench, store, args, options), "an undisturbed run")
    if (wrong.length > 0) throw new Error(wrong.join("\n"))
  }
  const logged = async (
    name: string,
    before: string | undefined,
    args: ReadonlyArray<string>,
    command?: string
  ): Promise<Log> => {
    const root = join(folder, `log-${name}`)
    if (before !== undefined) cpSync(before, root, { recursive: true })
    const path = join(folder, `${name}.log`)
    const faults = { CHAOS_LOG: path }
    await must(root, args, command === undefined ? { faults } : { command, faults })
    return { name, operations: readLog(path), root, before: before ?? join(folder, "nothing") }
  }
  const complete = join(folder, "complete")
  await must(complete, EVERY)
  const wanted = [...factsOf(complete).entries.keys()]
  const both = join(folder, "both")
  cpSync(complete, both, { recursive: true })
  await must(both, [...EVERY, "--preset", "other"])
  const reference = factsOf(both)
  if (reference.wrong.length > 0) throw new Error(`the undisturbed store is wrong: ${reference.wrong.join("\n")}`)
  if (bench.shim === undefined)
    return { ...bench, folder, seed, reference, wanted, complete, operations: 400, logs: [] }
  const run = await logged("run", undefined, [...EVERY, "--workers", "2"])
  const hurtStore = join(folder, "hurt")
  cpSync(complete, hurtStore, { recursive: true })
  const random = randomOf(seed, "hurt")
  for (const target of [targets.shard, targets.shard, targets.tree])
    truncateSync(random.pick(filesOf(hurtStore).filter((path) => target.test(path))), 1)
  const half = join(folder, "half")
  cutPower(run, Math.floor(run.operations.length / 2), "synced", random, half)
  mkdirSync(half, { recursive: true })
  const garbage = join(folder, "garbage")
  cpSync(both, garbage, { recursive: true })
  rmSync(join(garbage, "runs"), { recursive: true })
  rmSync(join(garbage, "instances"), { recursive: true })
  const logs = [
    run,
    await logged("repair", hurtStore, [...EVERY, "--verify"]),
    await logged("resume", half, EVERY),
    await logged("gc", garbage, ["--collect"], "gc")
  ]
  return { ...bench, folder, seed, reference, wanted, complete, operations: run.operations.length, logs }
}
