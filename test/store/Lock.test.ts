/** One holder at a time, between fibers and processes; a dead holder's lock is taken over by exactly one. */
import { type ChildProcess, spawn } from "node:child_process"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { isHeld, lock, look, tryLock } from "../../src/store/Lock.ts"
import * as Process from "../../src/store/Process.ts"
import { temporaryFolder } from "./Support.ts"

const holder = fileURLToPath(new URL("./LockHolder.ts", import.meta.url))
const start = (...args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, ["--import", "tsx", holder, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: fileURLToPath(new URL("../..", import.meta.url))
  })
const said = (child: ChildProcess) =>
  Effect.promise(() => new Promise<void>((done) => child.stdout!.once("data", () => done())))
const ended = (child: ChildProcess) =>
  Effect.promise(() => new Promise<number | null>((done) => child.once("exit", (code) => done(code))))

const run = <A, E>(effect: Effect.Effect<A, E, any>) =>
  Effect.provide(effect as Effect.Effect<A, E>, NodeFileSystem.layer)

/** What a lock file of a process that is gone holds. */
const deadHolder = (token: string) => JSON.stringify({ ...Process.self(), start: "1", token })

describe("Lock", () => {
  it.live("two fibers of one process exclude each other, and the scope releases", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "locks", "a.lock")
        let inside = 0
        let most = 0
        const one = Effect.scoped(
          Effect.gen(function* () {
            yield* lock(path)
            most = Math.max(most, ++inside)
            yield* Effect.sleep(5)
            inside--
          })
        )
        yield* Effect.all([one, one, one, one], { concurrency: "unbounded" })
        assert.strictEqual(most, 1)
        assert.isFalse(yield* isHeld(path))
        assert.deepStrictEqual(readdirSync(join(path, "..")), [])
      })
    )
  )

  it.effect("waiting goes by the Clock and can be interrupted", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        const release = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(Effect.scoped(Effect.andThen(lock(path), Deferred.await(release))))
        while ((yield* look(path)).state === "free") yield* Effect.promise(() => new Promise(setImmediate))
        const second = yield* Effect.forkChild(Effect.scoped(lock(path)))
        const third = yield* Effect.forkChild(Effect.scoped(lock(path)))
        yield* TestClock.adjust("10 minutes")
        assert.isUndefined(second.pollUnsafe())
        yield* Fiber.interrupt(third)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(first)
        while (second.pollUnsafe() === undefined) {
          yield* TestClock.adjust("1 second")
          yield* Effect.promise(() => new Promise(setImmediate))
        }
        yield* Fiber.join(second)
      })
    )
  )

  it.live("`tryLock` says who holds it", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        const error = yield* Effect.scoped(Effect.andThen(lock(path), Effect.flip(Effect.scoped(tryLock(path)))))
        assert.strictEqual(error.reason, "locked")
        assert.include(error.message, String(process.pid))
      })
    )
  )

  it.live("a dead holder's lock is taken over by one of many, whatever the age of the file", () =>
    run(
      Effect.gen(function* () {
        for (let round = 0; round < 20; round++) {
          const path = join(temporaryFolder(), "a.lock")
          writeFileSync(path, deadHolder("dead"))
          let inside = 0
          const one = Effect.scoped(
            Effect.gen(function* () {
              yield* tryLock(path)
              assert.strictEqual(++inside, 1)
              yield* Effect.sleep(2)
              inside--
              return 1
            })
          ).pipe(Effect.catch((error) => (error.reason === "locked" ? Effect.succeed(0) : Effect.fail(error))))
          const took = yield* Effect.all([one, one, one, one, one], { concurrency: "unbounded" })
          assert.isAtLeast(
            took.reduce((a, b) => a + b, 0 as number),
            1
          )
        }
      })
    )
  )

  it.live("a breaker that died while breaking is broken too", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        writeFileSync(path, deadHolder("one"))
        writeFileSync(`${path}.one.break`, deadHolder("two"))
        writeFileSync(`${path}.one.break.two.break`, deadHolder("three"))
        yield* Effect.scoped(lock(path))
        assert.deepStrictEqual(readdirSync(join(path, "..")), [])
      })
    )
  )

  it.live("a holder on another machine is never broken, and the hint names the file", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        writeFileSync(path, JSON.stringify({ ...Process.self(), boot: "x", host: "elsewhere", token: "t" }))
        const error = yield* Effect.flip(Effect.scoped(tryLock(path)))
        assert.strictEqual(error.reason, "locked")
        assert.include(error.hint, path)
      })
    )
  )

  it.live("two processes that contend for one lock lose no work", () =>
    run(
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const counter = join(folder, "counter")
        writeFileSync(counter, "0")
        const children = [1, 2].map(() => start(join(folder, "a.lock"), counter, "8", "5"))
        const codes = yield* Effect.all(children.map(ended), { concurrency: "unbounded" })
        assert.deepStrictEqual(codes, [0, 0])
        assert.strictEqual(readFileSync(counter, "utf8"), "16")
      })
    )
  )

  it.live("a SIGKILLed holder's lock is free, a living one's is not", () =>
    run(
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const path = join(folder, "a.lock")
        const child = start(path, join(folder, "counter"), "1", "forever")
        yield* said(child)
        assert.strictEqual((yield* Effect.flip(Effect.scoped(tryLock(path)))).reason, "locked")
        const waiting = yield* Effect.forkChild(Effect.scoped(lock(path)))
        yield* Effect.sleep(100)
        assert.isUndefined(waiting.pollUnsafe())
        child.kill("SIGKILL")
        yield* Fiber.join(waiting)
        assert.isFalse(yield* isHeld(path))
      })
    )
  )
})
