/**
 * A short `npm run soak -- chaos`: a trial of each kind, always of the same seed; and what its checker and its disk
 * know.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { factsOf, leftoversIn, wrongIn } from "./chaos/Check.ts"
import { cutPower, type Operation } from "./chaos/Power.ts"
import { buildShim, uglyIn } from "./chaos/Process.ts"
import { writeReadings } from "./chaos/recipe.ts"
import { type Ground, kinds, layGround, runTrial } from "./chaos/Trials.ts"
import { randomOf } from "./fuzz/Random.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-chaos-test-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("chaos", () => {
  let ground: Ground
  beforeAll(async () => {
    const source = join(folder, "readings.tsv")
    writeReadings(source, 150)
    ground = await layGround({ source, shim: buildShim(folder) }, folder, "test")
  }, 1_200_000)

  for (const kind of kinds)
    it(`${kind.name}: ${kind.about}`, { timeout: 1_200_000 }, async (context) => {
      if (kind.shim && ground.shim === undefined) context.skip("NoShim: no C compiler, or no Linux")
      const { did, wrong } = await runTrial(ground, kind, 0)
      expect(wrong).toEqual([])
      expect(Object.keys(did).length).toBeGreaterThan(0)
    })

  it("the checker sees a changed byte, a missing and a strange file, and a store that lacks an entry", () => {
    const store = join(folder, "seen")
    cpSync(ground.complete, store, { recursive: true })
    expect(wrongIn(store, ground.reference, ground.wanted)).toEqual([])
    const [name, files] = [...factsOf(store).entries].find(([entry]) => entry.startsWith("dropHot"))!
    const [, key, code] = name.split(" ")
    const file = join(store, "entries", key!.slice(0, 2), key!, code!, [...files.keys()][0]!)
    const bytes = readFileSync(file)
    writeFileSync(file, bytes.with(3, bytes[3]! ^ 1))
    expect(wrongIn(store, ground.reference).join()).toContain("has another digest")
    writeFileSync(`${file}.more`, "")
    expect(wrongIn(store, ground.reference).join()).toContain("belongs to nothing")
    rmSync(file)
    expect(wrongIn(store, ground.reference).join()).toContain("is missing")
    rmSync(join(store, "entries", key!.slice(0, 2)), { recursive: true })
    expect(wrongIn(store, ground.reference, ground.wanted)).toContain(`${name} is missing`)
    mkdirSync(join(store, "work", "left"), { recursive: true })
    expect(leftoversIn(store)).toEqual(["work/left"])
  })
})

describe("a disk without power", () => {
  const operation = (name: string, path: string, more: Partial<Operation> = {}): Operation => ({
    name,
    at: 0,
    path: `/d${path}`,
    other: "",
    bytes: Buffer.alloc(0),
    ...more
  })
  const bytes = Buffer.from("abc")
  const operations = [
    operation("open", "/x.tmp"),
    operation("write", "/x.tmp", { bytes }),
    operation("fsync", "/x.tmp"),
    operation("rename", "/x.tmp", { other: "/d/x" }),
    operation("fsync", ""),
    operation("open", "/y"),
    operation("write", "/y", { bytes })
  ]
  const leftAt = (count: number, survival: Parameters<typeof cutPower>[2]): Readonly<Record<string, string>> => {
    const to = mkdtempSync(join(folder, "disk-"))
    cutPower({ operations, root: "/d", before: join(folder, "none") }, count, survival, randomOf("disk", count), to)
    const found: Record<string, string> = {}
    for (const name of ["x.tmp", "x", "y"])
      try {
        found[name] = readFileSync(join(to, name), "latin1")
      } catch {
        // is not there: that is what is looked at
      }
    return found
  }

  it("keeps what was synced, name and bytes apart", () => {
    expect(leftAt(2, "synced")).toEqual({})
    expect(leftAt(2, "names")).toEqual({ "x.tmp": "\0\0\0" })
    expect(leftAt(2, "empty")).toEqual({ "x.tmp": "" })
    expect(leftAt(4, "synced")).toEqual({})
    expect(leftAt(4, "names")).toEqual({ x: "abc" })
    expect(leftAt(5, "synced")).toEqual({ x: "abc" })
    expect(leftAt(7, "synced")).toEqual({ x: "abc" })
    expect(leftAt(7, "empty")).toEqual({ x: "abc", y: "" })
  })
})

it("a stack, a failure without a hint and a hang are told", () => {
  const ended = { code: 1, signal: null, stdout: "", stderr: "" } as const
  expect(uglyIn({ ...ended, stderr: "error: X\n  hint: do" })).toEqual([])
  expect(uglyIn({ ...ended, stderr: "error: X" })[0]).toContain("without a hint")
  expect(uglyIn({ ...ended, stderr: "hint: x\n    at f (a.ts:1:1)" })[0]).toContain("a stack")
  expect(uglyIn({ ...ended, code: null, signal: "SIGSEGV" })).toEqual(["it was ended by SIGSEGV"])
})
