/**
 * A pipeline whose source is on a server: planned without a request, fetched once, resumed, and not needed when nothing
 * runs.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { planTable } from "../../src/cli/Report.ts"
import type { Event } from "../../src/run/Events.ts"
import { endLine, figures, empty as noView, reduce, startLine } from "../../src/run/Progress.ts"
import { planRecipe } from "../../src/run/Scheduler.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { digestOf, type File, type Served, serve } from "../store/remote/Server.ts"
import { defaults, type RunSpec, reportExit, runOnce } from "./fixtures/RunOnce.ts"
import remote from "./fixtures/remote.ts"
import { freshFolder } from "./Harness.ts"

const words = (count: number): Buffer => Buffer.from(Array.from({ length: count }, (_, i) => `word ${i}`).join("\n"))
const module = new URL("./fixtures/remote.ts", import.meta.url).href

interface Bench {
  readonly server: Served
  readonly file: File
  readonly store: string
  readonly run: (spec?: Partial<RunSpec>) => Promise<ReturnType<typeof reportExit> & { events: ReadonlyArray<Event> }>
  readonly plan: () => Promise<string>
  /** Removes what was fetched, as a person who needs room would. */
  readonly forget: () => void
}

const servers: Array<Served> = []
afterEach(async () => {
  for (const name of ["ORIGIN", "SHA256", "SUFFIX"]) delete process.env[`REMOTE_TEST_${name}`]
  await Promise.all(servers.splice(0).map((one) => one.close()))
})

const bench = async (file: File): Promise<Bench> => {
  const server = await serve({ "/words.txt": file })
  servers.push(server)
  process.env["REMOTE_TEST_ORIGIN"] = server.origin
  const store = freshFolder()
  const choice = { preset: "sample", settings: [], engine: "plain" }
  return {
    server,
    file,
    store,
    run: async (spec = {}) => {
      const { events, exit } = await Effect.runPromise(runOnce(remote, module, { store, ...spec }))
      return { ...reportExit(exit), events }
    },
    plan: () =>
      Effect.runPromise(
        planRecipe(remote, choice, defaults).pipe(
          Effect.map(({ steps }) => planTable(steps)),
          Effect.provide(Layer.provideMerge(localStore({ root: store }), NodeFileSystem.layer))
        )
      ),
    forget: () => {
      for (const name of readdirSync(join(store, "downloads")))
        if (/^[0-9a-f]{64}$/.test(name)) rmSync(join(store, "downloads", name), { recursive: true })
    }
  }
}

const ends = (events: ReadonlyArray<Event>): ReadonlyArray<string> =>
  events.flatMap((event) => (event.event === "node-end" ? [`${event.node} ${event.status}`] : []))

describe("a remote source", () => {
  it("is planned without a request, fetched by the run, and not asked for again", async () => {
    const { plan, run, server } = await bench({ body: words(100) })
    const address = `${server.origin}/words.txt`
    const before = await plan()
    expect(before).toContain(`source, not here: will be fetched from ${address}`)
    expect(before).toMatch(/^readWords .*will run, because not in the store$/m)
    expect(server.asked).toHaveLength(0)

    const first = await run()
    expect(first).toMatchObject({ status: "completed", nodesRun: 2, values: { count: 100 } })
    expect(ends(first.events)).toEqual(["sources/words ran", "readWords ran", "count ran"])
    const told = first.events.find((event) => event.event === "node-start")
    expect(told?.event === "node-start" ? startLine(told) : "").toBe(`sources/words  started: fetching ${address}`)
    const end = first.events.find((event) => event.event === "node-end")
    expect(end?.event === "node-end" ? endLine(end) : "").toMatch(/^sources\/words {2}fetched in /)
    expect(server.asked).toHaveLength(1)

    await server.close()
    const second = await run()
    expect(second).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 2 })
    expect(second.outputs).toEqual(first.outputs)
    expect(await plan()).toMatch(/^sources\/words +- +\S+ \S+ +source$/m)
  })

  it("gives the keys that a local copy gives: the address is no part of them", async () => {
    const one = await bench({ body: words(10) })
    const first = await one.run()
    const two = await bench({ body: words(10) })
    expect((await two.run()).outputs!["count"]!.key).toBe(first.outputs!["count"]!.key)
  })

  it("with a known digest is fetched only when a node that runs reads it", async () => {
    const body = words(100)
    process.env["REMOTE_TEST_SHA256"] = digestOf(body)
    const { forget, plan, run, server } = await bench({ body })
    await run()
    forget()
    expect(await plan()).toMatch(
      /^sources\/words .*not here: will be fetched from http\S+ if a node that runs reads it$/m
    )
    const cached = await run()
    expect(cached).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 2 })
    expect(server.asked).toHaveLength(1)

    process.env["REMOTE_TEST_SUFFIX"] = "!"
    const again = await run()
    expect(again).toMatchObject({ status: "completed", nodesRun: 2 })
    expect(server.asked).toHaveLength(2)
  })

  it("without one is fetched anew when it was removed; equal content runs nothing, other content does", async () => {
    const { file, forget, plan, run, server } = await bench({ body: words(100) })
    await run()
    file.body = words(50)
    expect(await run()).toMatchObject({ nodesRun: 0 }) // what is here is what it is
    forget()
    file.body = words(100)
    expect(await plan()).toMatch(/^readWords .*may run, if sources\/words changes$/m)
    expect(await run()).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 2 })
    forget()
    file.body = words(50)
    expect(await run()).toMatchObject({ status: "completed", nodesRun: 2, values: { count: 50 } })
    expect(server.asked).toHaveLength(3)
  })

  it("that is not what the recipe says fails the run, by name, with a hint, before any node ran", async () => {
    process.env["REMOTE_TEST_SHA256"] = "0".repeat(64)
    const { run, store } = await bench({ body: words(100) })
    const failed = await run()
    expect(failed).toMatchObject({ status: "failed", error: { tag: "SourceError", node: "sources/words" } })
    expect(failed.error!.message).toContain(`not ${"0".repeat(64)}`)
    expect(ends(failed.events)).toContain("sources/words failed")
    expect(readdirSync(join(store, "downloads")).filter((name) => /^[0-9a-f]{64}$/.test(name))).toEqual([])
    const missing = await bench({ body: words(1), faults: [{ status: 404 }] })
    delete process.env["REMOTE_TEST_SHA256"]
    expect((await missing.run()).error).toMatchObject({ tag: "SourceError", hint: /Check the address/ })
  })

  it("a polite stop ends its download, and the next run goes on with the rest", async () => {
    const body = words(20_000)
    const { run, server } = await bench({ body, faults: [{ stallAfter: 100_000 }] })
    const stopped = await run({ stopAt: { event: "node-progress", node: "sources/words", times: 1 } })
    expect(stopped).toMatchObject({ status: "failed", error: { tag: "Interrupted" } })
    expect(ends(stopped.events)).toEqual(["sources/words interrupted"])
    expect(await run()).toMatchObject({ status: "completed", values: { count: 20_000 } })
    expect(server.asked[1]!.headers.range).toMatch(/^bytes=[1-9]\d*-$/)
    expect(server.asked[1]!.sent).toBeLessThan(body.length)
    expect(server.asked[1]!.sent).toBe(body.length - Number(/\d+/.exec(server.asked[1]!.headers.range!)![0]))
  })

  it("tells of each further attempt while it goes on", async () => {
    const { run } = await bench({
      body: words(9),
      faults: [
        { status: 500, headers: { "retry-after": "0" } },
        { status: 429, headers: { "retry-after": "0" } }
      ]
    })
    const { events, status } = await run()
    expect(status).toBe("completed")
    const notices = events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))
    expect(notices).toHaveLength(2)
    expect(notices[0]).toMatch(/^sources\/words: http\S+ answered 500; again in 1 s, from byte 0$/)
    expect(notices[1]).toMatch(/answered 429; again in 2 s/)
  })

  it("shows bytes, speed and what is left while it comes", () => {
    const view = [
      { event: "node-start", at: 0, node: "s", kind: "source", because: ["fetching x"] } as const,
      { event: "node-progress", at: 0, node: "s", bytes: 0, bytesTotal: 4 << 20 } as const,
      { event: "node-progress", at: 1000, node: "s", bytes: 1 << 20, bytesTotal: 4 << 20 } as const
    ].reduce(reduce, noView)
    expect(figures(view.nodes.get("s")!, 1000)).toEqual(["1.0 MiB/4.0 MiB", "1.0 MiB/s", "about 3.0 s left"])
  })

  it("a mirror from the environment is asked first", async () => {
    const mirror = await bench({ body: words(7) })
    const { run, server } = await bench({ body: words(7) })
    process.env["MILLRACE_MIRRORS"] = `${server.origin}=${mirror.server.origin}`
    try {
      expect(await run()).toMatchObject({ status: "completed", values: { count: 7 } })
    } finally {
      delete process.env["MILLRACE_MIRRORS"]
    }
    expect([mirror.server.asked.length, server.asked.length]).toEqual([1, 0])
  })

  it("what a run writes names the address and holds no query of it", async () => {
    const { run, server, store } = await bench({ body: words(5) })
    server.files.set("/x?sig=SECRET&/words.txt", { body: words(5) })
    process.env["REMOTE_TEST_ORIGIN"] = `${server.origin}/x?sig=SECRET&`
    const { events, outputs, status } = await run()
    expect(status).toBe("completed")
    const written = readdirSync(store, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => readFileSync(join(one.parentPath, one.name), "utf8"))
    expect(`${written.join("\n")}${JSON.stringify([events, outputs])}`).not.toContain("SECRET")
    expect(JSON.stringify(events)).toContain(`${server.origin}/x?...`)
  })
})
