import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { exitCode, jsonLine, table, verdict } from "../../benchmarks/Report.ts"
import { interleave, meanOf, repeatsFor } from "../../benchmarks/Rounds.ts"
import { type Benchmark, type Context, judge, measure, median, PeerMissing, ratioOf } from "../../benchmarks/Row.ts"

const context: Context = { size: "quick", data: "nowhere", python: undefined, say: () => undefined }

const row = (more: Partial<Benchmark> = {}): Benchmark => ({
  name: "copy",
  about: "copy bytes",
  unit: "s",
  better: "less",
  goal: 2,
  peerName: "cp",
  run: async () => ({ ours: [1, 2, 3], peer: [6, 7, 8], note: "3 files" }),
  ...more
})

const Positive = Schema.Finite.check(Schema.isGreaterThan(1e-6), Schema.isLessThan(1e6))

describe("a ratio", () => {
  it("is theirs over ours for times and bytes, ours over theirs for rates", () => {
    expect(ratioOf("less", 2, 6)).toBe(3)
    expect(ratioOf("more", 6, 2)).toBe(3)
  })

  it.prop("is above one exactly when ours is better", [Positive, Positive], ([ours, peer]) => {
    expect(ratioOf("less", ours, peer) > 1).toBe(ours < peer)
    expect(ratioOf("more", ours, peer) > 1).toBe(ours > peer)
  })

  it("is taken of medians", () => {
    expect(median([9, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 9])).toBe(3)
    expect(median([])).toBeNaN()
    expect(judge(row(), { ours: [1, 2, 90], peer: [7, 7, 0.1], note: "" }).line.ratio).toBe(3.5)
  })
})

it("a ratio of pairs is the median of their ratios: a slow minute for both changes nothing", () => {
  const measured = { ours: [2, 20, 3], peer: [1, 10, 3], note: "" }
  expect(judge(row({ better: "more" }), { ...measured, paired: true }).line).toMatchObject({
    ours: 3,
    peer: 3,
    ratio: 2
  })
  expect(judge(row({ better: "more" }), measured).line.ratio).toBe(1)
})

describe("a row", () => {
  it("at its goal is good, and its line has the fields in their order", async () => {
    const outcome = await measure(row(), context)
    expect(outcome.failed).toBeUndefined()
    expect(exitCode([outcome])).toBe(0)
    expect(Object.keys(JSON.parse(jsonLine(outcome.line)) as object)).toEqual([
      "name",
      "ours",
      "peer",
      "unit",
      "ratio",
      "goal",
      "peerName",
      "note"
    ])
    expect(outcome.line).toMatchObject({
      name: "copy",
      ours: 2,
      peer: 7,
      unit: "s",
      ratio: 3.5,
      goal: 2,
      peerName: "cp"
    })
    expect(outcome.line.note).toContain("3 files")
  })

  it("under its goal fails, and the last line says which and why", async () => {
    const outcome = await measure(row({ goal: 4 }), context)
    expect(outcome.failed).toBe("ratio 3.5 is under the goal 4")
    expect(exitCode([await measure(row(), context), outcome])).toBe(1)
    expect(verdict([outcome])).toBe("1 of 1 rows failed: copy (ratio 3.5 is under the goal 4)")
    expect(table([outcome])).toContain("FAILED")
  })

  it("without its peer has no ratio, says what is missing, and fails", async () => {
    const missing = new PeerMissing({ what: "npm package cp", message: "no cp", hint: "Run npm ci." })
    const outcome = await measure(row({ run: () => Promise.reject(missing) }), context)
    expect(outcome.line).toMatchObject({ ours: null, peer: null, ratio: null })
    expect(outcome.line.note).toBe("missing: npm package cp. Run npm ci.")
    expect(exitCode([outcome])).toBe(1)
    expect(table([outcome])).toContain("MISSING")
    const unmatched = await measure(row({ run: async () => ({ ours: [2], missing: "cp" }) }), context)
    expect(unmatched.line).toMatchObject({ ours: 2, peer: null, ratio: null })
    expect(exitCode([unmatched])).toBe(1)
  })

  it("whose results differ fails, however fast it is", async () => {
    const run = async () => ({ ours: [1], peer: [100], note: "", wrong: "2 pixels differ" })
    const outcome = await measure(row({ run }), context)
    expect(outcome.line.ratio).toBe(100)
    expect(outcome.failed).toBe("2 pixels differ")
    expect(outcome.line.note).toContain("NOT EQUAL: 2 pixels differ")
    expect(exitCode([outcome])).toBe(1)
  })

  it("that breaks, or measures nothing, fails and stops no other row", async () => {
    const broken = await measure(row({ run: () => Promise.reject(new Error("no disk")) }), context)
    expect(broken.failed).toBe("failed: no disk")
    const nothing = await measure(row({ run: async () => ({ ours: [], peer: [], note: "" }) }), context)
    expect(nothing.line.ratio).toBeNull()
    expect(exitCode([broken, nothing])).toBe(1)
    expect(exitCode([])).toBe(1)
  })
})

describe("rounds", () => {
  it("take turns at going first, and the first of each is not counted", async () => {
    const turns: Array<string> = []
    const figures = await interleave(
      { rounds: 3, better: "less", repeat: false },
      async (round) => {
        turns.push(`ours ${round}`)
        return round
      },
      async (round) => {
        turns.push(`peer ${round}`)
        return { figure: round * 10, cpu: 2 }
      }
    )
    expect(figures).toMatchObject({ ours: [0, 1, 2], peer: [0, 10, 20] })
    expect(figures.cpu.peer).toBe(6)
    expect(turns).toEqual(["peer -1", "ours -1", "ours 0", "peer 0", "peer 1", "ours 1", "ours 2", "peer 2"])
  })

  it("repeat the shorter one until both last about as long, within bounds", () => {
    expect(repeatsFor(1, 3.2)).toBe(3)
    expect(repeatsFor(3.2, 1)).toBe(1)
    expect(repeatsFor(0.001, 60)).toBe(10)
    expect(repeatsFor(0, 0)).toBe(1)
  })

  it("average repeats by the time they took", () => {
    expect(meanOf("less", [1, 3])).toBe(2)
    // 1 MB at 1 MB/s and 1 MB at 3 MB/s: 2 MB in 4/3 s.
    expect(meanOf("more", [1, 3])).toBeCloseTo(1.5, 12)
  })
})
