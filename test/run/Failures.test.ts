/** How a run fails: what a failure leaves of the nodes beside it, and what each failed attempt tells. */
import { join } from "node:path"
import { Effect } from "effect"
import { beforeEach, expect, it } from "vitest"
import type { Event } from "../../src/run/Events.ts"
import failing, { again } from "./fixtures/failing.ts"
import { type RunSpec, reportExit, runOnce } from "./fixtures/RunOnce.ts"
import { freshFolder } from "./Harness.ts"

const url = new URL("./fixtures/failing.ts", import.meta.url).href
beforeEach(again)

const runs = async (preset: string, spec: Omit<RunSpec, "choice" | "store"> & { readonly store?: string } = {}) => {
  const { exit, events } = await Effect.runPromise(
    runOnce(failing, url, { store: freshFolder(), ...spec, choice: { preset } })
  )
  const ends = Object.fromEntries(
    events.flatMap((event) => (event.event === "node-end" ? [[event.node, event] as const] : []))
  )
  return { ...reportExit(exit), events, ends }
}
const of = <K extends Event["event"]>(events: ReadonlyArray<Event>, kind: K) =>
  events.filter((event): event is Extract<Event, { readonly event: K }> => event.event === kind)

it("when a node fails, training beside it saves a checkpoint and the next run goes on from there", async () => {
  const store = freshFolder()
  const options = { checkpointEverySteps: 1000 }
  const first = await runs("training", { store, options })
  expect(first.error).toMatchObject({ tag: "NodeFailed", node: "broken" })
  expect(first.ends["arm"]).toMatchObject({ status: "interrupted" })
  expect(first.ends["hanging"]).toMatchObject({ status: "interrupted" })
  const saved = of(first.events, "checkpoint")
  expect(saved).toHaveLength(1)
  expect(saved[0]!.step).toBeGreaterThanOrEqual(10)
  again()
  const second = await runs("training", { store, options: { ...options, only: ["arm"] } })
  expect(second.status).toBe("completed")
  expect(of(second.events, "node-start")[0]).toMatchObject({ node: "arm", resumedAt: saved[0]!.step })
})

it("with keepGoing all that needs no failed node is finished; failed and skipped nodes are named", async () => {
  const told = await runs("going", { options: { keepGoing: true } })
  expect(told.ends["arm"]).toMatchObject({ status: "ran" })
  expect(told.ends["independent"]).toMatchObject({ status: "ran" })
  expect(told.ends["broken"]).toMatchObject({ status: "failed" })
  expect(told.ends["fails"]).toMatchObject({ status: "failed" })
  expect(told.ends["after"]).toMatchObject({ status: "skipped", skippedFor: ["broken"] })
  expect(told.ends["both"]?.status).toBe("skipped")
  expect([...told.ends["both"]!.skippedFor!].sort()).toEqual(["broken", "fails"])
  expect(told.error?.tag).toBe("NodesFailed")
  expect(told.error?.message).toContain("broken: Error: loss is NaN")
  expect(told.error?.message).toContain("fails: { code: 3 }")
})

it("a time-out ends a busy loop in a worker thread", async () => {
  const told = await runs("busyThread", { options: { workers: 1 } })
  expect(told.error).toMatchObject({ tag: "NodeFailed", node: "busy", message: "NodeTimeout: no result after 300 ms" })
})

it("beside the caller it cannot, and what took too long fails when it is over", async () => {
  const told = await runs("busyHere")
  expect(told.error?.message).toContain("50 are allowed; it computed without a pause")
  expect(told.error?.hint).toContain('`runs: "worker"`')
})

it("a whole node that declares a worker runs in one, and beside the caller where there are none", async () => {
  expect((await runs("thread", { options: { workers: 1 } })).values).toEqual({ v: { step: 0, main: false } })
  expect((await runs("thread", { options: { workers: 0 } })).values).toEqual({ v: { step: 0, main: true } })
})

it("each failed attempt is an event with its reason and what comes next", async () => {
  process.env["FAILING_TAG"] = join(freshFolder(), "marker")
  const { default: fresh } = (await import(`${url}?flaky`)) as { readonly default: typeof failing }
  const { exit, events } = await Effect.runPromise(
    runOnce(fresh, url, { store: freshFolder(), choice: { preset: "flaky" } })
  )
  expect(reportExit(exit).values).toEqual({ v: { step: 3, main: true } })
  expect(of(events, "attempt").map(({ at, event, ...attempt }) => attempt)).toEqual([
    { node: "flaky", attempt: 1, of: 4, message: "Error: try 1 failed", waitMs: 200 },
    { node: "flaky", attempt: 2, of: 4, message: "Error: try 2 failed", waitMs: 400 }
  ])
})

it("whatever a node fails with is said, with what to do about it", async () => {
  expect((await runs("text")).error).toMatchObject({
    message: "boom",
    hint: expect.stringContaining("`message` and `hint`")
  })
  expect((await runs("code")).error).toMatchObject({
    message: "{ code: 3 }",
    hint: expect.stringContaining("Fail with an `Error` or a `Schema.TaggedError`")
  })
  expect((await runs("nothing")).error).toMatchObject({ message: "undefined" })
})
