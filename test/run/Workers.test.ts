/** Worker threads may break in any way: the run says what happened, or tries again, and never hangs. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { makeBench } from "./Harness.ts"

const workers = { options: { workers: 2, until: ["square"] } }

describe("a worker thread", () => {
  test("that throws reports the bug once, without a retry", async () => {
    const bench = makeBench()
    const run = await bench.run(workers, { RUN_TEST_FAULT: "square:throw:3" })
    expect(run.error).toMatchObject({ node: "square", shard: 3, message: "TypeError: square has a bug at 3" })
    expect(bench.logged().filter((line) => line === "square 3 start")).toHaveLength(1)
  })

  test("that exits is replaced and the shard tried again", async () => {
    const bench = makeBench()
    const run = await bench.run(workers, { RUN_TEST_FAULT: "square:exit-once:3" })
    expect(run).toMatchObject({ status: "completed", nodesRun: 2 })
  })

  test("that exits every time fails with the exit code, and other shards stay", async () => {
    const bench = makeBench()
    const run = await bench.run(workers, { RUN_TEST_FAULT: "square:exit:6" })
    expect(run.error).toMatchObject({ node: "square", shard: 6, message: "its worker thread exited with code 7" })
    bench.logged()
    expect(await bench.run(workers)).toMatchObject({ status: "completed" })
    expect(bench.logged().filter((line) => line.endsWith("start"))).toEqual(["square 6 start"])
  })

  test("broken by a stray timer fails its shard, not the process", async () => {
    const bench = makeBench()
    const run = await bench.run(workers, { RUN_TEST_FAULT: "square:stray:1" })
    expect(run.error).toMatchObject({
      node: "square",
      shard: 1,
      message: "outside of its effect: Error: thrown from a stray timer"
    })
  })

  test("out of memory says so and what to do", async () => {
    const bench = makeBench()
    const { ended } = bench.start(workers, { RUN_TEST_FAULT: "square:memory:2" }, ["--max-old-space-size=128"])
    const { told, stderr } = await ended
    expect(stderr).not.toContain("UnhandledPromise")
    expect(told?.error).toMatchObject({ node: "square", shard: 2 })
    expect(told?.error?.message).toMatch(/memory/)
    expect(told?.error?.hint).toContain("make shards smaller")
  })

  test("stuck in a loop is ended at the node's timeout", async () => {
    const bench = makeBench()
    const { ended } = bench.start(workers, { RUN_TEST_FAULT: "square:spin:2", RUN_TEST_TIMEOUT_MS: "700" })
    expect((await ended).told?.error).toMatchObject({
      node: "square",
      shard: 2,
      message: "NodeTimeout: no result after 700 ms"
    })
    expect(bench.logged().filter((line) => line === "square 2 start")).toHaveLength(2)
  })

  test("that cannot import the recipe says so", async () => {
    const bench = makeBench()
    const recipe = join(bench.folder, "broken.ts")
    const fixture = new URL("./fixtures/recipe.ts", import.meta.url).href
    writeFileSync(
      recipe,
      `import { isMainThread } from "node:worker_threads"
import recipe from ${JSON.stringify(fixture)}
if (!isMainThread) throw new Error("not in a thread")
export default recipe
`
    )
    const { told } = await bench.start({ ...workers, recipe: `file://${recipe}` }).ended
    expect(told?.error).toMatchObject({ node: "square" })
    expect(told?.error?.message).toBe("the worker thread could not start: Error: not in a thread")
    expect(told?.error?.hint).toContain("importable by itself")
  })
})
