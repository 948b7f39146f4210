/** Sources at an address: downloaded once for all callers, identified by content, and never visible half or wrong. */
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Redacted } from "effect"
import { treeDigest } from "../../../src/store/Digests.ts"
import * as Gc from "../../../src/store/Gc.ts"
import * as LocalStore from "../../../src/store/LocalStore.ts"
import type { DownloadError } from "../../../src/store/remote/DownloadError.ts"
import type { Settings } from "../../../src/store/remote/Settings.ts"
import { SourceError, type SourceHere, type SourceSpec, Store } from "../../../src/store/Store.ts"
import { pathsUnder, temporaryFolder } from "../Support.ts"
import { bytesOf, digestOf, type File, type Served, serve } from "./Server.ts"

const script = fileURLToPath(new URL("./FetchOnce.ts", import.meta.url))
const body = bytesOf(100_000)
const servers: Array<Served> = []
const children: Array<ReturnType<typeof spawn>> = []
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL")
  await Promise.all(servers.map((one) => one.close()))
})

const served = (files: Readonly<Record<string, File>>) =>
  Effect.promise(async () => {
    const server = await serve(files)
    servers.push(server)
    return server
  })

const storeAt = (root: string, downloads: Partial<Settings> = {}) =>
  Layer.provideMerge(
    LocalStore.layer({ root, downloads: { backoffMs: 1, attempts: 2, ...downloads } }),
    Layer.merge(NodeFileSystem.layer, Logger.layer([]))
  )

const fetch = (spec: Omit<SourceSpec, "node">, pipeline = "p") =>
  Effect.flatMap(Store, (store) => store.fetchSource({ node: "n", ...spec }, { pipeline }))
const look = (spec: Omit<SourceSpec, "node">) =>
  Effect.flatMap(Store, (store) => store.lookAtSource({ node: "n", ...spec }))

const failure = (exit: Exit.Exit<unknown, unknown>): SourceError & { readonly cause: DownloadError } => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find((one) => one._tag === "Fail")?.error : undefined
  assert.instanceOf(error, SourceError)
  return error as SourceError & { readonly cause: DownloadError }
}

interface Ended {
  readonly signal: NodeJS.Signals | null
  readonly found: SourceHere | undefined
}

/** Fetches in a process of its own. */
const start = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] })
  children.push(child)
  let out = ""
  child.stdout!.on("data", (data) => (out += data))
  const ended = new Promise<Ended>((done) =>
    child.on("close", (_, signal) => done({ signal, found: out === "" ? undefined : JSON.parse(out) }))
  )
  return { child, ended: Effect.promise(() => ended) }
}

/** Paths under the store's downloads, without locks. */
const downloads = (root: string) =>
  pathsUnder(root)
    .filter((path) => path.startsWith("downloads/") && !path.startsWith("downloads/locks/"))
    .map((path) => path.slice("downloads/".length))

describe("a file at an address", () => {
  it.live("is fetched once, known by its content, and looked at without a request", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/d/data.json": { body } })
      const location = `${server.origin}/d/data.json`
      const root = temporaryFolder()
      const program = Effect.gen(function* () {
        const before = yield* look({ location, bytes: body.length })
        assert.deepStrictEqual(before, { here: false, address: location, bytes: body.length })
        assert.lengthOf(server.asked, 0)
        const found = yield* fetch({ location })
        assert.strictEqual(found.path, join(root, "downloads", digestOf(body), "data.json"))
        assert.strictEqual(found.digest, digestOf(body))
        assert.deepStrictEqual(readFileSync(found.path), body)
        assert.deepStrictEqual(yield* look({ location }), found)
        assert.deepStrictEqual(yield* fetch({ location }), found)
        assert.lengthOf(server.asked, 1)
        return found
      })
      const found = yield* Effect.provide(program, storeAt(root))
      const again = yield* Effect.provide(fetch({ location }), storeAt(root)) // the next process
      assert.deepStrictEqual(again, found)
      assert.lengthOf(server.asked, 1)
      assert.deepStrictEqual(
        downloads(root).filter((path) => !path.startsWith("addresses/")),
        [`${digestOf(body)}/data.json`]
      )
    })
  )

  it.live("with a digest that is here already, no request is made, whatever the address", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      const program = Effect.gen(function* () {
        const found = yield* fetch({ location: `${server.origin}/a` })
        const other = { location: "https://nowhere.invalid/b?sig=1", sha256: digestOf(body) }
        assert.deepStrictEqual(yield* fetch(other), found)
        const absent = yield* look({ location: "https://nowhere.invalid/c?sig=1", sha256: "0".repeat(64) })
        assert.deepStrictEqual(absent, {
          here: false,
          address: "https://nowhere.invalid/c?...",
          digest: "0".repeat(64)
        })
      })
      yield* Effect.provide(program, storeAt(temporaryFolder()))
      assert.lengthOf(server.asked, 1)
    })
  )

  it.live("whose record lies in another address's place is fetched again, and is not taken for the other", () =>
    Effect.gen(function* () {
      const other = bytesOf(50_000)
      const server = yield* served({ "/a": { body }, "/b": { body: other } })
      const root = temporaryFolder()
      const [a, b] = [`${server.origin}/a`, `${server.origin}/b`]
      const program = Effect.gen(function* () {
        assert.strictEqual((yield* fetch({ location: a })).digest, digestOf(body))
        assert.strictEqual((yield* fetch({ location: b })).digest, digestOf(other))
        const folder = join(root, "downloads", "addresses")
        const [one, two] = readdirSync(folder).map((name) => join(folder, name))
        const [first, second] = [readFileSync(one!), readFileSync(two!)]
        writeFileSync(one!, second)
        writeFileSync(two!, first)
        assert.isFalse((yield* look({ location: a })).here)
        assert.strictEqual((yield* fetch({ location: a })).digest, digestOf(body))
        assert.strictEqual((yield* fetch({ location: b })).digest, digestOf(other))
      })
      yield* Effect.provide(program, storeAt(root))
    })
  )

  it.live("the same content from another address stays where it is while others read it", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body }, "/b": { body } })
      const program = Effect.gen(function* () {
        const a = yield* fetch({ location: `${server.origin}/a` })
        const before = statSync(a.path).ino
        const b = yield* fetch({ location: `${server.origin}/b` })
        assert.strictEqual(b.path, a.path)
        assert.strictEqual(statSync(b.path).ino, before)
        assert.lengthOf(server.asked, 2)
        assert.deepStrictEqual(yield* fetch({ location: `${server.origin}/b` }), b)
        assert.lengthOf(server.asked, 2)
      })
      yield* Effect.provide(program, storeAt(temporaryFolder()))
    })
  )

  it.live("that comes from several addresses at the same time is here once, and nobody stumbles over another", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 8; seed++) {
        const content = bytesOf(500, seed)
        const server = yield* served({ "/a": { body: content }, "/b": { body: content }, "/c": { body: content } })
        const root = temporaryFolder()
        const found = yield* Effect.forEach(
          ["a", "b", "c"],
          (name) => fetch({ location: `${server.origin}/${name}` }),
          {
            concurrency: "unbounded"
          }
        ).pipe(Effect.provide(storeAt(root)))
        const [path] = found.map((one) => one.path)
        for (const one of found) assert.strictEqual(one.path, path)
        assert.deepStrictEqual(readFileSync(path!), content)
      }
    })
  )

  it.live("that was changed on disk is not taken for what was fetched, and is fetched again", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      const location = `${server.origin}/a`
      const root = temporaryFolder()
      const found = yield* Effect.provide(fetch({ location }), storeAt(root))
      writeFileSync(found.path, bytesOf(100_000, 9))
      const program = Effect.gen(function* () {
        assert.isFalse((yield* look({ location })).here)
        assert.deepStrictEqual(readFileSync((yield* fetch({ location })).path), body)
      })
      yield* Effect.provide(program, storeAt(root))
      assert.lengthOf(server.asked, 2)
    })
  )

  it.live("that is corrupt leaves nothing to be seen, and the error says what and what to do", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body, faults: [{ corrupt: true }] } })
      const root = temporaryFolder()
      const spec = { location: `${server.origin}/a`, sha256: digestOf(body) }
      const error = failure(yield* Effect.exit(Effect.provide(fetch(spec), storeAt(root))))
      assert.strictEqual(error.cause.reason, "corrupt")
      assert.strictEqual(error.node, "n")
      assert.include(error.message, digestOf(body))
      assert.isFalse(existsSync(join(root, "downloads", digestOf(body))))
      assert.isFalse((yield* Effect.provide(look(spec), storeAt(root))).here)
      assert.isTrue((yield* Effect.provide(fetch(spec), storeAt(root))).here)
    })
  )

  it.live("with a digest that no file can have is an error before a byte is asked for", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      for (const sha256 of [digestOf(body).toUpperCase(), "TODO", "../../x"]) {
        const spec = { location: `${server.origin}/a`, sha256 }
        const error = failure(yield* Effect.exit(Effect.provide(fetch(spec), storeAt(temporaryFolder()))))
        assert.match(error.message, /the sha256 of .* is not one/)
      }
      assert.lengthOf(server.asked, 0)
    })
  )

  it.live("is not fetched offline, nor when a variable cannot be read, nor from an address that is none", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      const location = `${server.origin}/a`
      const offline = yield* Effect.exit(
        Effect.provide(fetch({ location }), storeAt(temporaryFolder(), { offline: true }))
      )
      assert.strictEqual(failure(offline).cause.reason, "offline")
      for (const wrong of [
        { location: "hf://only-one-part" },
        { location, files: ["x"] },
        { location: `${server.origin}/folder/` },
        { location: `${server.origin}/folder/`, files: ["*.json"] },
        { location: `${server.origin}/folder/`, files: ["../x"] }
      ])
        for (const use of [fetch, look]) {
          const exit = yield* Effect.exit(
            Effect.provide<any, any, any, any, any, any>(use(wrong), storeAt(temporaryFolder()))
          )
          assert.strictEqual(failure(exit).cause.reason, "address", wrong.location)
        }
      assert.lengthOf(server.asked, 0)
    })
  )
})

describe("processes", () => {
  it.live("a process killed in the middle leaves a part, and the next fetches only the rest", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body, faults: [{ stallAfter: 64_000 }] } })
      const root = temporaryFolder()
      const location = `${server.origin}/a`
      const child = start(root, location)
      // Durable bytes are what the record says; the process is killed once there are some.
      const records = () =>
        downloads(root)
          .filter((path) => /^parts\/.*\/[0-9a-f]{16}\.json$/.test(path))
          .map((path) => (JSON.parse(readFileSync(join(root, "downloads", path), "utf8")) as { bytes: number }).bytes)
      yield* Effect.repeat(Effect.sleep(5), { until: () => (records()[0] ?? 0) > 0 })
      child.child.kill("SIGKILL")
      assert.strictEqual((yield* child.ended).signal, "SIGKILL")
      const durable = records()[0]!
      assert.isAtMost(durable, 64_000)
      assert.isFalse(existsSync(join(root, "downloads", digestOf(body))))

      const { found } = yield* start(root, location).ended
      assert.strictEqual(found?.digest, digestOf(body))
      assert.deepStrictEqual(readFileSync(found!.path), body)
      assert.lengthOf(server.asked, 2)
      assert.strictEqual(server.asked[1]!.headers.range, `bytes=${durable}-`)
      assert.strictEqual(server.asked[1]!.sent, body.length - durable)
    })
  )

  it.live("two at once fetch one file once, and both get it", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      const root = temporaryFolder()
      yield* Effect.provide(Effect.asVoid(Store), storeAt(root)) // the folder itself is made once
      const both = [
        start(root, `${server.origin}/a`),
        start(root, `${server.origin}/a`),
        start(root, `${server.origin}/a`)
      ]
      for (const { ended } of both) assert.strictEqual((yield* ended).found?.digest, digestOf(body))
      assert.lengthOf(server.asked, 1)
      assert.strictEqual(server.sent(), body.length)
    })
  )
})

describe("the hub", () => {
  const commit = "c".repeat(40)
  const token = Redacted.make("hf_SECRETsecret")
  const small = Buffer.from('{"a": 1}')
  const listed = (files: Readonly<Record<string, Buffer>>) => ({
    body: Buffer.from(
      JSON.stringify({
        sha: commit,
        siblings: Object.entries(files).map(([rfilename, one]) => ({
          rfilename,
          size: one.length,
          ...(one.length > 100 ? { lfs: { sha256: digestOf(one), size: one.length, pointerSize: 134 } } : {})
        }))
      })
    )
  })

  it.live("a large file comes from where the hub sends us, without the token, and is held to the hub's digest", () =>
    Effect.gen(function* () {
      const cdn = yield* served({ "/blob?sig=secretsig": { body, faults: [{ cutAfter: 40_000 }, { corrupt: true }] } })
      const redirect = {
        status: 302,
        headers: {
          location: `${cdn.origin}/blob?sig=secretsig`,
          "x-linked-etag": `"${digestOf(body)}"`,
          "x-linked-size": String(body.length),
          "x-repo-commit": commit
        }
      }
      const hub = yield* served({
        "/datasets/o/n/resolve/main/big.zip": { body: small, faults: Array.from({ length: 9 }, () => redirect) }
      })
      const root = temporaryFolder()
      const layer = storeAt(root, { endpoint: hub.origin, token })
      const found = yield* Effect.provide(fetch({ location: "hf://datasets/o/n/big.zip" }), layer)
      assert.deepStrictEqual(readFileSync(found.path), body)
      assert.isAtLeast(hub.asked.length, 3) // cut, then corrupt: both were noticed
      for (const one of hub.asked) assert.strictEqual(one.headers.authorization, "Bearer hf_SECRETsecret")
      for (const one of cdn.asked) assert.isUndefined(one.headers.authorization)
      const everything = pathsUnder(root)
        .filter((path) => !path.endsWith("big.zip"))
        .map((path) => readFileSync(join(root, path), "utf8"))
        .join("\n")
      assert.include(everything, "hf://datasets/o/n/big.zip")
      assert.notMatch(everything, /SECRET|secretsig/)
    })
  )

  it.live("a folder is listed once, at a commit, and its files are the source", () =>
    Effect.gen(function* () {
      const files = { "config.json": small, "sub/model.safetensors": body, "README.md": Buffer.from("no") }
      const hub = yield* served({
        "/api/models/o/n/revision/v1?blobs=true": listed(files),
        [`/o/n/resolve/${commit}/config.json`]: { body: small },
        [`/o/n/resolve/${commit}/sub/model.safetensors`]: { body, faults: [{ cutAfter: 1000 }] }
      })
      const root = temporaryFolder()
      const layer = storeAt(root, { endpoint: hub.origin, token })
      const spec = { location: "hf://o/n@v1/", files: ["config.json", "**.safetensors"] }
      const found = yield* Effect.provide(fetch(spec), layer)
      const digest = treeDigest([
        { path: "config.json", bytes: small.length, sha256: digestOf(small) },
        { path: "sub/model.safetensors", bytes: body.length, sha256: digestOf(body) }
      ])
      assert.deepStrictEqual(found, {
        here: true,
        path: join(root, "downloads", digest),
        digest,
        bytes: small.length + body.length
      })
      assert.deepStrictEqual(readFileSync(join(found.path, "sub/model.safetensors")), body)
      const asked = hub.asked.length
      assert.deepStrictEqual(yield* Effect.provide(fetch(spec), layer), found)
      assert.lengthOf(hub.asked, asked)
      // A folder given on disk with the same files has the same digest: the address is no part of it.
      const local = yield* Effect.provide(fetch({ location: found.path }), layer)
      assert.strictEqual(local.digest, digest)
      const absent = yield* Effect.exit(Effect.provide(fetch({ ...spec, files: ["vocab.json"] }), layer))
      assert.match(failure(absent).message, /has no vocab.json/)
    })
  )

  it.live("a list that the hub is too busy to give is asked for later, not at once", () =>
    Effect.gen(function* () {
      const files = { a: small }
      const list: File = {
        ...listed(files),
        faults: [{ status: 429, headers: { "retry-after": "1" } }, { status: 500 }]
      }
      const server = yield* served({
        "/api/models/o/n/revision/main?blobs=true": list,
        [`/o/n/resolve/${commit}/a`]: { body: small }
      })
      const at: Array<number> = []
      server.onAsked = () => void at.push(performance.now())
      const layer = storeAt(temporaryFolder(), { endpoint: server.origin, attempts: 3, backoffMs: 50 })
      yield* Effect.provide(fetch({ location: "hf://o/n" }), layer)
      assert.lengthOf(at, 4)
      assert.isAtLeast(at[1]! - at[0]!, 990)
      assert.isAtLeast(at[2]! - at[1]!, 90)
    })
  )

  it.live("a folder's list comes from the mirror too; one that has none is no obstacle", () =>
    Effect.gen(function* () {
      const files = {
        "/api/models/o/n/revision/main?blobs=true": listed({ a: small }),
        [`/o/n/resolve/${commit}/a`]: { body: small }
      }
      const mirror = yield* served(files)
      const gone = yield* served({})
      for (const [to, endpoint] of [
        [mirror.origin, gone.origin],
        [gone.origin, mirror.origin]
      ] as const) {
        const layer = storeAt(temporaryFolder(), { endpoint, mirrors: [{ from: endpoint, to }] })
        const { path } = yield* Effect.provide(fetch({ location: "hf://o/n" }), layer)
        assert.deepStrictEqual(readFileSync(join(path, "a")), small)
      }
    })
  )

  it.live("a folder that was interrupted fetches no finished file again, and none of another commit", () =>
    Effect.gen(function* () {
      const files = { "a.bin": body, "b.bin": bytesOf(50_000, 3) }
      const at = (path: string, one: string) => `/datasets/o/n/resolve/${one}/${path}`
      const list = "/api/datasets/o/n/revision/main?blobs=true"
      const down = Array.from({ length: 2 }, () => ({ status: 500 }))
      const hub = yield* served({
        [list]: listed(files),
        [at("a.bin", commit)]: { body },
        [at("b.bin", commit)]: { body: files["b.bin"], faults: [...down] }
      })
      const layer = storeAt(temporaryFolder(), { endpoint: hub.origin })
      const spec = { location: "hf://datasets/o/n/" }
      assert.strictEqual(failure(yield* Effect.exit(Effect.provide(fetch(spec), layer))).cause.reason, "server")
      yield* Effect.provide(fetch(spec), layer)
      assert.lengthOf(
        hub.asked.filter((one) => one.path.endsWith("a.bin")),
        1
      )
      const moved = "d".repeat(40)
      const layer2 = storeAt(temporaryFolder(), { endpoint: hub.origin })
      hub.files.get(at("b.bin", commit))!.faults = [...down]
      yield* Effect.exit(Effect.provide(fetch(spec), layer2))
      const second = { ...files, "a.bin": bytesOf(100_000, 5) }
      hub.files.set(list, { body: Buffer.from(listed(second).body.toString().replaceAll(commit, moved)) })
      for (const [name, one] of Object.entries(second)) hub.files.set(at(name, moved), { body: one })
      const found = yield* Effect.provide(fetch(spec), layer2)
      assert.deepStrictEqual(readFileSync(join(found.path, "a.bin")), second["a.bin"])
    })
  )

  it.live("a private file without a token says how to give one", () =>
    Effect.gen(function* () {
      const hub = yield* served({
        "/o/n/resolve/main/x": { body, faults: [{ status: 401, headers: { "x-error-code": "GatedRepo" } }] }
      })
      const layer = storeAt(temporaryFolder(), { endpoint: hub.origin })
      const error = failure(yield* Effect.exit(Effect.provide(fetch({ location: "hf://o/n/x" }), layer)))
      assert.strictEqual(error.path, "hf://o/n/x")
      assert.match(`${error.message} ${error.hint}`, /401: the repository is gated .*HF_TOKEN/)
    })
  )
})

describe("a folder of a plain server", () => {
  it.live("is made of the files that the recipe names", () =>
    Effect.gen(function* () {
      const server = yield* served({
        "/d/a%20b.txt": { body: Buffer.from("1") },
        "/d/sub/c.txt": { body: Buffer.from("2") }
      })
      const spec = { location: `${server.origin}/d/`, files: ["a b.txt", "sub/c.txt"] }
      const found = yield* Effect.provide(fetch(spec), storeAt(temporaryFolder()))
      assert.strictEqual(readFileSync(join(found.path, "a b.txt"), "utf8"), "1")
      assert.strictEqual(readFileSync(join(found.path, "sub/c.txt"), "utf8"), "2")
    })
  )
})

describe("garbage", () => {
  it.live("is what no source of a pipeline was last; unfinished downloads stay unless they are given up", () =>
    Effect.gen(function* () {
      const next = bytesOf(1000, 4)
      const cut = Array.from({ length: 2 }, () => ({ cutAfter: 0 }))
      const server = yield* served({
        "/a": { body },
        "/b": { body: next },
        "/c": { body, faults: [{ cutAfter: 50_000 }, ...cut] }
      })
      const root = temporaryFolder()
      const program = Effect.gen(function* () {
        const a = yield* fetch({ location: `${server.origin}/a` })
        assert.deepStrictEqual((yield* Gc.plan(root)).garbage, [])
        const b = yield* fetch({ location: `${server.origin}/b` }) // the source reads another address now
        yield* Effect.exit(fetch({ location: `${server.origin}/c` }))
        const plan = yield* Gc.plan(root)
        assert.deepStrictEqual(
          plan.garbage.map(({ bytes, kind, path, what }) => ({ bytes, kind, path, what })),
          [{ bytes: body.length, kind: "download", path: join(a.path, ".."), what: `${server.origin}/a` }]
        )
        assert.deepStrictEqual(
          plan.resumable.map(({ what }) => what),
          [`unfinished: ${server.origin}/c`]
        )
        assert.isTrue(existsSync(a.path))
        assert.strictEqual(yield* Gc.collect(root, plan), body.length)
        assert.isFalse(existsSync(a.path))
        assert.isTrue(existsSync(b.path))
        const all = yield* Gc.plan(root, { unfinished: true })
        assert.lengthOf(all.garbage, 1)
        yield* Gc.collect(root, all)
        assert.deepStrictEqual(readdirSync(join(root, "downloads", "parts")), [])
        assert.lengthOf((yield* Gc.plan(root, { pipelines: ["another"] })).garbage, 1)
      })
      yield* Effect.provide(program, storeAt(root))
    })
  )

  it.live("a folder that stores share is left alone", () =>
    Effect.gen(function* () {
      const server = yield* served({ "/a": { body } })
      const shared = temporaryFolder()
      const roots = [temporaryFolder(), temporaryFolder()]
      for (const root of roots) {
        const program = Effect.gen(function* () {
          const found = yield* fetch({ location: `${server.origin}/a` })
          assert.strictEqual(found.path, join(shared, digestOf(body), "a"))
          rmSync(join(root, "uses"), { recursive: true })
          assert.deepStrictEqual((yield* Gc.plan(root)).garbage, [])
        })
        yield* Effect.provide(program, storeAt(root, { folder: shared }))
      }
      assert.lengthOf(server.asked, 1)
    })
  )
})
