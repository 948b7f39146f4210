/** Zip, tar and folder resolve the same names, with or without `./` and `//`; archives that Python opens are opened. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, posix } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { isIrregular, normalBytes, normalName } from "../../src/bytes/ZipFormat.ts"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import { fromTar, fromZip, mounted, openFolder } from "../../src/data/ImageSource.ts"
import { openTar } from "../../src/data/Tar.ts"
import { type TarEntry, tarBytes } from "./TarWriter.ts"

const base = mkdtempSync(join(tmpdir(), "millrace-names-"))
afterAll(() => rmSync(base, { recursive: true }))
let count = 0
const file = (bytes: Uint8Array): string => {
  const path = join(base, `${count++}`)
  writeFileSync(path, bytes)
  return path
}
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

/** `a/b` as `./a//./b`, with `how` choosing what stands before each part. */
const spelled = (parts: ReadonlyArray<string>, how: ReadonlyArray<string>): string =>
  parts.map((part, i) => `${i > 0 ? "/" : ""}${i === 0 && how[i] === "/" ? "" : (how[i] ?? "")}${part}`).join("")

const Part = Schema.Literals(["a", "bc", ".d", "..e", "f.", "漢", "x.jpg", "į"])
const How = Schema.Array(Schema.Literals(["", "./", "/", "././", ".//"]))
const Parts = Schema.Array(Part).check(Schema.isMinLength(1), Schema.isMaxLength(4))

describe("names in archives", () => {
  it.effect.prop(
    "an entry is found under every spelling, however it is spelled in the archive, in zip, tar and folder",
    { parts: Parts, inside: How, asked: How, others: Schema.Array(Parts) },
    ({ asked, inside, others, parts }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const name = parts.join("/")
          const more = [...new Set(others.map((one) => `other/${one.join("/")}`))].map((one) => ({
            name: one,
            data: text(one)
          }))
          const entries = [...more, { name: spelled(parts, inside), data: text(name) }]
          const folder = mkdtempSync(join(base, "f-"))
          mkdirSync(dirname(join(folder, name)), { recursive: true })
          writeFileSync(join(folder, name), name)
          const zip = yield* openZip(file(zipBytes(entries)))
          const tar = yield* openTar(file(tarBytes(entries)))
          const sources = [fromZip(zip), fromTar(tar), yield* openFolder(folder)]
          for (const source of [...sources, ...sources.map((one) => mounted({ "./m//n/": one }))]) {
            const before = source.source.startsWith("{") ? "m/./n//" : ""
            const ask = `${before}${spelled(parts, asked)}`
            assert.strictEqual(show(yield* source.read(ask)), name, `${ask} of ${source.source}`)
          }
          for (const one of [zip, tar]) {
            assert.deepStrictEqual([...one.names()], [...more.map((entry) => entry.name), name])
            assert.isTrue(one.has(spelled(parts, asked)))
            for (const { data, name: other } of more) assert.deepStrictEqual(yield* one.read(other), Buffer.from(data))
          }
        })
      ),
    { arbitrary: { runs: 60 } }
  )

  it.prop(
    "a normal name is one that a file system resolves to the same place, of text and of bytes alike",
    { parts: Schema.Array(Schema.Literals(["", ".", "..", "a", ".b", "ü", "į"])) },
    ({ parts }) => {
      const name = [...parts, "z.jpg"].join("/").replace(/^\/+/, "")
      const normal = normalName(name)
      assert.strictEqual(normalName(normal), normal)
      assert.isFalse(normal.split("/").some((part) => part === "" || part === "."))
      assert.strictEqual(posix.normalize(normal), posix.normalize(name))
      assert.strictEqual(Buffer.from(normalBytes(Buffer.from(name))).toString(), normal)
      assert.strictEqual(isIrregular(Buffer.from(name)), normal !== name)
    }
  )

  it.effect("a zip opens with zeros, a cut comment or other bytes behind it, as Python's zipfile opens it", () =>
    Effect.gen(function* () {
      const bytes = zipBytes([{ name: "a.jpg", data: text("hello") }])
      const commented = Buffer.concat([bytes, text("a comment")])
      commented.writeUInt16LE(9, bytes.length - 2)
      const behind: ReadonlyArray<readonly [string, Uint8Array]> = [
        ["zeros", Buffer.concat([bytes, Buffer.alloc(40_000)])],
        ["as many zeros as a comment may have", Buffer.concat([bytes, Buffer.alloc(65_535)])],
        ["a line", Buffer.concat([bytes, text("\n")])],
        ["a signature", Buffer.concat([bytes, Buffer.alloc(256, 7)])],
        ["a comment", commented],
        ["a cut comment", commented.subarray(0, -4)],
        ["a comment and zeros", Buffer.concat([commented, Buffer.alloc(1000)])]
      ]
      for (const [what, content] of behind) {
        const zip = yield* openZip(file(content))
        assert.strictEqual(show(yield* zip.read("a.jpg")), "hello", what)
      }
      const far = yield* Effect.flip(openZip(file(Buffer.concat([bytes, Buffer.alloc(200_000)]))))
      assert.strictEqual(far.reason, "truncated")
    })
  )

  const linked: ReadonlyArray<TarEntry> = [
    { name: "data/real.jpg", data: text("real") },
    { name: "hard.jpg", type: "1", link: "data/real.jpg" },
    { name: "early-hard.jpg", type: "1", link: "later.jpg" },
    { name: "data/soft.jpg", type: "2", link: "real.jpg" },
    { name: "up/soft.jpg", type: "2", link: "../data/./real.jpg" },
    { name: "before.jpg", type: "2", link: "later.jpg" },
    { name: "twice.jpg", type: "2", link: "up/soft.jpg" },
    { name: "images", type: "2", link: "data" },
    { name: "behind.jpg", type: "2", link: "images/soft.jpg" },
    { name: "later.jpg", data: text("later") },
    { name: "gone.jpg", type: "2", link: "no/such.jpg" },
    { name: "gone-hard.jpg", type: "1", link: "no/such.jpg" },
    { name: "out.jpg", type: "2", link: "../../etc/passwd" },
    { name: "absolute.jpg", type: "2", link: "/etc/passwd" },
    { name: "loop.jpg", type: "2", link: "loop.jpg" },
    { name: "ping", type: "2", link: "pong/a" },
    { name: "pong", type: "2", link: "ping/a" }
  ]

  it.effect("links in a tar are followed inside of it, and named as links where they lead nowhere", () =>
    Effect.gen(function* () {
      const tar = yield* openTar(file(tarBytes(linked)))
      const right = {
        "hard.jpg": "real",
        "early-hard.jpg": "later",
        "data/soft.jpg": "real",
        "up/soft.jpg": "real",
        "before.jpg": "later",
        "twice.jpg": "real",
        "images/real.jpg": "real",
        "images/soft.jpg": "real",
        "behind.jpg": "real"
      }
      for (const [name, expected] of Object.entries(right)) {
        assert.strictEqual(show(yield* tar.read(name)), expected, name)
        assert.isTrue(tar.has(name), name)
      }
      const images = fromTar(tar)
      for (const name of ["gone.jpg", "gone-hard.jpg", "out.jpg", "absolute.jpg", "loop.jpg", "ping", "pong/x"]) {
        const error = yield* Effect.flip(tar.read(name))
        assert.strictEqual(error.reason, "link", name)
        assert.include(error.message, "link to")
        assert.isFalse(tar.has(name), name)
        const refused = yield* Effect.flip(images.read(name))
        assert.strictEqual(refused._tag === "ImageUnreadable" && refused.reason, "link", name)
      }
      assert.strictEqual((yield* Effect.flip(tar.read("images/none.jpg"))).reason, "link")
      assert.strictEqual((yield* Effect.flip(tar.read("none.jpg"))).reason, "not-found")
    })
  )

  it.effect("a folder's link without its target is called that", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(base, "links-"))
      symlinkSync("absent.jpg", join(folder, "a.jpg"))
      const error = yield* Effect.flip((yield* openFolder(folder)).read("a.jpg"))
      assert.strictEqual(error._tag === "ImageUnreadable" && error.reason, "link")
    })
  )

  it.effect("a link in a zip is called that, and its bytes are no picture", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const bytes = Buffer.from(
          zipBytes([
            { name: "a.jpg", data: text("b.jpg") },
            { name: "b.jpg", data: text("picture") }
          ])
        )
        const record = bytes.indexOf("PK\x01\x02", 0, "latin1")
        for (const [host, mode, isLink] of [
          [3, 0o120777, true],
          [19, 0o120755, true],
          [3, 0o100644, false],
          [0, 0o120777, false]
        ] as const) {
          bytes[record + 5] = host
          bytes.writeUInt16LE(mode, record + 40)
          const images = fromZip(yield* openZip(file(bytes)))
          const read = yield* Effect.result(images.read("a.jpg"))
          if (read._tag === "Success") assert.deepStrictEqual([isLink, show(read.success)], [false, "b.jpg"])
          else
            assert.deepStrictEqual(
              [isLink, read.failure._tag, "reason" in read.failure && read.failure.reason],
              [true, "ImageUnreadable", "link"]
            )
          assert.strictEqual(show(yield* images.read("b.jpg")), "picture")
        }
      })
    )
  )

  it.effect("an archive whose files are all encrypted is called that when it is opened", () =>
    Effect.gen(function* () {
      const bytes = Buffer.from(
        zipBytes([
          { name: "a.jpg", data: text("x") },
          { name: "b.jpg", data: text("y") }
        ])
      )
      const mark = (name: string): void => {
        for (
          let at = bytes.indexOf("PK\x01\x02", 0, "latin1");
          at >= 0;
          at = bytes.indexOf("PK\x01\x02", at + 4, "latin1")
        )
          if (bytes.toString("latin1", at + 46, at + 46 + name.length) === name) bytes[at + 8]! |= 1
      }
      mark("a.jpg")
      const images = fromZip(yield* openZip(file(bytes)))
      assert.strictEqual(show(yield* images.read("b.jpg")), "y")
      const one = yield* Effect.flip(images.read("a.jpg"))
      assert.deepStrictEqual(
        [one._tag === "ImageUnreadable" && one.reason, /Decrypt/.test(one.hint)],
        ["encrypted", true]
      )
      mark("b.jpg")
      assert.strictEqual((yield* Effect.flip(openZip(file(bytes)))).reason, "encrypted")
    })
  )
})
