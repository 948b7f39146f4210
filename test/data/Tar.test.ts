import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { fromTar } from "../../src/data/ImageSource.ts"
import { openTar, TarError, type TarOptions } from "../../src/data/Tar.ts"
import { paxRecord, seal, type TarEntry, tarBytes, tarEnd, tarEntry, tarHeader } from "./TarWriter.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-tar-"))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const file = (bytes: Uint8Array): string => {
  const path = join(folder, `${count++}.tar`)
  writeFileSync(path, bytes)
  return path
}
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

const two: ReadonlyArray<TarEntry> = [
  { name: "a.txt", data: text("hello") },
  { name: "b/c.bin", data: Uint8Array.from({ length: 700 }, (_, i) => i) }
]

const attempt = (path: string, name?: string, options?: TarOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const tar = yield* openTar(path, options)
      return name === undefined ? new Uint8Array() : yield* tar.read(name)
    })
  )

const reasonOf = (path: string, name?: string, options?: TarOptions) =>
  Effect.map(Effect.flip(attempt(path, name, options)), (error) => {
    assert.instanceOf(error, TarError)
    assert.isAbove(error.hint.length, 10)
    return error.reason
  })

/** The archive with a change in its first header, its checksum made right again. */
const changed = (change: (header: Buffer) => void): Buffer => {
  const bytes = tarBytes(two)
  change(bytes.subarray(0, 512))
  seal(bytes.subarray(0, 512))
  return bytes
}

const Piece = Schema.Literals(["a", "é", "漢", "-", " ", ".", "x".repeat(40)])

describe("Tar", () => {
  it.effect.prop(
    "gives back what was written in every dialect, short names and long",
    {
      entries: Schema.Array(
        Schema.Struct({
          name: Schema.Array(Piece),
          data: Schema.Array(Schema.Int),
          dialect: Schema.Literals(["v7", "ustar", "gnu", "pax"]),
          base256: Schema.Boolean,
          dot: Schema.Boolean
        })
      )
    },
    ({ entries }) =>
      Effect.gen(function* () {
        const given = entries.map(({ base256, data, dialect, dot, name }, i) => {
          // A slash every hundred bytes, where ustar can cut.
          const long = dialect === "gnu" || dialect === "pax"
          const own = `${i}/${(long ? name : name.slice(0, 2)).join("")}y`
          return { written: `${dot ? "./" : ""}${own}`, own, data: Uint8Array.from(data), dialect, base256 }
        })
        const path = file(tarBytes(given.map(({ own: _, written, ...entry }) => ({ ...entry, name: written }))))
        const tar = yield* openTar(path)
        assert.strictEqual(tar.size, given.length)
        assert.deepStrictEqual(
          [...tar.names()],
          given.map(({ own }) => own)
        )
        for (const { data, own } of given) {
          assert.isTrue(tar.has(own))
          assert.deepStrictEqual(yield* tar.read(own), data)
        }
        assert.isFalse(tar.has("absent"))
      })
  )

  it.effect("cuts long names at a slash in ustar, and takes long links in gnu and pax", () =>
    Effect.gen(function* () {
      const deep = `${"d".repeat(90)}/${"e".repeat(90)}.jpg`
      const far = `${"f".repeat(120)}.jpg`
      const tar = yield* openTar(
        file(
          tarBytes([
            { name: deep, data: text("ustar") },
            { name: far, data: text("far"), dialect: "gnu" },
            { name: "hard", type: "1", link: `./${deep}`, dialect: "pax" },
            { name: "hard-gnu", type: "1", link: far, dialect: "gnu" },
            { name: "hard-pax", type: "1", link: far, dialect: "pax" },
            { name: "soft", type: "2", link: "a" },
            { name: "folder/", type: "5" },
            { name: "pipe", type: "6" },
            { name: "old-folder/", dialect: "v7" },
            { name: "odd", type: "Z", data: text("unknown kinds are passed over with their bytes") },
            { name: "last", data: text("last") }
          ])
        )
      )
      assert.deepStrictEqual([...tar.names()], [deep, far, "hard", "hard-gnu", "hard-pax", "soft", "last"])
      assert.strictEqual(show(yield* tar.read(deep)), "ustar")
      assert.strictEqual(show(yield* tar.read("hard")), "ustar")
      assert.strictEqual(show(yield* tar.read("hard-gnu")), "far")
      assert.strictEqual(show(yield* tar.read("hard-pax")), "far")
      assert.strictEqual(show(yield* tar.read("last")), "last")
    })
  )

  it.effect("finds every entry of a large archive, whatever the sizes between", () =>
    Effect.gen(function* () {
      const size = (i: number): number => (i % 400 === 0 ? 300_000 : (i * 7) % 1500)
      const path = file(
        tarBytes(Array.from({ length: 9000 }, (_, i) => ({ name: `${i}.jpg`, data: Buffer.alloc(size(i), i) })))
      )
      const tar = yield* openTar(path)
      assert.strictEqual(tar.size, 9000)
      for (let i = 0; i < 9000; i += 57) {
        const bytes = yield* tar.read(`${i}.jpg`)
        assert.strictEqual(bytes.length, size(i))
        assert.isTrue(bytes.every((byte) => byte === i % 256))
      }
    })
  )

  it.effect("reads entries that lie past 8 GiB", () =>
    Effect.gen(function* () {
      const far = 9 * 2 ** 30
      const path = file(new Uint8Array(0))
      // A sparse file on disk; the first entry is its hole.
      const head = tarHeader(Buffer.from("large"), { size: far, base256: true, dialect: "gnu" })
      const { open } = yield* Effect.promise(() => import("node:fs/promises"))
      const handle = yield* Effect.promise(() => open(path, "w"))
      yield* Effect.promise(() => handle.write(head, 0, 512, 0))
      const rest = Buffer.concat([tarEntry(two[0]!), tarEnd])
      yield* Effect.promise(() => handle.write(rest, 0, rest.length, 512 + far))
      yield* Effect.promise(() => handle.close())
      const tar = yield* openTar(path)
      assert.strictEqual(show(yield* tar.read("a.txt")), "hello")
      assert.strictEqual((yield* Effect.flip(tar.read("large"))).reason, "too-large")
    })
  )

  it.effect("refuses what is cut, damaged or hostile, with the reason", () =>
    Effect.gen(function* () {
      const bytes = tarBytes(two)
      const pax = (...records: ReadonlyArray<Buffer>) => {
        const body = Buffer.concat(records)
        const padding = Buffer.alloc((512 - (body.length % 512)) % 512)
        return [tarHeader(Buffer.from("p"), { size: body.length, type: "x" }), body, padding]
      }
      const whole = (...parts: ReadonlyArray<Uint8Array>) => Buffer.concat([...parts, tarEntry(two[0]!), tarEnd])
      const cases: ReadonlyArray<readonly [string, TarError["reason"], Uint8Array, string?, TarOptions?]> = [
        ["nothing", "not-a-tar", new Uint8Array(0)],
        ["text", "not-a-tar", Buffer.alloc(2048, "no tar at all ")],
        ["a cut header", "truncated", bytes.subarray(0, 1024 + 100)],
        ["a cut entry", "truncated", bytes.subarray(0, 1024 + 512 + 600)],
        ["no end", "truncated", bytes.subarray(0, -1024)],
        ["a damaged header", "damaged", Buffer.concat([bytes.subarray(0, 1024), Buffer.alloc(512, 7), tarEnd])],
        ["two joined", "damaged", Buffer.concat([bytes, bytes])],
        ["gzip", "compressed", gzipSync(bytes)],
        ["zstd", "compressed", zstdCompressSync(bytes)],
        ["one name twice", "duplicate", tarBytes([two[0]!, two[0]!])],
        ["one name twice, spelled twice", "duplicate", tarBytes([two[0]!, { name: "./a.txt" }])],
        ["a sparse entry", "unsupported", tarBytes([{ name: "s", type: "S" }])],
        ["a size past the end", "truncated", changed((header) => header.write("77777777777", 124))],
        ["a size of 2^88", "not-a-tar", changed((header) => header.fill(0xff, 124, 136))],
        ["a size of words", "not-a-tar", changed((header) => header.write("1234apples", 124))],
        ["a giant long name", "damaged", tarBytes([{ name: "L", type: "L", data: Buffer.alloc(2 << 20) }])],
        ["a pax header without records", "damaged", whole(...pax(Buffer.from("9999 path=x\n")))],
        ["a pax header of nonsense", "damaged", whole(...pax(Buffer.from("path")))],
        ["a pax size of words", "damaged", whole(...pax(paxRecord("size", "many")))],
        ["a pax size past the end", "truncated", whole(...pax(paxRecord("size", "999999999999")))],
        ["a pax sparse file", "unsupported", whole(...pax(paxRecord("GNU.sparse.major", "1")))],
        ["an absent name", "not-found", bytes, "c.txt"],
        ["a parent", "unsafe-name", bytes, "../a.txt"],
        ["an absolute name", "unsafe-name", bytes, "/etc/passwd"],
        ["a backslash", "unsafe-name", bytes, "a\\b"],
        ["a small limit", "too-large", bytes, "b/c.bin", { maxEntryBytes: 699 }]
      ]
      for (const [what, reason, content, name, options] of cases) {
        assert.strictEqual(yield* reasonOf(file(content), name, options), reason, what)
      }
      assert.strictEqual(yield* reasonOf(join(folder, "absent.tar")), "unreadable")
    })
  )

  it.effect("passes over entries whose names lead out of the archive", () =>
    Effect.gen(function* () {
      const names = ["../up", "/etc/passwd", "a/../../b", "c:/d", "e\\f", "g\x01"]
      const tar = yield* openTar(file(tarBytes([...names.map((name) => ({ name })), two[0]!])))
      assert.deepStrictEqual([...tar.names()], ["a.txt"])
    })
  )

  it.effect("opens a folder of tar files as one, in name order, and more of them than files may be open", () =>
    Effect.gen(function* () {
      const shards = join(folder, "shards")
      mkdirSync(shards)
      for (let i = 0; i < 80; i++) {
        const name = String(i).padStart(5, "0")
        writeFileSync(join(shards, `${name}.tar`), tarBytes([{ name: `${name}.jpg`, data: text(`${i}`) }]))
      }
      writeFileSync(join(shards, "00000_stats.json"), "{}")
      const tar = yield* openTar(shards)
      assert.strictEqual(tar.size, 80)
      assert.strictEqual([...tar.names()][79], "00079.jpg")
      const names = [...tar.names(), ...tar.names()]
      const all = yield* Effect.forEach(names, (name) => tar.read(name), { concurrency: 40 })
      assert.deepStrictEqual(
        all.map((bytes) => Number(show(bytes))),
        names.map((_, i) => i % 80)
      )
      writeFileSync(join(shards, "00080.tar"), tarBytes([{ name: "00001.jpg" }]))
      assert.strictEqual(yield* reasonOf(shards), "duplicate")
      writeFileSync(join(shards, "00080.tar"), gzipSync(tarBytes([])))
      assert.strictEqual(yield* reasonOf(shards), "compressed")
      mkdirSync(join(folder, "empty"))
      assert.strictEqual(yield* reasonOf(join(folder, "empty")), "no-tars")
    })
  )

  it.effect("sees that a file was replaced, and that one is cut while it is open", () =>
    Effect.gen(function* () {
      const path = file(tarBytes(two))
      assert.strictEqual(show(yield* attempt(path, "a.txt")), "hello")
      const next = file(tarBytes([{ name: "a.txt", data: text("other") }]))
      renameSync(next, path)
      assert.strictEqual(show(yield* attempt(path, "a.txt")), "other")
      const error = yield* Effect.flip(
        Effect.scoped(
          Effect.gen(function* () {
            const tar = yield* openTar(path)
            truncateSync(path, 512)
            return yield* fromTar(tar).read("a.txt")
          })
        )
      )
      assert.strictEqual(error._tag === "ImageUnreadable" && error.reason, "damaged")
    })
  )

  const dialects = ["v7", "ustar", "gnu", "pax"] as const
  const version = (() => {
    try {
      return execFileSync("tar", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    } catch {
      return "" // not installed: said below
    }
  })()
  const missing = version.includes("GNU tar") ? "" : " (NoGnuTar: GNU tar is not installed)"

  it.effect.skipIf(missing !== "")(`reads what GNU tar writes in each of its formats${missing}`, () =>
    Effect.gen(function* () {
      const root = join(folder, "gnu")
      const long = `${"n".repeat(60)}/${"m".repeat(60)}`
      const files: Readonly<Record<string, string>> = {
        "a.jpg": "a".repeat(5000),
        "deep/b.json": "{}",
        "deep/ü 漢.txt": "named",
        empty: "",
        [`${long}/c`]: "long"
      }
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(root, name)), { recursive: true })
        writeFileSync(join(root, name), content)
      }
      for (const dialect of dialects) {
        const names = Object.keys(files).filter((name) => dialect !== "v7" || name.length < 100)
        const path = join(folder, `gnu-${dialect}.tar`)
        execFileSync("tar", [`--format=${dialect}`, "-cf", path, "-C", root, ...names.map((name) => `./${name}`)])
        const tar = yield* openTar(path)
        assert.deepStrictEqual([...tar.names()], names, dialect)
        for (const name of names) assert.strictEqual(show(yield* tar.read(name)), files[name], `${dialect} ${name}`)
        assert.strictEqual(readFileSync(path).length % 10_240, 0)
      }
    })
  )
})
