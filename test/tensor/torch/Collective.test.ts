/** Collectives between real processes over c10d, and what is left of them when one ends or does not come. */
import { type ChildProcess, spawn } from "node:child_process"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { missing } from "./built.ts"

const fixture = join(import.meta.dirname, "fixtures/rank.ts")
const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

interface Rank {
  readonly child: ChildProcess
  readonly ready: Promise<void>
  readonly ended: Promise<{ readonly code: number | null; readonly lines: ReadonlyArray<any>; readonly stderr: string }>
}

const startRank = (rank: number, world: number, port: number, what: string): Rank => {
  const child = spawn(process.execPath, [fixture, ...[rank, world, port].map(String), what], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, MILLRACE_COLLECTIVE_SECONDS: "5", OMP_NUM_THREADS: "1" }
  })
  children.add(child)
  let stdout = ""
  let stderr = ""
  child.stderr!.on("data", (data: Buffer) => {
    stderr += data.toString()
  })
  const ended: Rank["ended"] = new Promise((resolve) =>
    child.once("close", (code) => {
      const lines = stdout.split("\n").slice(0, -1)
      resolve({ code, lines: lines.map((line) => JSON.parse(line) as unknown), stderr })
    })
  )
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", (data: Buffer) => {
      stdout += data.toString()
      if (stdout.includes('"ready"\n')) resolve()
    })
    void ended.then(() => reject(new Error(`rank ${rank} ended before it was ready: ${stderr}`)))
  })
  return { child, ready, ended }
}

/** Ranks that have met; `what` each does. */
const startRanks = async (...what: ReadonlyArray<string>): Promise<ReadonlyArray<Rank>> => {
  const port = await freePort()
  const ranks = what.map((one, rank) => startRank(rank, what.length, port, one))
  await Promise.all(ranks.map(({ ready }) => ready))
  return ranks
}

describe.skipIf(missing !== "")(`collectives over c10d${missing}`, () => {
  for (const world of [2, 3])
    it(`of ${world} ranks give every rank what they promise`, async () => {
      const ranks = await startRanks(...Array.from({ length: world }, () => "all"))
      const all = Array.from({ length: world }, (_, rank) => rank)
      for (const [rank, { ended }] of ranks.entries()) {
        const { code, lines, stderr } = await ended
        expect(code, stderr).toBe(0)
        const weighed = all.reduce((sum, one) => sum + one + 1, 0)
        // Three passes of (a · a) b (rank + 1), a = [1, 2, 3, 4], b = 5.
        const gradients = [...[1, 2, 3, 4].map((a) => 3 * 10 * a * weighed), 3 * 30 * weighed]
        const bucket = Array.from({ length: 4 * world }, (_, i) => gradients[i] ?? 0)
        expect(lines[1]).toMatchObject({
          sums: [weighed, world / 2],
          told: [7, 11, 13],
          gathered: all.flatMap((one) => [100 * one + 2 * one, 100 * one + 2 * one + 1]),
          broadcast: Array.from({ length: 2 * world }, (_, i) => i),
          values: [150 * (rank + 1), 150 * (rank + 1), 150 * (rank + 1)],
          // The sum of what all ranks have, seen by rank 0's part while the last pass had not ended.
          ...(rank === 0 ? { duringPass: gradients[0] } : {}),
          doubled: [2, 4, 6, 8],
          none: [0, 0, 0, 0],
          leaked: 0
        })
        expect(lines[1].summed).toEqual([bucket.slice(4 * rank, 4 * rank + 4), [0]])
        const squares = Array.from({ length: 4 * world }, (_, i) => (2 * (i + 1)) ** 2).reduce((a, b) => a + b, 0)
        expect(Math.abs(lines[1].squares - squares)).toBeLessThan(1e-5 * squares)
      }
    }, 120_000)

  it("meet at the address that is given, and at no other", async () => {
    const port = await freePort()
    const ranks = [startRank(0, 2, port, "idle"), startRank(1, 2, port, "idle")]
    await Promise.all(ranks.map(({ ready }) => ready))
    const at = (host: string) =>
      new Promise<string>((resolve) => {
        const socket = connect(port, host, () => resolve("taken"))
        socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""))
        socket.once("connect", () => socket.destroy())
      })
    expect([await at("127.0.0.1"), await at("127.0.0.2")]).toEqual(["taken", "ECONNREFUSED"])
    for (const { child } of ranks) child.kill("SIGKILL")
  }, 120_000)

  const expectFailed = async ({ ended }: Rank, rank: number) => {
    const { code, lines, stderr } = await ended
    expect(code, stderr).toBe(3)
    expect(lines[1].failed).toMatchObject({ _tag: "CollectiveFailed", rank, world: 3, operation: "sum" })
    expect(lines[1].failed.hint).toContain("Run the same command again")
  }

  for (const [name, end] of [
    ["is killed", (rank: Rank) => rank.child.kill("SIGKILL")],
    ["is stopped", (rank: Rank) => rank.child.kill("SIGSTOP")]
  ] as const)
    it(`a rank that ${name} ends the others with a typed error`, async () => {
      const ranks = await startRanks("sum", "sum", "sum")
      end(ranks[1]!)
      await expectFailed(ranks[0]!, 0)
      await expectFailed(ranks[2]!, 2)
      ranks[1]!.child.kill("SIGKILL")
    }, 120_000)

  it("a rank that lives and does not come ends the others with a typed error", async () => {
    const ranks = await startRanks("sum", "sum", "idle")
    await expectFailed(ranks[0]!, 0)
    await expectFailed(ranks[1]!, 1)
    ranks[2]!.child.kill("SIGKILL")
  }, 120_000)
})
