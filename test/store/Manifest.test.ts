/** What a manifest and the files beside it say is checked: nothing altered is kept, and good shards are used again. */
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { canonical } from "../../src/dag/Canonical.ts"
import { keyOf } from "../../src/dag/Key.ts"
import { checksummed } from "../../src/store/Checksum.ts"
import { rowsDigest } from "../../src/store/Digests.ts"
import { layoutOf, manifestFile, portFolder, recordFile, refusedFolder, valueFile } from "../../src/store/Layout.ts"
import { type Manifest, openManifest, valueText } from "../../src/store/Manifest.ts"
import { Store } from "../../src/store/Store.ts"
import { codeOf, makeEntry, partsOf, said, storeAt, temporaryFolder } from "./Support.ts"

const code = codeOf("code")
const key = keyOf(partsOf("node"))

/** An entry that is copied for every case: making one takes long. */
const whole = temporaryFolder()
const made = Effect.runPromise(Effect.provide(makeEntry("node"), storeAt(whole)))

/** A store of its own with that entry. */
const fresh = Effect.gen(function* () {
  yield* Effect.promise(() => made)
  const root = temporaryFolder()
  cpSync(whole, root, { recursive: true })
  return { root, folder: layoutOf(root).entry(key, code.digest) }
})

const open = (folder: string): Manifest => openManifest(readFileSync(manifestFile(folder))).value
type Json = { [name: string]: any }
/** The manifest with other contents, and whatever stands there for a checksum. */
const rewrite = (folder: string, change: (manifest: Json) => void, write: (manifest: Json) => string) => {
  const manifest = structuredClone(open(folder)) as Json
  change(manifest)
  writeFileSync(manifestFile(folder), write(manifest))
}
/** By an earlier version: no checksum. */
const old = (manifest: Json) => `${canonical({ ...manifest, format: 1 })}\n`
/** By somebody who knows the checksum. */
const signed = (manifest: Json) => checksummed(manifest)

const digestsOf = (manifest: Manifest) =>
  Object.fromEntries(Object.entries(manifest.outputs).map(([port, output]) => [port, output.digest]))

/** Looks, verifies, repairs; gives the digests at the end, which shards were made, and what was wrong. */
const repair = (root: string) =>
  Effect.gen(function* () {
    const store = yield* Store
    const [found] = yield* store.find(key, code.digest)
    const damaged = found === undefined ? [] : yield* store.verify(found)
    if (found !== undefined && damaged.length > 0) yield* store.reopen(found, damaged)
    const noticed = found === undefined || damaged.length > 0
    const whole = (yield* store.find(key, code.digest)).length === 1 // as after a value's file was written again
    const { made } = whole ? { made: [] } : yield* makeEntry("node")
    const [again] = yield* store.find(key, code.digest)
    assert.isDefined(again)
    assert.deepStrictEqual(yield* store.verify(again!), [])
    return {
      noticed,
      seen: found !== undefined,
      made,
      damaged,
      digests: digestsOf(again!.manifest),
      manifest: again!.manifest
    }
  }).pipe(Effect.provide(storeAt(root)))

const good = Effect.map(
  Effect.promise(() => made),
  ({ found }) => found.manifest
)

const rows = (manifest: Json) => manifest["outputs"]["rows"]
/** Digest and sums as somebody would write them who knows how they are made. */
const resum = (manifest: Json) => {
  const output = rows(manifest)
  output.digest = rowsDigest(output.tag, output.format, output.shards)
  output.rows = output.shards.reduce((sum: number, one: Json) => sum + one["rows"], 0)
  output.bytes = output.shards.reduce((sum: number, one: Json) => sum + one["bytes"], 0)
}

const edits: Record<string, (manifest: Json) => void> = {
  key: (m) => (m["key"] = "f".repeat(64)),
  "a parameter": (m) => (m["parts"].params = { longest: 25 }),
  "the code": (m) => (m["code"].digest = "e".repeat(64)),
  "a parent by no input": (m) => (m["parents"] = { x: "f".repeat(64) }),
  "a shard dropped": (m) => rows(m).shards.pop(),
  "a shard dropped and summed": (m) => {
    rows(m).shards.pop()
    resum(m)
  },
  "shards out of order": (m) => rows(m).shards.reverse(),
  "shards out of order and summed": (m) => {
    rows(m).shards.reverse()
    resum(m)
  },
  "rows of a shard": (m) => (rows(m).shards[0].rows = 99),
  "a digest": (m) => (rows(m).digest = "f".repeat(64)),
  bytes: (m) => (rows(m).bytes += 1),
  "a tree's path": (m) => (m["outputs"].files.files[0].path = "../../../../../../../../etc/hostname"),
  "an absolute path": (m) => (m["outputs"].files.files[0].path = "/etc/hostname"),
  "a tree's bytes": (m) => (m["outputs"].files.bytes = 1),
  "a value": (m) => (m["outputs"].report.value = { seen: 10 }),
  "refused rows": (m) => (m["refused"] = { Bad: 178 }),
  "no refused rows": (m) => (m["refused"] = {}),
  "a refused file dropped": (m) => m["refusedFiles"].pop(),
  "rows read": (m) => (m["rowsIn"] = 1),
  "less memory than a shard took": (m) => (m["peakMemory"] = 1),
  "codes that began it": (m) => m["begunBy"].push("f".repeat(64)),
  "no output": (m) => delete m["outputs"].rows
}

describe("a manifest", () => {
  it.live("any byte of it altered: it is not read", () =>
    Effect.gen(function* () {
      const { folder } = yield* fresh
      const bytes = readFileSync(manifestFile(folder))
      for (let at = 0; at < bytes.length; at++) {
        const flipped = Buffer.from(bytes)
        flipped[at]! ^= 1 << (at % 8)
        assert.throws(() => openManifest(flipped))
        assert.throws(() => openManifest(bytes.subarray(0, at)))
      }
    })
  )

  it.live.prop(
    "any one bit of it flipped: it counts as absent, and is made again from its shards",
    {
      at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })),
      bit: Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7])
    },
    ({ at, bit }) =>
      Effect.gen(function* () {
        const { folder, root } = yield* fresh
        const bytes = readFileSync(manifestFile(folder))
        bytes[at % bytes.length]! ^= 1 << bit
        writeFileSync(manifestFile(folder), bytes)
        const { digests, made, seen } = yield* repair(root)
        assert.isFalse(seen)
        assert.deepStrictEqual(made, [])
        assert.deepStrictEqual(digests, digestsOf(yield* good))
      }),
    { arbitrary: { runs: 10 } }
  )

  it.live("without its checksum, or with another, none that has format 2 is read", () =>
    Effect.gen(function* () {
      const { folder } = yield* fresh
      rewrite(
        folder,
        () => undefined,
        (m) => JSON.stringify(m)
      )
      assert.throws(() => open(folder), /lost its checksum/)
      writeFileSync(manifestFile(folder), `{"checksum":"${"0".repeat(64)}","key":1}\n`)
      assert.throws(() => open(folder), /changed after it was written/)
    })
  )

  for (const [what, change] of Object.entries(edits)) {
    it.live(`${what}, altered where there is no checksum or a new one: noticed and healed`, () =>
      Effect.gen(function* () {
        const expected = yield* good
        for (const write of [old, signed]) {
          const { folder, root } = yield* fresh
          rewrite(folder, change, write)
          const result = yield* repair(root)
          assert.isTrue(result.noticed, what)
          assert.deepStrictEqual(result.digests, digestsOf(expected))
          // What began it is known from the manifest alone where there is no other record: then that is kept.
          const { begunBy } = what === "codes that began it" ? result.manifest : expected
          // Whether all reads were checked only the altered manifest said, so the new one does not.
          const { readsChecked: _, ...made } = result.manifest
          const { readsChecked: _was, ...was } = expected
          assert.deepStrictEqual({ ...made, peakMemory: 0 }, { ...was, peakMemory: 0, begunBy })
        }
      })
    )
  }

  it.live("of an earlier version, as it was written, is read and verified", () =>
    Effect.gen(function* () {
      const { folder, root } = yield* fresh
      rewrite(folder, () => undefined, old)
      const { manifest, noticed } = yield* repair(root)
      assert.isFalse(noticed)
      assert.strictEqual(manifest.format, 1)
    })
  )

  it.live("in another entry's folder is not that entry's, nor are the shards beside it", () =>
    Effect.gen(function* () {
      const { folder, root } = yield* fresh
      const expected = yield* good
      yield* Effect.provide(makeEntry("other"), storeAt(root))
      const other = layoutOf(root).entry(keyOf(partsOf("other")), code.digest)
      for (const how of ["copied", "copied without its manifest", "swapped"]) {
        const aside = `${folder}.aside`
        renameSync(folder, aside)
        cpSync(other, folder, { recursive: true })
        if (how === "copied without its manifest") rmSync(manifestFile(folder))
        if (how === "swapped") {
          rmSync(other, { recursive: true })
          renameSync(aside, other)
        } else rmSync(aside, { recursive: true })
        const { digests, made, seen } = yield* repair(root)
        assert.isFalse(seen, how)
        assert.deepStrictEqual(made, [0, 1], how)
        assert.deepStrictEqual(digests, digestsOf(expected))
      }
      assert.isTrue(said.some((line) => line.includes("it is the manifest of another entry")))
    })
  )

  it.live("lists nothing that is reached through a link", () =>
    Effect.gen(function* () {
      for (const inside of [
        "ports",
        "ports/files",
        "ports/files/sub",
        "ports/files/a.txt",
        "ports/rows/00001.jsonl",
        "refused"
      ]) {
        const { folder, root } = yield* fresh
        const outside = join(temporaryFolder(), "outside")
        renameSync(join(folder, inside), outside)
        symlinkSync(outside, join(folder, inside))
        const { seen } = yield* repair(root)
        assert.isFalse(seen, inside)
        assert.isTrue(existsSync(outside), inside)
      }
    })
  )
})

describe("beside a manifest", () => {
  const records: Record<string, (record: Json) => void> = {
    rows: (r) => (r["ports"].rows.rows = 2),
    index: (r) => (r["index"] = 0),
    "a digest": (r) => (r["ports"].rows.sha256 = "0".repeat(64)),
    "rows read": (r) => (r["rowsIn"] = 7),
    "refused rows": (r) => (r["refused"] = { Bad: 2 }),
    memory: (r) => (r["peakMemory"] = 1e15),
    key: (r) => (r["key"] = "0".repeat(64)),
    "a path": (r) => (r["ports"].rows.file = "../../manifest.json")
  }
  for (const [what, change] of Object.entries(records))
    it.live(`a shard's record with ${what} altered is noticed, and healed`, () =>
      Effect.gen(function* () {
        for (const write of [(r: Json) => JSON.stringify(r), signed]) {
          const { folder, root } = yield* fresh
          const record = JSON.parse(readFileSync(recordFile(folder, 1), "utf8")) as Json
          delete record["checksum"]
          change(record)
          writeFileSync(recordFile(folder, 1), write(record))
          const { damaged, digests, made } = yield* repair(root)
          assert.isTrue(damaged.length > 0)
          assert.isAtLeast(made.length, 1)
          assert.deepStrictEqual(digests, digestsOf(yield* good))
        }
      })
    )

  it.live("a value's file that is altered, cut off or gone is written again; nothing is made", () =>
    Effect.gen(function* () {
      for (const text of ['{ "seen": 10 }\n', "", undefined]) {
        const { folder, root } = yield* fresh
        const path = valueFile(portFolder(folder, "report"))
        const before = readFileSync(path, "utf8")
        rmSync(path)
        if (text !== undefined) writeFileSync(path, text)
        const { damaged, made } = yield* repair(root)
        assert.deepStrictEqual(damaged, [{ port: "report", file: "value.json", why: "it is not the value" }])
        assert.deepStrictEqual(made, [])
        assert.strictEqual(readFileSync(path, "utf8"), before)
      }
    })
  )

  it("a value's file has the same bytes from the node's value and from the manifest's copy, whose keys are sorted", () => {
    const value = { rows: 562, digest: "55", inner: { b: [1, { z: 0, a: 1 }], a: null } }
    const copy = JSON.parse(canonical(value)) as typeof value
    assert.notStrictEqual(JSON.stringify(copy), JSON.stringify(value))
    assert.strictEqual(valueText(copy), valueText(value))
    assert.deepStrictEqual(JSON.parse(valueText(value)), value)
  })

  it.live("a file that it does not list is noticed and goes", () =>
    Effect.gen(function* () {
      for (const at of [
        (folder: string) => join(portFolder(folder, "files"), "sub", "more.txt"),
        (folder: string) => join(portFolder(folder, "rows"), "00002.jsonl"),
        (folder: string) => join(refusedFolder(folder), "00005.jsonl")
      ]) {
        const { folder, root } = yield* fresh
        mkdirSync(dirname(at(folder)), { recursive: true })
        writeFileSync(at(folder), "{}\n")
        const { damaged, digests, made } = yield* repair(root)
        assert.lengthOf(damaged, 1)
        assert.deepStrictEqual(made, [])
        assert.isFalse(existsSync(at(folder)))
        assert.deepStrictEqual(digests, digestsOf(yield* good))
      }
    })
  )
})
