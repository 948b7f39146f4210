/**
 * Equal contents, equal digests: order of files, names of shards and places do not matter; every byte and border does.
 */
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { sha256 } from "../../src/dag/Canonical.ts"
import { hashTree, rowsDigest, treeDigest, valueDigest, walk } from "../../src/store/Digests.ts"
import { temporaryFolder } from "./Support.ts"

const node = Effect.provide(NodeFileSystem.layer)
const shard = (rows: number, text: string, file = "f") => ({ file, rows, bytes: text.length, sha256: sha256(text) })
const Name = Schema.Literals(["a", "b", "c", "a/b", "a/c", "b.txt", "é", "z z"])

describe("Digests", () => {
  it.prop(
    "the order in which files are listed is irrelevant",
    { files: Schema.Array(Schema.Struct({ path: Schema.String, bytes: Schema.Int, sha256: Schema.String })) },
    ({ files }) => {
      const unique = [...new Map(files.map((file) => [file.path, file])).values()]
      assert.strictEqual(treeDigest(unique), treeDigest([...unique].reverse()))
    }
  )

  it.prop(
    "rows: names and sizes of files do not count; contents, borders, tag and format do",
    { texts: Schema.Array(Schema.String).check(Schema.isMinLength(1)), names: Schema.Array(Schema.String) },
    ({ texts, names }) => {
      const plain = texts.map((text) => shard(1, text))
      const named = texts.map((text, i) => shard(1, text, names[i] ?? ""))
      const digest = rowsDigest("t", "f", plain)
      assert.strictEqual(rowsDigest("t", "f", named), digest)
      assert.notStrictEqual(rowsDigest("u", "f", plain), digest)
      assert.notStrictEqual(rowsDigest("t", "g", plain), digest)
      assert.notStrictEqual(rowsDigest("t", "f", [...plain, shard(0, "")]), digest)
      assert.notStrictEqual(rowsDigest("t", "f", [shard(2, texts[0]!), ...plain.slice(1)]), digest)
    }
  )

  it.prop("values: the order of fields is irrelevant", { a: Schema.Json, b: Schema.Json }, ({ a, b }) => {
    assert.strictEqual(valueDigest("t", { a, b }), valueDigest("t", { b, a }))
  })

  it.effect.prop(
    "a tree on disk has the digest of its list, whatever order it was written in; empty folders do not count",
    { names: Schema.Array(Name), text: Schema.String },
    ({ names, text }) =>
      Effect.gen(function* () {
        const paths = [...new Set(names)].filter((one) => !names.some((other) => other.startsWith(`${one}/`)))
        const write = (order: ReadonlyArray<string>, extra: boolean) => {
          const root = temporaryFolder()
          for (const path of order) {
            mkdirSync(dirname(join(root, path)), { recursive: true })
            writeFileSync(join(root, path), text + path)
          }
          if (extra) mkdirSync(join(root, "empty"))
          return root
        }
        const one = yield* hashTree(write(paths, false))
        const two = yield* hashTree(write([...paths].reverse(), true))
        assert.deepStrictEqual(one, two)
        const list = paths.map((path) => ({
          path,
          bytes: Buffer.byteLength(text + path),
          sha256: sha256(text + path)
        }))
        assert.strictEqual(treeDigest(one), treeDigest(list))
      }).pipe(node),
    { arbitrary: { runs: 25 } }
  )

  it.live("links: refused in outputs, followed in sources, circles named", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const outside = join(temporaryFolder(), "blob")
      writeFileSync(outside, "blob")
      linkSync(outside, join(root, "hard"))
      assert.lengthOf(yield* hashTree(root), 1)
      symlinkSync(outside, join(root, "soft"))
      assert.include((yield* Effect.flip(hashTree(root))).message, "symbolic link")
      const { files } = yield* walk(root, { links: "follow" })
      assert.deepStrictEqual(
        files.map((file) => [file.path, file.bytes]),
        [
          ["hard", 4],
          ["soft", 4]
        ]
      )
      mkdirSync(join(root, "deep"))
      symlinkSync(join(root, "deep"), join(root, "deep", "self"))
      assert.include((yield* Effect.flip(walk(root, { links: "follow" }))).message, "contains it")
    }).pipe(node)
  )
})
