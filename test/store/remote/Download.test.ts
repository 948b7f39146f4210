/**
 * One file over a network that fails in every way: what ends up under its name is whole and right, or nothing is there.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, type FileSystem, Layer, Logger, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { layer as network } from "../../../src/store/remote/Client.ts"
import { download, type Job } from "../../../src/store/remote/Download.ts"
import { DownloadError } from "../../../src/store/remote/DownloadError.ts"
import type { Settings } from "../../../src/store/remote/Settings.ts"
import { StoreError } from "../../../src/store/Store.ts"
import { faulty, temporaryFolder } from "../Support.ts"
import { bytesOf, digestOf, type Fault, type File, type Served, serve } from "./Server.ts"

const body = bytesOf(100_000)
const other = bytesOf(100_000, 2)

const quick = { stallMs: 60_000, attempts: 3, backoffMs: 1, longestWaitMs: 60_000, syncBytes: 10_000 }

interface Setup {
  readonly server: Served
  readonly file: File
  readonly job: Job
  readonly run: (
    more?: Partial<Job>,
    settings?: Partial<Settings>,
    fileSystem?: Layer.Layer<FileSystem.FileSystem>
  ) => Effect.Effect<{ bytes: number; sha256: string }, unknown>
  readonly read: () => Buffer | undefined
  readonly said: Array<string>
}

const setup = (faults: ReadonlyArray<Fault>, more: Partial<File> = {}): Effect.Effect<Setup, never, never> =>
  Effect.gen(function* () {
    const file: File = { body, faults: [...faults], ...more }
    const server = yield* Effect.promise(() => serve({ "/file": file }))
    servers.push(server)
    const folder = temporaryFolder()
    const job: Job = {
      address: `${server.origin}/file`,
      urls: [`${server.origin}/file`],
      part: join(folder, "file.part"),
      record: join(folder, "file.json"),
      to: join(folder, "done", "file")
    }
    const said: Array<string> = []
    const quiet = Logger.layer([Logger.make(({ message }) => void said.push([message].flat().map(String).join(" ")))])
    return {
      server,
      file,
      job,
      said,
      run: (changes = {}, settings = {}, fileSystem = NodeFileSystem.layer) =>
        download(
          { ...job, onNotice: (message) => void said.push(message), ...changes },
          {
            token: settings.token,
            tokenFor: (url) => url.origin === server.origin,
            stallMs: settings.stallMs ?? quick.stallMs
          },
          { ...quick, ...settings }
        ).pipe(Effect.provide(Layer.mergeAll(fileSystem, network, quiet))),
      read: () => (existsSync(job.to) ? readFileSync(job.to) : undefined)
    }
  })

const servers: Array<Served> = []
const closing = Effect.promise(() => Promise.all(servers.splice(0).map((one) => one.close())))
const live = (name: string, body: () => Effect.Effect<void, unknown>) =>
  it.live(name, () => Effect.ensuring(Effect.orDie(body()), closing))

const reasonOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  assert.instanceOf(error, DownloadError)
  assert.isAbove(error.hint.length, 10)
  return error.reason
}

/** Waits for something outside of Effect's clock: sockets and files keep their own time. */
const until = (met: () => boolean): Effect.Effect<void> =>
  TestClock.withLive(Effect.repeat(Effect.sleep(1), { until: met })).pipe(Effect.asVoid)

/** Lets the test clock run, second by second, until something has happened. */
const passTimeUntil = (met: () => boolean): Effect.Effect<void> =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), TestClock.withLive(Effect.sleep(1))), { until: met }).pipe(
    Effect.asVoid
  )

const ranges = (server: Served) => server.asked.map((one) => one.headers.range)

describe("download", () => {
  live("fetches a file whole, asks for plain bytes, and a second time asks for nothing", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([])
      const seen: Array<[number, number | undefined]> = []
      const first = yield* run({ onBytes: (here, total) => seen.push([here, total]) })
      assert.deepStrictEqual(first, { bytes: body.length, sha256: digestOf(body) })
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(seen.at(-1), [body.length, body.length])
      assert.strictEqual(server.asked[0]!.headers["accept-encoding"], "identity")
      assert.deepStrictEqual(yield* run(), first)
      assert.lengthOf(server.asked, 1)
    })
  )

  live("goes on after cuts from the byte it has, under If-Range, and asks for no byte twice", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([{ cutAfter: 30_001 }, { cutAfter: 0 }, { cutAfter: 50_000 }])
      yield* run()
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30001-", "bytes=30001-", "bytes=80001-"])
      assert.strictEqual(server.sent(), body.length)
      assert.match(server.asked[1]!.headers["if-range"] as string, /^"[0-9a-f]{32}"$/)
    })
  )

  live("attempts that bring something do not count: only so many in a row without a new byte end it", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 9 }, () => ({ cutAfter: 10_000 }))
      const { read, run } = yield* setup(many)
      yield* run()
      assert.deepStrictEqual(read(), body)
      const never = yield* setup(Array.from({ length: 9 }, () => ({ cutAfter: 0 })))
      assert.strictEqual(reasonOf(yield* Effect.exit(never.run())), "cut")
      assert.lengthOf(never.server.asked, quick.attempts)
      assert.isUndefined(never.read())
    })
  )

  live(
    "goes on in a later process from what is durable, and starts over when the part is not what the record says",
    () =>
      Effect.gen(function* () {
        const { job, read, run, said, server } = yield* setup([{ cutAfter: 40_000 }, { cutAfter: 10_000 }])
        assert.strictEqual(reasonOf(yield* Effect.exit(run({}, { attempts: 1 }))), "cut")
        assert.strictEqual(reasonOf(yield* Effect.exit(run({}, { attempts: 1 }))), "cut")
        const part = readFileSync(job.part)
        assert.deepStrictEqual(part, body.subarray(0, 50_000))
        part[7]! ^= 1
        writeFileSync(job.part, part)
        yield* run()
        assert.deepStrictEqual(read(), body)
        assert.deepStrictEqual(ranges(server), [undefined, "bytes=40000-", undefined])
        assert.match(said.join("\n"), /is not what its record says/)
      })
  )

  live("bytes that came after the last durable ones are dropped, never trusted", () =>
    Effect.gen(function* () {
      const { job, read, run, server } = yield* setup([{ cutAfter: 40_000 }])
      yield* Effect.exit(run({}, { attempts: 1 }))
      writeFileSync(job.part, Buffer.concat([readFileSync(job.part), Buffer.from("garbage that was never synced")]))
      yield* run()
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=40000-"])
    })
  )

  live("a file that changes between two ranges is noticed and fetched from the start", () =>
    Effect.gen(function* () {
      const { file, read, run, server } = yield* setup([{ cutAfter: 30_000 }])
      server.onAsked = () => {
        if (server.asked.length === 2) file.body = other
      }
      yield* run()
      assert.deepStrictEqual(read(), other)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30000-"]) // answered 200: all of the new one
    })
  )

  live("so it is when the server ignores If-Range and sends a range of the new file", () =>
    Effect.gen(function* () {
      const { file, read, run, server } = yield* setup([{ cutAfter: 30_000 }, { etag: '"new"' }])
      file.etag = '"old"'
      server.onAsked = (asked) => {
        if (server.asked.length !== 2) return
        delete (asked.headers as Record<string, unknown>)["if-range"]
        file.body = other
        file.etag = '"new"'
      }
      yield* run()
      assert.deepStrictEqual(read(), other)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30000-", undefined])
    })
  )

  live("without a validator or a digest two answers are never joined", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([{ cutAfter: 30_000 }], { etag: null })
      yield* run()
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, undefined])
      const known = yield* setup([{ cutAfter: 30_000 }], { etag: null })
      yield* known.run({ sha256: digestOf(body) })
      assert.deepStrictEqual(ranges(known.server), [undefined, "bytes=30000-"])
      const weak = yield* setup([{ cutAfter: 30_000 }], { etag: 'W/"1"' })
      yield* weak.run()
      assert.deepStrictEqual(ranges(weak.server), [undefined, undefined])
    })
  )

  live("a server that ignores Range is taken as it is: its answer is all of the file", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([{ cutAfter: 30_000 }, { ignoreRange: true }])
      yield* run()
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30000-"])
    })
  )

  live("a range that is not there any more (416) starts over; a 416 without a range is an error", () =>
    Effect.gen(function* () {
      const { file, read, run, server } = yield* setup([{ cutAfter: 90_000 }])
      server.onAsked = (asked) => {
        if (server.asked.length !== 2) return
        delete (asked.headers as Record<string, unknown>)["if-range"]
        file.body = body.subarray(0, 50_000)
      }
      yield* run()
      assert.deepStrictEqual(read(), body.subarray(0, 50_000))
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=90000-", undefined])
      const broken = yield* setup([{ status: 416 }])
      assert.strictEqual(reasonOf(yield* Effect.exit(broken.run())), "range")
    })
  )

  live("an answer without a length ends where its stream ends, and a broken one is no end", () =>
    Effect.gen(function* () {
      const { read, run } = yield* setup([{ chunked: true }])
      yield* run()
      assert.deepStrictEqual(read(), body)
    })
  )

  live("the end of a range is not taken for the end of a file whose length nobody says", () =>
    Effect.gen(function* () {
      const faults = [{ chunked: true, cutAfter: 30_000 }, { rangeOf: 20_000 }, { chunked: true }] as const
      const { read, run, server } = yield* setup(faults)
      yield* run()
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30000-", undefined])
      // With a length from anywhere such ranges are as good as others.
      const known = yield* setup(faults)
      yield* known.run({ bytes: body.length })
      assert.deepStrictEqual(known.read(), body)
      assert.deepStrictEqual(ranges(known.server), [undefined, "bytes=30000-", "bytes=50000-"])
    })
  )

  live("a truncated file is corrupt where its length or digest is known, and never gets its name", () =>
    Effect.gen(function* () {
      for (const known of [{ sha256: digestOf(body) }, { bytes: body.length }]) {
        const { job, read, run } = yield* setup([{ truncate: true }])
        const reason = reasonOf(yield* Effect.exit(run(known)))
        assert.strictEqual(reason, "sha256" in known ? "corrupt" : "differs")
        assert.isUndefined(read())
        assert.isTrue(!existsSync(job.part) || readFileSync(job.part).length === 0)
      }
      const linked = yield* setup([{ truncate: true }], { headers: { "x-linked-size": String(body.length) } })
      yield* linked.run() // the hub states the size: half of it is a failed attempt
      assert.deepStrictEqual(linked.read(), body)
    })
  )

  live("a corrupt file is never visible, says which digest it has, and a good copy replaces it", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([{ corrupt: true }])
      const failed = yield* Effect.exit(run({ sha256: digestOf(body) }))
      assert.strictEqual(reasonOf(failed), "corrupt")
      assert.match(String(Exit.isFailure(failed) && JSON.stringify(failed.cause)), new RegExp(digestOf(body)))
      assert.isUndefined(read())
      yield* run({ sha256: digestOf(body) })
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, undefined])
    })
  )

  live("one that was put together from pieces is fetched once more before it is called corrupt", () =>
    Effect.gen(function* () {
      const { file, read, run, server } = yield* setup([{ cutAfter: 30_000 }], { etag: '"same"' })
      server.onAsked = () => {
        file.body = server.asked.length === 1 ? other : body
      }
      yield* run({ sha256: digestOf(body) })
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, "bytes=30000-", undefined])
    })
  )

  live("the hub's digest and size are held to, and contradict the recipe before a byte is fetched", () =>
    Effect.gen(function* () {
      const headers = { "x-linked-etag": `"${digestOf(body)}"`, "x-linked-size": String(body.length) }
      const good = yield* setup([{ corrupt: true }], { headers })
      assert.strictEqual(reasonOf(yield* Effect.exit(good.run())), "corrupt")
      yield* good.run()
      assert.deepStrictEqual(good.read(), body)
      const { run, server } = yield* setup([], { headers })
      assert.strictEqual(reasonOf(yield* Effect.exit(run({ sha256: digestOf(other) }))), "differs")
      assert.strictEqual(reasonOf(yield* Effect.exit(run({ bytes: 5 }))), "differs")
      assert.lengthOf(server.asked, 2)
    })
  )

  live("404, 401, 403, 410 and odd answers are typed errors at once; 500 and 503 are tried again", () =>
    Effect.gen(function* () {
      const expected = { 401: "unauthorised", 403: "forbidden", 404: "not-found", 410: "not-found", 418: "status" }
      for (const [status, reason] of Object.entries(expected)) {
        const { run, server } = yield* setup([{ status: Number(status) }])
        assert.strictEqual(reasonOf(yield* Effect.exit(run())), reason)
        assert.lengthOf(server.asked, 1)
      }
      const { read, run } = yield* setup([{ status: 500 }, { status: 503 }])
      yield* run()
      assert.deepStrictEqual(read(), body)
      const down = yield* setup([{ status: 502 }, { status: 502 }, { status: 502 }])
      assert.strictEqual(reasonOf(yield* Effect.exit(down.run())), "server")
      const encoded = yield* setup([], { headers: { "content-encoding": "gzip" } })
      assert.strictEqual(reasonOf(yield* Effect.exit(encoded.run())), "encoded")
      const plain = yield* setup([], { headers: { "content-encoding": "Identity" } })
      yield* plain.run()
      assert.deepStrictEqual(plain.read(), body)
    })
  )

  live("a mirror comes first, and what it cannot give comes from the original", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([])
      const mirror = yield* setup([{ corrupt: true }])
      yield* run({ urls: [`${mirror.server.origin}/file`, `${server.origin}/file`], sha256: digestOf(body) })
      assert.deepStrictEqual(read(), body)
      const gone = yield* setup([])
      const absent = [`${gone.server.origin}/nothing`, `${gone.server.origin}/file`]
      yield* gone.run({ urls: absent })
      assert.deepStrictEqual(gone.read(), body)
      const first = yield* setup([])
      yield* first.run({ urls: [`${first.server.origin}/file`, `${server.origin}/nothing`] })
      assert.lengthOf(first.server.asked, 1)
    })
  )

  live("what a mirror began wrong and left is fetched once more, all of it from the original", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([])
      const mirror = yield* setup([{ cutAfter: 30_000 }, { status: 404 }], { body: other })
      yield* run({ urls: [`${mirror.server.origin}/file`, `${server.origin}/file`], sha256: digestOf(body) })
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), ["bytes=30000-", undefined])
    })
  )

  live("what a mirror said of a file that it did not give is not held against the original", () =>
    Effect.gen(function* () {
      const never = Array.from({ length: 3 }, () => ({ cutAfter: 0 }))
      const headers = { "x-linked-etag": `"${digestOf(other)}"` }
      const mirror = yield* setup(never, { body: bytesOf(200_000, 2), headers })
      const { read, run, server } = yield* setup([{ chunked: true }])
      yield* run({ urls: [`${mirror.server.origin}/file`, `${server.origin}/file`] })
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined])
    })
  )

  it.effect("a Retry-After that has passed already is no leave to ask at once", () =>
    Effect.gen(function* () {
      const busy = { status: 429, headers: { "retry-after": "0" } }
      const { read, run, server } = yield* setup([busy, busy])
      const clock = yield* Clock.Clock
      const at: Array<number> = []
      server.onAsked = () => void at.push(clock.currentTimeMillisUnsafe())
      const fiber = yield* Effect.forkChild(run({}, { backoffMs: 10_000 }))
      yield* passTimeUntil(() => at.length === 3)
      yield* Fiber.join(fiber)
      assert.isAtLeast(at[1]! - at[0]!, 10_000)
      assert.isAtLeast(at[2]! - at[1]!, 20_000)
      assert.deepStrictEqual(read(), body)
    }).pipe(Effect.ensuring(closing))
  )

  it.effect("429 is asked again when its Retry-After has passed, not before", () =>
    Effect.gen(function* () {
      const { read, run, server } = yield* setup([{ status: 429, headers: { "retry-after": "30" } }])
      const clock = yield* Clock.Clock
      const at: Array<number> = []
      server.onAsked = () => void at.push(clock.currentTimeMillisUnsafe())
      const fiber = yield* Effect.forkChild(run())
      yield* passTimeUntil(() => at.length === 2)
      yield* Fiber.join(fiber)
      assert.isAtLeast(at[1]! - at[0]!, 30_000)
      assert.deepStrictEqual(read(), body)
      const patient = yield* setup([{ status: 429, headers: { "retry-after": "99999" } }])
      assert.strictEqual(reasonOf(yield* Effect.exit(patient.run())), "busy")
    }).pipe(Effect.ensuring(closing))
  )

  it.effect("silence ends an attempt, before the answer and within it, and the next goes on", () =>
    Effect.gen(function* () {
      let silent = false
      let stalled = false
      let here = 0
      const { read, run, said, server } = yield* setup([
        { silent: true, after: () => void (silent = true) },
        { stallAfter: 20_000, after: () => void (stalled = true) }
      ])
      const fiber = yield* Effect.forkChild(run({ onBytes: (bytes) => void (here = bytes) }))
      yield* until(() => silent)
      yield* passTimeUntil(() => server.asked.length === 2)
      yield* until(() => stalled && here === 20_000)
      yield* passTimeUntil(() => server.asked.length === 3)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(read(), body)
      assert.deepStrictEqual(ranges(server), [undefined, undefined, "bytes=20000-"])
      assert.match(said.join("\n"), /sent nothing for 60 s/)
    }).pipe(Effect.ensuring(closing))
  )
})

describe("a fault of the disk", () => {
  for (const how of ["crash", "ENOSPC"])
    live(`at every single change (${how}) leaves nothing wrong to be seen, and the next run ends it`, () =>
      Effect.gen(function* () {
        const short = body.subarray(0, 25_000)
        const { file, run } = yield* setup([], { body: short })
        for (let at = 0; ; at++) {
          const folder = temporaryFolder()
          const places = { part: join(folder, "part"), record: join(folder, "json"), to: join(folder, "done", "file") }
          file.faults = [{ cutAfter: 12_000 }]
          const { count, layer } = faulty({ at, how })
          const exit = yield* Effect.exit(run({ ...places, sha256: digestOf(short) }, {}, layer))
          if (Exit.isFailure(exit)) {
            const error = exit.cause.reasons.find((one) => one._tag === "Fail")?.error
            assert.instanceOf(error, StoreError)
          }
          if (existsSync(places.to)) assert.deepStrictEqual(readFileSync(places.to), short)
          yield* run({ ...places, sha256: digestOf(short) })
          assert.deepStrictEqual(readFileSync(places.to), short)
          if (count() > at) continue
          assert.isTrue(Exit.isSuccess(exit))
          assert.isAbove(at, 15)
          break
        }
      })
    )
})

describe("a token", () => {
  const token = Redacted.make("hf_SECRETsecret")

  live("goes to the hub's own origin alone, on no redirect to another, and into no message or record", () =>
    Effect.gen(function* () {
      const cdn = yield* setup([{ cutAfter: 30_000 }])
      const hub = yield* setup([])
      hub.file.faults = Array.from({ length: 5 }, () => ({
        status: 302,
        headers: {
          location: `${cdn.server.origin}/file`,
          "x-linked-etag": `"${digestOf(body)}"`,
          "x-linked-size": String(body.length)
        }
      }))
      hub.server.files.set("/moved", { body, faults: [{ status: 307, headers: { location: "/file" } }] })
      yield* hub.run({ urls: [`${hub.server.origin}/moved`] }, { token })
      assert.deepStrictEqual(hub.read(), body)
      assert.isAbove(hub.server.asked.length, 1)
      for (const one of hub.server.asked) assert.strictEqual(one.headers.authorization, "Bearer hf_SECRETsecret")
      assert.isAbove(cdn.server.asked.length, 0)
      for (const one of cdn.server.asked) assert.isUndefined(one.headers.authorization)
      const told = [readFileSync(hub.job.record, "utf8"), ...hub.said]

      const refused = yield* setup([{ status: 401 }, { status: 403 }])
      for (const expected of ["unauthorised", "forbidden"]) {
        const exit = yield* Effect.exit(refused.run({}, { token }))
        assert.strictEqual(reasonOf(exit), expected)
        told.push(String(exit), JSON.stringify(exit))
      }
      yield* Effect.promise(() => hub.server.close())
      const unreachable = yield* Effect.exit(hub.run({ to: `${hub.job.to}2`, record: `${hub.job.record}2` }, { token }))
      assert.strictEqual(reasonOf(unreachable), "unreachable")
      told.push(String(unreachable), JSON.stringify(unreachable))
      assert.notInclude(told.join("\n"), "SECRET")
    })
  )

  live("a query, which may be signed, shows up in no error either", () =>
    Effect.gen(function* () {
      const { run, said, server } = yield* setup([])
      const url = `${server.origin}/file?sig=SECRETquery`
      const told: Array<string> = []
      for (const faults of [[{ status: 404 }], [{ cutAfter: 5 }, { cutAfter: 0 }, { cutAfter: 0 }]]) {
        server.files.set("/file?sig=SECRETquery", { body, faults })
        const exit = yield* Effect.exit(run({ urls: [url] }, { attempts: 2 }))
        told.push(reasonOf(exit), String(exit), JSON.stringify(exit))
      }
      yield* Effect.promise(() => server.close())
      const exit = yield* Effect.exit(run({ urls: [url] }, { attempts: 2 }))
      told.push(reasonOf(exit), String(exit), JSON.stringify(exit))
      assert.include(told.join("\n"), "ECONNREFUSED")
      assert.notInclude([...told, ...said].join("\n"), "SECRET")
    })
  )

  live("redirects end: after ten, to nowhere, or to something that is no web address", () =>
    Effect.gen(function* () {
      const around = yield* setup(Array.from({ length: 20 }, () => ({ status: 302, headers: { location: "/file" } })))
      assert.strictEqual(reasonOf(yield* Effect.exit(around.run())), "redirect")
      for (const location of ["file:///etc/passwd", "http://"]) {
        const { run } = yield* setup([{ status: 302, headers: { location } }])
        assert.strictEqual(reasonOf(yield* Effect.exit(run())), "redirect")
      }
    })
  )
})
