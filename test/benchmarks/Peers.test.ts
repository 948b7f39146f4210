/** Peers that are not there, that break, and threads that answer: none of it may look like a figure. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { startCrew } from "../../benchmarks/Crew.ts"
import { npmPeer } from "../../benchmarks/Npm.ts"
import { startPython, withPython } from "../../benchmarks/Python.ts"
import { PeerFailed, PeerMissing } from "../../benchmarks/Row.ts"
import { dataRows } from "../../benchmarks/rows/index.ts"
import { differences } from "../../benchmarks/rows/Pictures.ts"
import { apart, trainRows } from "../../benchmarks/rows/Train.ts"
import { start } from "../cli/process.ts"

const home = mkdtempSync(join(tmpdir(), "millrace-bench-test-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** An interpreter that answers what these lines of JavaScript answer. */
const interpreter = (name: string, script: string): string => {
  const path = join(home, name)
  writeFileSync(path, `#!${process.execPath}\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

describe("a Python peer", () => {
  it("without an interpreter, without one at that path, without a package is missing", async () => {
    await expect(startPython(undefined, "zip_open.py")).rejects.toMatchObject({
      _tag: "PeerMissing",
      what: "an interpreter (--python PY)"
    })
    await expect(startPython(join(home, "no-python"), "zip_open.py")).rejects.toBeInstanceOf(PeerMissing)
    const bare = interpreter("bare", `console.log(JSON.stringify({ missing: "pillow" }))`)
    await expect(startPython(bare, "pictures.py")).rejects.toMatchObject({ what: `Python package pillow in ${bare}` })
  })

  it("answers in turn, and its errors are errors", async () => {
    const echo = interpreter(
      "echo",
      `console.log(JSON.stringify({ ready: true, versions: "Echo 1" }))
       require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
         const { do: what, ...more } = JSON.parse(line)
         console.log(JSON.stringify(what === "fail" ? { error: "ValueError: no" } : { seconds: 2, ...more }))
       })`
    )
    await withPython(echo, "zip_open.py", async (peer) => {
      expect(peer.versions).toBe("Echo 1")
      expect(await peer.ask({ do: "open", path: "a" })).toEqual({ seconds: 2, path: "a" })
      await expect(peer.ask({ do: "fail" })).rejects.toBeInstanceOf(PeerFailed)
      expect(await peer.ask({ do: "open", path: "b" })).toEqual({ seconds: 2, path: "b" })
    })
  })

  it("that ends in the middle is an error with what it said", async () => {
    const dies = interpreter(
      "dies",
      `console.log(JSON.stringify({ ready: true, versions: "x" }))
       process.stdin.once("data", () => { console.error("out of memory"); process.exit(3) })`
    )
    const peer = await startPython(dies, "zip_open.py")
    await expect(peer.ask({ do: "open" })).rejects.toThrow(/ended with 3: out of memory/)
  })
})

it("an npm peer that does not load is missing", async () => {
  const load = () => import("no-such-package" as string)
  await expect(npmPeer("no-such-package", load)).rejects.toMatchObject({ what: "npm package no-such-package" })
})

it("losses are compared step by step; a step too few is no agreement", () => {
  expect(apart([2, 1], [2, 1])).toBe(0)
  expect(apart([2, 1.1], [2, 1])).toBeCloseTo(0.1)
  expect(apart([2], [2, 1])).toBe(Number.POSITIVE_INFINITY)
  expect(apart([], [])).toBe(Number.POSITIVE_INFINITY)
  expect(apart([Number.NaN], [1])).toBeNaN()
})

describe("a crew", () => {
  const goldens = fileURLToPath(new URL("../golden/images-0/", import.meta.url))

  it("answers in the order of its tasks", async () => {
    const crew = await startCrew(2, new URL("../../benchmarks/work/Pictures.ts", import.meta.url).href)
    const into = join(home, "landscape.rgb")
    try {
      const one = join(goldens, "landscape.jpg")
      expect(await crew.all("cropFiles", [{ paths: [one, one] }, { paths: [one], into }])).toEqual([2, 1])
      expect(readFileSync(into).length).toBe(336 * 336 * 3)
      await expect(crew.all("cropFiles", [{ paths: [] }, { paths: [join(home, "none.jpg")] }])).rejects.toThrow(
        /ENOENT/
      )
    } finally {
      await crew.stop()
    }
  })
})

it("pixels that differ are counted once a pixel, and by picture", () => {
  const ours = new Uint8Array(2 * 336 * 336 * 3)
  const theirs = ours.slice()
  expect(differences(ours, theirs)).toEqual({ pixels: 0, pictures: 0 })
  theirs[0] = 1
  theirs[2] = 1
  theirs[336 * 336 * 3 + 5] = 9
  expect(differences(ours, theirs)).toEqual({ pixels: 2, pictures: 2 })
  expect(differences(ours, theirs.subarray(3)).pixels).toBe(Number.POSITIVE_INFINITY)
})

describe("npm run bench", () => {
  const main = fileURLToPath(new URL("../../benchmarks/main.ts", import.meta.url))
  const bench = (...args: ReadonlyArray<string>) => start([main, ...args]).ended

  it("names a missing peer in its JSON line and exits 1", async () => {
    const { code, stderr, stdout } = await bench("data", "--json", "--only", "zip-open,arrow-write")
    const lines = stdout.trim().split("\n")
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { name: "zip-open", ours: null, ratio: null, goal: 3, peerName: "Python zipfile" },
      { name: "arrow-write", ours: null, ratio: null, goal: 0.6, peerName: "pyarrow" }
    ])
    for (const line of lines) expect(line).toContain("missing: an interpreter (--python PY)")
    expect(stderr).toMatch(/2 of 2 rows failed: zip-open \(missing: [^;]+; arrow-write/)
    expect(code).toBe(1)
  })

  it("trains beside nobody without an interpreter: no ratio, exit code 1", async () => {
    const { code, stdout } = await bench(
      "train",
      "--engine",
      "torch",
      "--peer",
      "pytorch",
      "--json",
      "--only",
      "train-packed"
    )
    expect(JSON.parse(stdout)).toMatchObject({ name: "train-packed", ratio: null, goal: 1.3 })
    expect(stdout).toContain("an interpreter with torch and transformers")
    expect(code).toBe(1)
  })

  it("exits 2 for what it does not know, and lists its rows", async () => {
    for (const args of [
      ["nothing"],
      ["data", "--size", "huge"],
      ["data", "--only", "zip"],
      ["--what"],
      ["generate"],
      ["train", "--peer", "jax"],
      ["train", "--threads", "0"]
    ]) {
      const { code, stderr } = await bench(...args)
      expect(stderr).toContain("usage: npm run bench")
      expect(code).toBe(2)
    }
  })
})

it("rows have different names, goals above zero, and a peer", () => {
  expect(new Set(dataRows.map((row) => row.name)).size).toBe(dataRows.length)
  expect(dataRows.length).toBe(12)
  expect(trainRows("torch", 2).map((row) => row.goal)).toEqual([0.98, 0.98, 0.98, 0.98, 1.3])
  for (const row of [...dataRows, ...trainRows("torch", 2)]) {
    expect(row.goal).toBeGreaterThan(0)
    expect(row.peerName).not.toBe("")
  }
})
