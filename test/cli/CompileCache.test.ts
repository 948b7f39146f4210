/** Worker threads load compiled modules from a folder of the user's own; a run needs none. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, expect, it } from "@effect/vitest"
import { folder, start, words } from "./process.ts"

const home = folder()
afterAll(home.remove)

const run = (cache: string, store: string) =>
  start([words, "--store", join(home.path, store), "--workers", "1"], {
    env: { NODE_COMPILE_CACHE: "", XDG_CACHE_HOME: cache }
  }).ended

it("a run keeps what its threads compiled under XDG_CACHE_HOME", async () => {
  const cache = join(home.path, "cache")
  expect(await run(cache, "first")).toMatchObject({ code: 0 })
  expect(readdirSync(join(cache, "millrace/compile"), { recursive: true }).length).toBeGreaterThan(100)
})

it("a folder that cannot be made changes nothing else", async () => {
  mkdirSync(join(home.path, "broken"))
  writeFileSync(join(home.path, "broken/millrace"), "a file where the folder should be")
  expect(await run(join(home.path, "broken"), "second")).toMatchObject({ code: 0 })
})
