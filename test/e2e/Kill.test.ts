/**
 * SIGKILL inside any kind of node and any training stage, and Ctrl-C, lose nothing that was finished: the rerun ends
 * with the digests of a run that nobody disturbed.
 *
 * One store is killed again and again on its way to the end; each rerun must take what was finished, and training must
 * go on from its newest checkpoint. Steps are random: the seed is printed by a failing test, `E2E_SEED` sets it.
 */
import { describe, expect, test } from "vitest"
import {
  type Bench,
  completed,
  digestsOf,
  type Ended,
  expectTidyAfterKills,
  lastOf,
  makeBench,
  nodes,
  nodesThat,
  startProcess
} from "./Bench.ts"

/** What the outputs are when nothing goes wrong. */
let undisturbed: Promise<Readonly<Record<string, string>>> | undefined
const reference = () => (undisturbed ??= makeBench().then(async (bench) => digestsOf(completed(await bench.run()))))

const seed = Number(process.env["E2E_SEED"] ?? Date.now() % 100_000)
let state = seed
/** An integer from `least` to `most`, both included (mulberry32). */
const random = (least: number, most: number): number => {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return least + (((t ^ (t >>> 14)) >>> 0) % (most - least + 1))
}

const event = (kind: string, node: string, rest = ""): string =>
  `"event":"${kind}",.*"node":"(?:${node})"${rest === "" ? "" : `.*${rest}`}`
/** The first sign of life at a step or after it: progress is told ten times a second at most. */
const fromStep = (node: string, step: number): string => {
  const steps = Array.from({ length: 40 }, (_, i) => step + i).join("|")
  return event("node-progress", node, `"step":(?:${steps}),`)
}

const stepsOf = ({ events }: Ended, node: string): ReadonlyArray<number> =>
  events.flatMap((one) => (one.event === "node-progress" && one.node === node ? [one.step ?? -1] : []))
const checkpointsOf = ({ events }: Ended, node: string): ReadonlyArray<number> =>
  events.flatMap((one) => (one.event === "checkpoint" && one.node === node ? [one.step] : []))
const startOf = ({ events }: Ended, node: string) => {
  const start = events.find((one) => one.event === "node-start" && one.node === node)
  return start?.event === "node-start" ? start : undefined
}

/** What killed runs finished and saved, which the next one may not do again. */
const makeMemory = () => {
  const done = new Set<string>()
  const saved = new Map<string, number>()
  return (ended: Ended): void => {
    const ran = nodesThat("ran", ended)
    expect(ran.filter((node) => done.has(node))).toEqual([])
    for (const [node, step] of saved) {
      const start = startOf(ended, node)
      if (start !== undefined) expect(start.resumedAt ?? 0, `${node} of seed ${seed}`).toBeGreaterThanOrEqual(step)
    }
    for (const node of ran) done.add(node)
    for (const node of ["sft/train", "pretrain/train", "instruct/train"])
      saved.set(node, Math.max(saved.get(node) ?? 0, ...checkpointsOf(ended, node)))
  }
}

const finishes = async (bench: Bench, ended: Ended): Promise<void> => {
  expect(digestsOf(completed(ended)), `seed ${seed}`).toEqual(await reference())
  await expectTidyAfterKills(bench)
}

describe("SIGKILL", () => {
  test("inside one node of each kind after another, on one store", async () => {
    const bench = await makeBench()
    const remember = makeMemory()
    const pictures = ["--until", "pretrain/computeFeatures"]
    const moments: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      [event("node-start", "readCaptions"), pictures], // whole, a file
      [event("node-start", "filterCaptions"), pictures], // whole, rows
      [event("node-progress", "pretrain/tokenizeImages", '"shardsDone":[1-9]'), pictures], // sharded, images
      [event("node-start", "pretrain/computeFeatures"), pictures], // sharded, with an engine
      [event("node-start", "cleanShareGpt"), []], // sharded, text
      [event("node-start", "dropDuplicates"), []],
      [event("node-progress", "keepLanguages"), []],
      [event("node-start", "sft/train"), []], // fold, before its first step
      [event("node-start", "exportCheckpoint"), []], // whole, a tree of files
      [event("node-start", "evaluate/answers"), []] // whole, a value
    ]
    for (const [line, until] of moments) {
      const ended = await bench.run(["--workers", String(random(0, 2)), ...until], { kill: { line } })
      expect(ended.signal, `seed ${seed}, ${line}\n${ended.stderr}`).toBe("SIGKILL")
      remember(ended)
    }
    const ended = await bench.run()
    remember(ended)
    await finishes(bench, ended)
  }, 240_000)

  test("at random steps of each training stage goes on from the newest checkpoint, to the bit", async () => {
    const bench = await makeBench()
    const remember = makeMemory()
    for (const node of ["sft/train", "pretrain/train", "instruct/train"]) {
      const every = ["--checkpoint-every", String(random(1, 3))]
      // First where there is something to go on from, then somewhere between two checkpoints.
      for (const kill of [
        { line: event("checkpoint", node), nth: random(1, 2) },
        { line: fromStep(node, random(4, 9)) }
      ]) {
        const ended = await bench.run(every, { kill })
        expect(ended.signal, `seed ${seed}\n${ended.stderr}`).toBe("SIGKILL")
        expect(nodesThat("ran", ended)).not.toContain(node)
        remember(ended)
      }
    }
    const ended = await bench.run()
    remember(ended)
    expect(startOf(ended, "instruct/train")?.resumedAt ?? 0).toBeGreaterThan(0)
    await finishes(bench, ended)
  }, 240_000)

  test("while checkpoints are written, twice, leaves a valid one", async () => {
    const bench = await makeBench()
    for (const nth of [random(1, 3), random(1, 3)]) {
      const kill = { line: event("checkpoint", "sft/train"), nth }
      const ended = await bench.run(["--checkpoint-every", "1", "--until", "sft/train"], { kill })
      expect(ended.signal, ended.stderr).toBe("SIGKILL")
    }
    const ended = await bench.run()
    expect(startOf(ended, "sft/train")?.resumedAt).toBeGreaterThanOrEqual(2)
    await finishes(bench, ended)
  }, 120_000)
})

describe("Ctrl-C", () => {
  test.each([
    ["sft/train", "SIGINT"],
    ["instruct/train", "SIGTERM"]
  ] as const)(
    "inside %s (%s) ends with 130 and a command that goes on to equal digests",
    async (node, signal) => {
      const bench = await makeBench()
      const at = random(2, 6)
      const running = bench.start([], { kill: { line: fromStep(node, at), signal } })
      const ended = await running.ended
      expect(ended.code, ended.stderr).toBe(130)
      expect(lastOf(ended)).toMatchObject({ status: "interrupted", outputs: {} })
      const command = /interrupted; to go on: (.*)/.exec(ended.stderr)?.[1]
      expect(command).toBeDefined()
      const resumed = await startProcess("/bin/sh", ["-c", command!], { env: { E2E_SOURCES: bench.sources } }).ended
      // A polite stop saves a checkpoint: no step is done twice.
      expect(startOf(resumed, node)?.resumedAt, `seed ${seed}`).toBeGreaterThanOrEqual(
        Math.max(...stepsOf(ended, node))
      )
      expect(nodesThat("ran", resumed).filter((one) => nodesThat("ran", ended).includes(one))).toEqual([])
      expect(lastOf(resumed).nodesRun + lastOf(ended).nodesRun).toBe(nodes)
      await finishes(bench, resumed)
    },
    120_000
  )

  test("while data is read and pictures are decoded keeps the shards that are finished", async () => {
    const bench = await makeBench()
    const ended = await bench.run(["--workers", "1"], {
      kill: { line: event("node-start", "pretrain/tokenizeImages"), signal: "SIGINT" }
    })
    expect(ended.code, ended.stderr).toBe(130)
    const resumed = await bench.run()
    expect(nodesThat("ran", resumed).filter((one) => nodesThat("ran", ended).includes(one))).toEqual([])
    await finishes(bench, resumed)
  }, 120_000)
})
