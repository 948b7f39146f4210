/**
 * The small recipe trained by several real processes over the torch engine: the same losses as one gives, and a rank
 * that is killed or hangs ends all of them with one typed error, after which a run of any size goes on.
 *
 * Where there is no libtorch, or no compiler, each test is skipped and says so.
 */
import { execFileSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, test } from "vitest"
import { missing } from "../tensor/torch/built.ts"
import {
  type Bench,
  completed,
  type Ended,
  expectTidy,
  failed,
  filesBelow,
  freshFolder,
  lastOf,
  makeBench,
  type Running
} from "./Bench.ts"

/** Largest relative difference of a loss at another number of ranks, where f32 sums are added in another order. */
const TOLERANCE = 1e-4

const stages = ["sft/train", "pretrain/train", "instruct/train"] as const

/** Losses of every training node of a store that has been trained to the end, by the number of steps. */
const lossesOf = (store: string): ReadonlyArray<ReadonlyArray<number>> =>
  filesBelow(join(store, "entries"), "value.json")
    .map((path) => JSON.parse(readFileSync(path, "utf8")) as { readonly losses?: ReadonlyArray<number> })
    .flatMap(({ losses }) => (losses === undefined ? [] : [losses]))
    .sort((a, b) => a.length - b.length || a[0]! - b[0]!)

const expectAlike = (one: ReadonlyArray<ReadonlyArray<number>>, other: ReadonlyArray<ReadonlyArray<number>>): void => {
  expect(other.map((losses) => losses.length)).toEqual(one.map((losses) => losses.length))
  for (const [stage, losses] of one.entries())
    for (const [step, loss] of losses.entries())
      expect(Math.abs(other[stage]![step]! - loss) / loss, `stage ${stage}, step ${step}`).toBeLessThan(TOLERANCE)
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

/** Two threads of a rank: the engine's and the loader's. */
const torch = ["--engine", "torch", "--workers", "2"]
/** Threads of one rank; ranks share the cores. */
const env = { OMP_NUM_THREADS: "1", MILLRACE_RANK_SECONDS: "6" }
/** The token that a launcher's caller gives all ranks. */
const token = randomBytes(32).toString("hex")

/** Ranks as a launcher would start them. */
const startRanks = async (
  bench: Bench,
  world: number,
  args: ReadonlyArray<string>,
  more: Readonly<Record<string, string>> = {}
): Promise<ReadonlyArray<Running>> => {
  const port = String(await freePort())
  return Array.from({ length: world }, (_, rank) =>
    bench.start([...torch, ...args], {
      env: {
        ...env,
        ...more,
        MILLRACE_RANKS: token,
        RANK: String(rank),
        WORLD_SIZE: String(world),
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: port
      }
    })
  )
}

/** Rank 0's run under `--nproc`, as a person types it. */
const startWorld = (bench: Bench, world: number, args: ReadonlyArray<string>): Running =>
  bench.start([...torch, ...(world === 1 ? [] : ["--nproc", String(world)]), ...args], { env })

const checkpoint = /"event":"checkpoint".*"node":"sft\/train"/
/** Long enough to be ended in the middle; the same node whatever ends it. */
const long = ["--until", "sft/train", "--checkpoint-every", "3", "--set", "sft/train.epochs=8"]

const resumedAt = ({ events }: Ended): number => {
  const start = events.find((event) => event.event === "node-start" && event.node === "sft/train")
  return start?.event === "node-start" ? (start.resumedAt ?? 0) : 0
}

const expectLost = async (running: Running, rank: number, said: RegExp): Promise<void> => {
  const ended = await running.ended
  expect(ended.signal, ended.stderr).toBe(null)
  if (rank > 0) {
    // A rank that follows writes no events.
    expect(ended.code, ended.stderr).toBe(1)
    expect(ended.stderr).toMatch(/error: RankLost/)
    expect(ended.stderr).toMatch(said)
    expect(ended.stderr).toMatch(/hint: Run the same command again/)
    return
  }
  const error = failed(ended)
  expect(error.tag).toBe("RankLost")
  expect(error.message).toMatch(said)
  expect(error.hint).toMatch(/Run the same command again/)
}

/** Goes on with another number of ranks, to losses like those of a run that nobody disturbed. */
const goesOn = async (bench: Bench, world: number): Promise<void> => {
  const ended = await startWorld(bench, world, long).ended
  completed(ended)
  expect(resumedAt(ended)).toBeGreaterThan(0)
  expectAlike(await undisturbed(), lossesOf(bench.store))
  const collected = await bench.run(["gc", "--collect"], { plain: true })
  expect(collected.code, collected.stderr).toBe(0)
  expectTidy(bench.store)
  // The number of ranks is in no key: whatever made a result, any number takes it.
  expect(completed(await startWorld(bench, 1, long).ended).nodesRun).toBe(0)
}

let straight: Promise<ReadonlyArray<ReadonlyArray<number>>> | undefined
/** Losses of the long stage by one process. */
const undisturbed = () =>
  (straight ??= makeBench().then(async (bench) => {
    completed(await startWorld(bench, 1, long).ended)
    return lossesOf(bench.store)
  }))

/** The ranks that a process has started: its children that run the recipe. */
const ranksOf = (pid: number): ReadonlyArray<number> =>
  execFileSync("ps", ["-o", "pid=,args=", "--ppid", String(pid)], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes("small.ts"))
    .map((line) => Number.parseInt(line, 10))

/** Whether a process is there and is no zombie whose parent is gone. */
const isAlive = (pid: number): boolean => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")
  } catch {
    return false
  }
}

const untilGone = async (pids: ReadonlyArray<number>): Promise<void> => {
  while (pids.some(isAlive)) await sleep(100)
}

describe.skipIf(missing !== "")(`ranks${missing}`, () => {
  test("2 and 4 of them train all stages with the losses of one, with frozen parts, pictures and recomputed blocks", async () => {
    const losses = []
    for (const world of [1, 2, 4]) {
      const bench = await makeBench()
      const ended = await startWorld(bench, world, ["--until", "instruct/train"]).ended
      completed(ended)
      const trained = ended.events.flatMap((event) =>
        event.event === "node-end" && event.kind === "fold" ? [event.node] : []
      )
      expect(trained.sort()).toEqual([...stages].sort())
      losses.push(lossesOf(bench.store))
      expect(losses[0]!.length).toBe(3)
    }
    expectAlike(losses[0]!, losses[1]!)
    expectAlike(losses[0]!, losses[2]!)
  }, 600_000)

  test("that find a damaged input compute it again, and train with the losses of one", async () => {
    const bench = await makeBench()
    completed(await startWorld(bench, 1, ["--until", "sft/holdOut"]).ended)
    const path = filesBelow(join(bench.store, "entries"), "").find((one) => /ports\/train\/00000\.\w+$/.test(one))!
    const whole = readFileSync(path)
    const bytes = Buffer.from(whole)
    bytes[bytes.length >> 1]! ^= 1
    chmodSync(path, 0o644)
    writeFileSync(path, bytes)
    const ended = await startWorld(bench, 2, long).ended
    completed(ended)
    const said = ended.events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))
    expect(said.filter((one) => one.startsWith("sft/holdOut"))).toEqual([
      expect.stringMatching(/damaged in the store: train\/00000\.\w+; sft\/train met it, and it is made again/),
      expect.stringMatching(/came out as before; sft\/train starts again/)
    ])
    expect(readFileSync(path)).toEqual(whole)
    expectAlike(await undisturbed(), lossesOf(bench.store))
  }, 600_000)

  test("one that follows and is killed ends all with an error that names it, and the run goes on alone", async () => {
    const bench = await makeBench()
    const ranks = await startRanks(bench, 3, long)
    await ranks[0]!.until(checkpoint)
    ranks[1]!.child.kill("SIGKILL")
    await expectLost(ranks[0]!, 0, /rank 1 of 3 (is gone|was ended)/)
    await expectLost(ranks[2]!, 2, /rank 1 of 3 (is gone|was ended)/)
    await goesOn(bench, 1)
  }, 600_000)

  test("that leads and is killed ends the others, also those it started itself, and the run goes on with three", async () => {
    const bench = await makeBench()
    const running = startWorld(bench, 2, long)
    await running.until(checkpoint)
    const others = ranksOf(running.child.pid!)
    expect(others.length).toBe(1)
    running.child.kill("SIGKILL")
    expect((await running.ended).stderr).toMatch(/rank 1 ends: rank 0 of 2 is gone/)
    await untilGone(others)
    await goesOn(bench, 3)
  }, 600_000)

  test("one that hangs ends the others with an error that names it, and the run goes on with two", async () => {
    const bench = await makeBench()
    const ranks = await startRanks(bench, 3, long)
    await ranks[0]!.until(checkpoint)
    ranks[2]!.child.kill("SIGSTOP")
    await expectLost(ranks[0]!, 0, /rank 2 of 3 has said nothing for 6 s/)
    await expectLost(ranks[1]!, 1, /rank 2 of 3 has said nothing for 6 s/)
    // When it wakes, nobody is there.
    ranks[2]!.child.kill("SIGCONT")
    await expectLost(ranks[2]!, 2, /rank 0 of 3/)
    await goesOn(bench, 2)
  }, 600_000)

  test.each([0, 1])(
    "rank %i, whose engine hangs in a call that cannot be ended, ends itself after all others",
    async (hung) => {
      const bench = await makeBench()
      const fifo = join(freshFolder(), "fifo")
      const ranks = await startRanks(bench, 2, long, { E2E_HANG: `${hung}:${fifo}`, MILLRACE_COLLECTIVE_SECONDS: "5" })
      await ranks[0]!.until(checkpoint)
      execFileSync("mkfifo", [fifo])
      const other = 1 - hung
      const ended = await ranks[other]!.ended
      expect([ended.code, ended.signal], ended.stderr).toEqual([1, null])
      expect(ended.stderr).toMatch(/CollectiveFailed: .*hint: Another process of the run ended, hangs/s)
      const gone = await ranks[hung]!.ended
      expect(gone.signal, gone.stderr).toBe("SIGKILL")
      expect(gone.stderr).toMatch(/error: RankLost.*its engine hangs in a call that cannot be ended/s)
      await goesOn(bench, 1)
    },
    600_000
  )

  test("that lead and hang are left by the others", async () => {
    const bench = await makeBench()
    const ranks = await startRanks(bench, 2, long)
    await ranks[0]!.until(checkpoint)
    ranks[0]!.child.kill("SIGSTOP")
    await expectLost(ranks[1]!, 1, /rank 0 of 2 has said nothing for 6 s/)
    ranks[0]!.child.kill("SIGCONT")
    await expectLost(ranks[0]!, 0, /rank 1 of 2 is gone/)
    await goesOn(bench, 1)
  }, 600_000)

  test("stop at Ctrl-C with a checkpoint, and leave no process", async () => {
    const bench = await makeBench()
    const running = startWorld(bench, 2, long)
    await running.until(checkpoint)
    const others = ranksOf(running.child.pid!)
    running.child.kill("SIGINT")
    const ended = await running.ended
    expect(ended.code, ended.stderr).toBe(130)
    expect(lastOf(ended)).toMatchObject({ status: "interrupted" })
    await untilGone(others)
    await goesOn(bench, 2)
    // As many ranks as before: to the bit, as if nobody had stopped them.
    const other = await makeBench()
    completed(await startWorld(other, 2, long).ended)
    const modelsOf = (store: string) =>
      filesBelow(join(store, "entries"), "ports/model/model.safetensors").map((path) =>
        createHash("sha256").update(readFileSync(path)).digest("hex")
      )
    expect(modelsOf(bench.store).length).toBeGreaterThan(1)
    expect(modelsOf(bench.store).toSorted()).toEqual(modelsOf(other.store).toSorted())
    expect(lossesOf(bench.store)).toEqual(lossesOf(other.store))
  }, 600_000)
})
