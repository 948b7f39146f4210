import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import { fromZip, ImageSourceError, ImageUnreadable, mounted, openFolder } from "../../src/data/ImageSource.ts"

const base = mkdtempSync(join(tmpdir(), "millrace-images-"))
afterAll(() => rmSync(base, { recursive: true }))

const root = join(base, "root")
mkdirSync(join(root, "deep"), { recursive: true })
mkdirSync(join(base, "root-but-not"))
writeFileSync(join(base, "secret"), "secret")
writeFileSync(join(base, "root-but-not", "x"), "secret")
writeFileSync(join(root, "a.jpg"), "aaa")
writeFileSync(join(root, "deep", "b.jpg"), "bbb")
symlinkSync(join(base, "secret"), join(root, "out.jpg"))
symlinkSync(join(base, "root-but-not"), join(root, "sibling"))
symlinkSync("a.jpg", join(root, "in.jpg"))
symlinkSync("loop", join(root, "loop"))
writeFileSync(join(base, "i.zip"), zipBytes([{ name: "a.jpg", data: Buffer.from("zzz") }]))

const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

describe("ImageSource", () => {
  it.effect("reads files below a folder and nothing outside of it", () =>
    Effect.gen(function* () {
      const images = yield* openFolder(root, { maxFileBytes: 100 })
      assert.strictEqual(show(yield* images.read("a.jpg")), "aaa")
      assert.strictEqual(show(yield* images.read("deep/b.jpg")), "bbb")
      assert.strictEqual(show(yield* images.read("in.jpg")), "aaa")
      for (const name of ["out.jpg", "sibling/x", "../secret", "deep/../../secret", "/etc/passwd", "", "a\0", "loop"]) {
        const error = yield* Effect.flip(images.read(name))
        assert.instanceOf(error, ImageUnreadable, name)
        assert.strictEqual(error.reason, "unsafe-name", name)
      }
      for (const name of ["absent.jpg", "a.jpg/x", "x".repeat(300)]) {
        assert.strictEqual((yield* Effect.flip(images.read(name)))._tag, "ImageMissing", name)
      }
      const folder = yield* Effect.flip(images.read("deep"))
      assert.strictEqual(folder._tag === "ImageUnreadable" && folder.reason, "not-a-file")
      writeFileSync(join(root, "large.jpg"), new Uint8Array(101))
      const large = yield* Effect.flip(images.read("large.jpg"))
      assert.strictEqual(large._tag === "ImageUnreadable" && large.reason, "too-large")
      assert.instanceOf(yield* Effect.flip(openFolder(join(base, "absent"))), ImageSourceError)
    })
  )

  it.effect("reads a zip through the same interface", () =>
    Effect.gen(function* () {
      const images = fromZip(yield* openZip(join(base, "i.zip")))
      assert.strictEqual(show(yield* images.read("a.jpg")), "zzz")
      assert.strictEqual((yield* Effect.flip(images.read("b.jpg")))._tag, "ImageMissing")
      assert.strictEqual((yield* Effect.flip(images.read("../a.jpg")))._tag, "ImageUnreadable")
    })
  )

  it.effect("asks the source with the longest fitting prefix", () =>
    Effect.gen(function* () {
      const zip = fromZip(yield* openZip(join(base, "i.zip")))
      const images = mounted({ coco: yield* openFolder(root), "coco/train": zip })
      assert.strictEqual(show(yield* images.read("coco/train/a.jpg")), "zzz")
      assert.strictEqual(show(yield* images.read("coco/a.jpg")), "aaa")
      assert.strictEqual((yield* Effect.flip(images.read("gqa/a.jpg")))._tag, "ImageMissing")
      assert.strictEqual((yield* Effect.flip(images.read("coco/../secret")))._tag, "ImageUnreadable")
    })
  )
})
