/** A secret in a parameter is in no file of the store and in nothing that is printed, whatever the nodes do with it. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import { folder, start } from "./process.ts"

const secret = fileURLToPath(new URL("./fixtures/secret.ts", import.meta.url))
const store = folder()
afterAll(store.remove)

const filesWith = (words: string): ReadonlyArray<string> =>
  readdirSync(store.path, { recursive: true, encoding: "utf8" }).filter(
    (name) => statSync(join(store.path, name)).isFile() && readFileSync(join(store.path, name)).includes(words)
  )
const command = (...args: ReadonlyArray<string>) =>
  start([secret, "--store", store.path, ...args], { env: { MILLRACE_DEBUG: "1" } }).ended

describe("the secret is said by nobody", { timeout: 60_000 }, () => {
  it.each([
    [["--preset", "good", "--workers", "1"], 0],
    [["--preset", "bad", "--workers", "0"], 1],
    [["--preset", "thread", "--workers", "1", "--json"], 1],
    [["--preset", "good", "--plan"], 0],
    [["graph", "--format", "json"], 0],
    [["quarantine", "made"], 0],
    [["show", "last"], 0],
    [["--set", "counts.token=hunter2-token"], 2]
  ] as const)("%j", async (args, code) => {
    const ended = await command(...args)
    expect(ended.code).toBe(code)
    expect(ended.stdout + ended.stderr).not.toContain("hunter2")
    expect(ended.stdout + ended.stderr).not.toBe("")
    expect(filesWith("hunter2")).toEqual([])
  })

  it("and the store holds what stands for it", () => {
    expect(filesWith("<redacted>").length).toBeGreaterThan(3)
  })
})
