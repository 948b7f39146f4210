/** One holder at a time, between fibers and processes; a dead holder's lock is taken over by exactly one. */
import { type ChildProcess, spawn } from "node:child_process"
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, FileSystem } from "effect"
import { TestClock } from "effect/testing"
import { LEASE_MS } from "../../src/store/Lease.ts"
import { isHeld, lock, lockFenced, locksLike, look, settle, stillHeld, tryLock } from "../../src/store/Lock.ts"
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

/** A second passes; whoever waited for it has a moment to read and write. */
const second = Effect.andThen(
  TestClock.adjust("1 second"),
  Effect.promise(() => new Promise((done) => setTimeout(done, 2)))
)

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

  const here = Process.self()
  const unseen = {
    "another machine": { ...here, boot: "x", host: "elsewhere", lease: { ms: LEASE_MS } },
    "a container of this machine": { ...here, namespace: "pid:[1]", lease: { ms: LEASE_MS } },
    "another boot under the same host name": { ...here, boot: "x", lease: { ms: LEASE_MS } },
    "another machine, by an earlier version": { ...here, boot: "x", host: "elsewhere" }
  }
  for (const [where, identity] of Object.entries(unseen))
    it.effect(`a holder on ${where} has the lock while it renews its lease, and no longer`, () =>
      run(
        Effect.gen(function* () {
          const path = join(temporaryFolder(), "a.lock")
          writeFileSync(path, JSON.stringify({ ...identity, token: "t" }))
          assert.strictEqual((yield* Effect.flip(Effect.scoped(tryLock(path)))).reason, "locked")
          assert.isTrue(yield* isHeld(path))
          const waiting = yield* Effect.forkChild(Effect.scoped(lock(path)))
          let renewed = 0
          for (let s = 0; s < 300; s++) {
            if (s % 20 === 0) {
              appendFileSync(path, " ")
              renewed = yield* Clock.currentTimeMillis
            }
            yield* second
          }
          assert.isUndefined(waiting.pollUnsafe())
          while (waiting.pollUnsafe() === undefined) yield* second
          yield* Fiber.join(waiting)
          assert.isAtLeast((yield* Clock.currentTimeMillis) - renewed, LEASE_MS)
          assert.deepStrictEqual(readdirSync(join(path, "..")), [])
        })
      )
    )

  it.live(
    "says whether its folder lies on a disk, and the lock of an earlier boot is free at once where that proves it",
    () =>
      run(
        Effect.gen(function* () {
          const path = join(temporaryFolder(), "a.lock")
          const onDisk = Process.isOnDisk(join(path, ".."))
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* lock(path)
              assert.strictEqual(JSON.parse(readFileSync(path, "utf8")).disk, onDisk)
            })
          )
          const before = { ...Process.self(), boot: "x", token: "t", lease: { ms: LEASE_MS } }
          const proved = onDisk && Process.isOfEarlierBoot(before)
          for (const [disk, state] of [
            [true, proved ? "dead" : "unknown"],
            [false, "unknown"]
          ] as const) {
            writeFileSync(path, JSON.stringify({ ...before, disk }))
            assert.strictEqual((yield* look(path)).state, state)
          }
          writeFileSync(path, JSON.stringify({ ...before, disk: true }))
          const taken = yield* Effect.result(Effect.scoped(tryLock(path)))
          assert.strictEqual(taken._tag, proved ? "Success" : "Failure")
        })
      )
  )

  it.effect("a lock that nobody can read is taken over like one that nobody renews, by one of many", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        writeFileSync(path, "")
        let inside = 0
        let took = 0
        const one = Effect.scoped(
          Effect.gen(function* () {
            yield* lock(path)
            took++
            assert.strictEqual(++inside, 1)
            yield* Effect.sleep(1000)
            inside--
          })
        )
        const waiting = yield* Effect.forkChild(Effect.all([one, one, one], { concurrency: "unbounded" }))
        while (waiting.pollUnsafe() === undefined) yield* second
        yield* Fiber.join(waiting)
        assert.strictEqual(took, 3)
      })
    )
  )

  it.effect("with `watch`, one that renews is told from one that does not; `settle` removes only the latter", () =>
    run(
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const [alive, gone] = [join(folder, "alive.lock"), join(folder, "gone.lock")]
        for (const path of [alive, gone])
          writeFileSync(path, JSON.stringify({ ...unseen["another machine"], token: "t" }))
        const trying = yield* Effect.forkChild(Effect.flip(Effect.scoped(tryLock(alive, { watch: true }))))
        const settling = yield* Effect.forkChild(settle([alive, gone]))
        for (let s = 0; trying.pollUnsafe() === undefined || settling.pollUnsafe() === undefined; s++) {
          if (s % 20 === 10) appendFileSync(alive, " ")
          yield* second
        }
        assert.strictEqual((yield* Fiber.join(trying)).reason, "locked")
        yield* Fiber.join(settling)
        assert.deepStrictEqual(readdirSync(folder), ["alive.lock"])
      })
    )
  )

  it.effect("a holder renews its lease, also when it waits for something else", () =>
    run(
      Effect.scoped(
        Effect.gen(function* () {
          const path = join(temporaryFolder(), "a.lock")
          const fence = yield* lockFenced(path)
          const lengths = new Set<number>()
          for (let s = 0; s < 200; s++) {
            yield* second
            lengths.add(readFileSync(path, "utf8").length)
          }
          assert.isAbove(lengths.size, 5)
          yield* stillHeld(fence)
        })
      )
    )
  )

  it.effect("a holder that was taken for dead notices, renews nobody else's lock and removes nobody else's", () =>
    run(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "a.lock")
        const other = JSON.stringify({ ...unseen["another machine"], token: "other" })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const fence = yield* lockFenced(path)
            rmSync(path)
            assert.strictEqual((yield* Effect.flip(stillHeld(fence))).reason, "lost")
            writeFileSync(path, other)
            const error = yield* Effect.flip(stillHeld(fence))
            assert.strictEqual(error.reason, "lost")
            assert.include(error.hint, "Run the same command again")
            for (let s = 0; s < 60; s++) yield* second
          })
        )
        assert.strictEqual(readFileSync(path, "utf8"), other)
      })
    )
  )

  it.live("locks like one that is held read no lock's file, exclude others, and go with their scope", () =>
    run(
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const real = yield* FileSystem.FileSystem
        let reads = 0
        const counting = FileSystem.FileSystem.of({
          ...real,
          readFileString: (path, encoding) => {
            reads++
            return real.readFileString(path, encoding)
          }
        })
        const paths = Array.from({ length: 50 }, (_, i) => join(folder, `${i}.lock`))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const like = yield* locksLike(yield* lockFenced(join(folder, "first.lock")))
            const before = reads
            yield* Effect.scoped(
              Effect.gen(function* () {
                for (const path of paths) yield* like(path)
                for (const path of paths) assert.isTrue(yield* Effect.provide(isHeld(path), NodeFileSystem.layer))
                const error = yield* Effect.flip(
                  Effect.scoped(Effect.provide(tryLock(paths[0]!), NodeFileSystem.layer))
                )
                assert.strictEqual(error.reason, "locked")
              })
            )
            assert.strictEqual(reads, before)
            yield* Effect.scoped(lock(paths[1]!))
            yield* Effect.scoped(
              Effect.gen(function* () {
                yield* lock(paths[2]!)
                assert.strictEqual((yield* Effect.flip(Effect.scoped(like(paths[2]!)))).reason, "locked")
              })
            )
          })
        ).pipe(Effect.provideService(FileSystem.FileSystem, counting))
        assert.deepStrictEqual(readdirSync(folder), [])
      })
    )
  )

  it.live("locks like one that was taken over meanwhile are not to be had, and a lock that is another's stays", () =>
    run(
      Effect.scoped(
        Effect.gen(function* () {
          const folder = temporaryFolder()
          const [first, second, third] = ["first", "second", "third"].map((name) => join(folder, `${name}.lock`))
          const like = yield* locksLike(yield* lockFenced(first!))
          const another = JSON.stringify({ ...Process.self(), token: "another" })
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* like(third!)
              for (const path of [first!, third!]) {
                rmSync(path)
                writeFileSync(path, another)
              }
              const error = yield* Effect.flip(like(second!))
              assert.strictEqual(error.reason, "lost")
            })
          )
          assert.deepStrictEqual(readdirSync(folder).sort(), ["first.lock", "third.lock"])
          assert.strictEqual(readFileSync(third!, "utf8"), another)
        })
      )
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
