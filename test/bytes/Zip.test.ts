import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { openZip, ZipError, type ZipOptions } from "../../src/bytes/Zip.ts"
import { writeZip, ZipEncoder, type ZipEntry, zipBytes } from "../../src/bytes/ZipWriter.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-zip-"))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const file = (bytes: Uint8Array): string => {
  const path = join(folder, `${count++}.zip`)
  writeFileSync(path, bytes)
  return path
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const two: ReadonlyArray<ZipEntry> = [
  { name: "a.txt", data: text("hello ".repeat(200)), method: "deflate" },
  { name: "ü/b.bin", data: Uint8Array.from({ length: 300 }, (_, i) => i) }
]

/** Opens the bytes and reads `name`, or only opens them. */
const attempt = (bytes: Uint8Array, name?: string, options?: ZipOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const zip = yield* openZip(file(bytes), options)
      return name === undefined ? new Uint8Array() : yield* zip.read(name)
    })
  )

const reasonOf = (bytes: Uint8Array, name?: string, options?: ZipOptions) =>
  Effect.map(Effect.flip(attempt(bytes, name, options)), (error) => {
    assert.instanceOf(error, ZipError)
    assert.isAbove(error.hint.length, 10)
    return error.reason
  })

/** The same bytes with a change at `at` behind the `nth` place where `signature` stands. */
const patched = (bytes: Uint8Array, signature: number, nth: number, change: (buffer: Buffer, at: number) => void) => {
  const copy = Buffer.from(bytes)
  const mark = Buffer.alloc(4)
  mark.writeUInt32LE(signature)
  let at = -1
  for (let i = 0; i <= nth; i++) at = copy.indexOf(mark, at + 1)
  assert.isAtLeast(at, 0)
  change(copy, at)
  return copy
}

const LOCAL = 0x04034b50
const CENTRAL = 0x02014b50
const END = 0x06054b50

describe("Zip", () => {
  it.effect.prop(
    "gives back what was written, whatever the names and methods, with equal bytes for equal entries",
    {
      entries: Schema.Array(
        Schema.Struct({
          name: Schema.Array(Schema.Literals(["a", "é", "漢", ".", "-", " "])),
          data: Schema.Array(Schema.Int),
          deflate: Schema.Boolean
        })
      ),
      prefix: Schema.Array(Schema.Int)
    },
    ({ entries, prefix }) =>
      Effect.gen(function* () {
        const given = entries.map(({ name, data, deflate }, i): ZipEntry => {
          const method = deflate ? "deflate" : "stored"
          return { name: `${i}/${name.join("")}x`, data: Uint8Array.from(data), method }
        })
        const bytes = zipBytes(given)
        assert.isTrue(Buffer.from(bytes).equals(zipBytes(given)))
        // Bytes before the archive, as in one that unpacks itself.
        const path = file(Buffer.concat([Uint8Array.from(prefix), bytes]))
        const zip = yield* openZip(path)
        assert.strictEqual(zip.size, given.length)
        assert.deepStrictEqual(
          [...zip.names()],
          given.map((entry) => entry.name)
        )
        for (const { name, data } of given) {
          assert.isTrue(zip.has(name))
          assert.deepStrictEqual(new Uint8Array(yield* zip.read(name)), data)
        }
        assert.isFalse(zip.has("absent"))
      })
  )

  it.effect("streams a zip64 of 70,000 entries and finds each", () =>
    Effect.gen(function* () {
      const path = join(folder, "many.zip")
      const n = 70_000
      const entries = Stream.range(0, n - 1).pipe(
        Stream.map((i): ZipEntry => ({ name: `${i}.txt`, data: text(`${i * 7}`) }))
      )
      const written = yield* writeZip(path, entries)
      assert.strictEqual(written.entries, n)
      assert.strictEqual(written.bytes, readFileSync(path).length)
      const zip = yield* openZip(path)
      assert.strictEqual(zip.size, n)
      for (const i of [0, 1, 65_534, 65_535, 65_536, n - 1]) {
        assert.strictEqual(new TextDecoder().decode(yield* zip.read(`${i}.txt`)), `${i * 7}`)
      }
    })
  )

  it.effect("reads entries that lie past 4 GiB", () =>
    Effect.gen(function* () {
      const far = 5 * 2 ** 30
      const encoder = new ZipEncoder("far", far)
      const bytes = Buffer.concat([...encoder.add(two[0]!), ...encoder.add(two[1]!), ...encoder.finish()])
      const path = join(folder, "far.zip")
      const { open } = yield* Effect.promise(() => import("node:fs/promises"))
      const handle = yield* Effect.promise(() => open(path, "w"))
      // A sparse file: the first 5 GiB take no room.
      yield* Effect.promise(() => handle.write(bytes, 0, bytes.length, far))
      yield* Effect.promise(() => handle.close())
      const zip = yield* openZip(path)
      assert.deepStrictEqual(new Uint8Array(yield* zip.read("ü/b.bin")), two[1]!.data)
    })
  )

  it.effect("refuses what is cut, damaged or hostile, with the reason", () =>
    Effect.gen(function* () {
      const bytes = zipBytes(two)
      const deflated = zipBytes([two[0]!])
      const cases: ReadonlyArray<readonly [string, ZipError["reason"], Uint8Array, string?, ZipOptions?]> = [
        ["nothing", "not-a-zip", new Uint8Array(0)],
        ["text", "not-a-zip", text("no zip at all, but long enough for an end record")],
        ["a cut tail", "truncated", bytes.subarray(0, -3)],
        ["a cut head", "truncated", bytes.subarray(100)],
        ["an absent name", "not-found", bytes, "c.txt"],
        ["a parent", "unsafe-name", bytes, "../a.txt"],
        ["an absolute name", "unsafe-name", bytes, "/etc/passwd"],
        ["a drive", "unsafe-name", bytes, "c:/a.txt"],
        ["a backslash", "unsafe-name", bytes, "a\\b"],
        ["a small limit", "too-large", bytes, "a.txt", { maxEntryBytes: 1000 }],
        [
          "changed stored bytes",
          "crc-mismatch",
          patched(bytes, LOCAL, 1, (b, at) => b.writeUInt8(9, at + 60)),
          "ü/b.bin"
        ],
        [
          "changed deflated bytes",
          "crc-mismatch",
          patched(bytes, LOCAL, 0, (b, at) => b.fill(0xff, at + 36, at + 40)),
          "a.txt"
        ],
        ["an encrypted entry", "encrypted", patched(bytes, CENTRAL, 0, (b, at) => b.writeUInt8(1, at + 8)), "a.txt"],
        [
          "another method",
          "unsupported-method",
          patched(bytes, CENTRAL, 0, (b, at) => b.writeUInt8(12, at + 10)),
          "a.txt"
        ],
        ["a bomb", "size-mismatch", patched(deflated, CENTRAL, 0, (b, at) => b.writeUInt32LE(10, at + 24)), "a.txt"],
        [
          "a short entry",
          "size-mismatch",
          patched(deflated, CENTRAL, 0, (b, at) => b.writeUInt32LE(5000, at + 24)),
          "a.txt"
        ],
        [
          "stored of two sizes",
          "size-mismatch",
          patched(bytes, CENTRAL, 1, (b, at) => b.writeUInt32LE(10, at + 24)),
          "ü/b.bin"
        ],
        ["shared bytes", "overlap", patched(bytes, CENTRAL, 1, (b, at) => b.writeUInt32LE(1, at + 42))],
        ["bytes past the end", "truncated", patched(bytes, CENTRAL, 1, (b, at) => b.writeUInt32LE(9999, at + 20))],
        ["no local header", "damaged", patched(bytes, LOCAL, 0, (b, at) => b.writeUInt8(0, at)), "a.txt"],
        ["another name inside", "damaged", patched(bytes, LOCAL, 0, (b, at) => b.write("z", at + 30)), "a.txt"],
        ["a damaged record", "damaged", patched(bytes, CENTRAL, 1, (b, at) => b.writeUInt8(0, at))],
        ["too many declared", "damaged", patched(bytes, END, 0, (b, at) => b.writeUInt16LE(60_000, at + 10))],
        ["too few declared", "damaged", patched(bytes, END, 0, (b, at) => b.writeUInt16LE(1, at + 10))]
      ]
      for (const [what, reason, content, name, options] of cases) {
        assert.strictEqual(yield* reasonOf(content, name, options), reason, what)
      }
      const absent = yield* Effect.flip(Effect.scoped(openZip(join(folder, "absent.zip"))))
      assert.strictEqual(absent.reason, "unreadable")
    })
  )

  it.effect.prop(
    "never crashes on damaged bytes",
    {
      at: Schema.Array(
        Schema.Tuple([
          Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
        ])
      )
    },
    ({ at }) =>
      Effect.gen(function* () {
        const bytes = Buffer.from(zipBytes(two))
        for (const [place, value] of at) bytes[Math.floor(place * 0.9999 * bytes.length)] = value
        const result = yield* Effect.result(attempt(bytes, "a.txt"))
        if (result._tag === "Failure") assert.instanceOf(result.failure, ZipError)
        else assert.deepStrictEqual(new Uint8Array(result.success), two[0]!.data)
      }),
    { arbitrary: { runs: 200 } }
  )

  it("writes no unsafe and no repeated name", () => {
    for (const name of ["", "../a", "/a", "a/../b", "a\\b", "a\0"]) {
      assert.throws(() => zipBytes([{ name, data: text("x") }]), /unsafe/)
    }
    assert.throws(() => zipBytes([two[0]!, two[0]!]), /before/)
  })

  it.effect("takes the last of equal names and reads names in the old code page", () =>
    Effect.gen(function* () {
      const bytes = zipBytes([
        { name: "a", data: text("1") },
        { name: "b", data: text("2") },
        { name: "c\x7f", data: text("3") }
      ])
      const renamed = Buffer.from(bytes)
      for (const signature of [LOCAL, CENTRAL]) {
        const mark = Buffer.alloc(4)
        mark.writeUInt32LE(signature)
        const name = signature === LOCAL ? 30 : 46
        const second = renamed.indexOf(mark, renamed.indexOf(mark) + 1)
        renamed.write("a", second + name)
        const third = renamed.indexOf(mark, second + 1)
        renamed.writeUInt8(0x81, third + name + 1)
        renamed.writeUInt16LE(0, third + (signature === LOCAL ? 6 : 8))
      }
      const zip = yield* openZip(file(renamed))
      assert.deepStrictEqual([...zip.names()], ["a", "cü"])
      assert.strictEqual(new TextDecoder().decode(yield* zip.read("a")), "2")
      assert.strictEqual(new TextDecoder().decode(yield* zip.read("cü")), "3")
    })
  )
})
