/** Every definition of the repository that a function makes states what it closes over. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { openCalls } from "../../src/store/code/Closure.ts"
import { parseModule } from "../../src/store/code/Module.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const makers = new Set(["whole", "sharded", "fold"])

const filesIn = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name))

test("no node of the repository depends on a closure that no key tells", () => {
  const calls = ["src/nodes", "pipelines", "datasets"].flatMap(filesIn).flatMap((path) => {
    const text = readFileSync(join(root, path), "utf8")
    return openCalls(parseModule(path, text)!, makers).map((call) => ({ path, ...call }))
  })
  expect(calls.length).toBeGreaterThan(40)
  expect(calls.filter(({ open }) => open.length > 0)).toEqual([])
})

test("the writer of Parquet files is one that a function makes: its columns are in its version", () => {
  const text = readFileSync(join(root, "src/nodes/WriteParquet.ts"), "utf8")
  const open = (edited: string) => openCalls(parseModule("WriteParquet.ts", edited)!, makers)[0]?.open
  expect(open(text)).toEqual([])
  expect(open(text.replace("version: versionOf(artifact.schema)", 'version: "1"'))).toEqual(["artifact"])
})
