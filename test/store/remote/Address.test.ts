/** Addresses are read as people write them, shown without secrets, and never lead out of their folder. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import {
  type Address,
  below,
  fileName,
  type HubAddress,
  hub,
  identity,
  isInside,
  isPinned,
  parse,
  resolveUrl,
  revisionUrl,
  selects,
  show
} from "../../../src/store/remote/Address.ts"

const read = (text: string): Address => Result.getOrThrow(parse(text))
const hubOf = (text: string): HubAddress => {
  const address = read(text)
  assert.strictEqual(address.kind, "hub")
  return address as HubAddress
}

const Part = Schema.Literals(["a", "data.json", "train 00", "ä%20?#", "@x", "0.bin", "..x", "refs", "*"])
const Path = Schema.Array(Part).check(Schema.isMaxLength(4))
const Revision = Schema.Literals([
  "main",
  "v1.0",
  "feature/x",
  "refs/convert/parquet",
  "refs/pr/12",
  "50%",
  "a".repeat(40)
])
const Type = Schema.Literals(["models", "datasets", "spaces"])

describe("Address", () => {
  it("knows the forms that people write", () => {
    assert.deepStrictEqual(hubOf("hf://datasets/o/n@v1/a/b.json"), {
      kind: "hub",
      type: "datasets",
      repo: "o/n",
      revision: "v1",
      path: "a/b.json",
      folder: false
    })
    assert.deepStrictEqual(hubOf("hf://microsoft/phi-2/"), {
      kind: "hub",
      type: "models",
      repo: "microsoft/phi-2",
      revision: "main",
      path: "",
      folder: true
    })
    assert.strictEqual(hubOf("hf://datasets/o/n@refs/convert/parquet/a.parquet").revision, "refs/convert/parquet")
    assert.strictEqual(hubOf("hf://datasets/o/n@feature%2Fx/a").revision, "feature/x")
    assert.isTrue(hubOf("hf://o/n").folder)
    assert.isTrue(hubOf("hf://o/n/sub/").folder)
    assert.strictEqual(hubOf("hf://o/n/sub/").path, "sub")
  })

  it("takes the hub's own URLs for what they are, so that a mirror applies to them", () => {
    const commit = "814894e93db9e12a1dee78b9669e20e8606fd590"
    const expected = `hf://datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K@${commit}/chat.json`
    for (const what of ["resolve", "blob"])
      assert.strictEqual(
        show(read(`${hub}/datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K/${what}/${commit}/chat.json?download=true`)),
        expected
      )
    assert.strictEqual(show(read(`${hub}/o/n/tree/main/a`)), "hf://o/n/a/")
    assert.isTrue(isPinned(read(expected)))
    assert.isFalse(isPinned(read("hf://o/n/x")))
    assert.strictEqual(read(`${hub}/datasets/o/n`).kind, "web")
    assert.strictEqual(read("https://huggingface.co.evil.example/o/n/resolve/main/x").kind, "web")
  })

  it("refuses what leads elsewhere or holds a password", () => {
    for (const bad of [
      "hf://",
      "hf://o",
      "hf://datasets/o",
      "hf://o/n@/x",
      "hf://o/n@main/../x",
      "hf://o/n/a//b",
      "hf://../n/x",
      "hf://o/n/a\\b",
      "ftp://h/x",
      "file:///etc/passwd",
      "https://",
      "nothing",
      `${hub}/o/n/resolve/main/%2e%2e/x/..%2f..%2fy`
    ]) {
      const parsed = parse(bad)
      assert.isTrue(Result.isFailure(parsed), bad)
      if (Result.isFailure(parsed)) assert.strictEqual(parsed.failure.reason, "address")
    }
    const secret = parse("https://me:pass@host/x?token=hidden")
    assert.isTrue(Result.isFailure(secret))
    assert.notMatch(JSON.stringify(secret), /pass@|:pass|hidden/)
  })

  it("hides a query when it is shown, and tells two queries apart", () => {
    const [a, b] = [read("https://h/x?sig=1"), read("https://h/x?sig=2")]
    assert.strictEqual(show(a), "https://h/x?...")
    assert.notStrictEqual(identity(a), identity(b))
    assert.strictEqual(identity(read("https://h/x#part")), identity(read("https://h/x")))
  })

  it.prop("what is shown of a hub address is read back as the same", [Type, Revision, Path, Schema.Boolean], (made) => {
    const [type, revision, path, folder] = made
    const address: HubAddress = {
      kind: "hub",
      type,
      repo: "owner/name.x",
      revision,
      path: path.join("/"),
      folder: path.length === 0 || folder
    }
    assert.deepStrictEqual(read(show(address)), address)
    if (path.length > 0) {
      const url = new URL(resolveUrl({ ...address, folder: false }, hub))
      assert.deepStrictEqual(read(url.href), { ...address, folder: false })
      assert.strictEqual(url.search + url.hash, "")
    }
    assert.strictEqual(new URL(revisionUrl(address, hub)).search, "?blobs=true")
  })

  it.prop("no text is read as a path that leaves its folder", [Schema.String], ([text]) => {
    for (const start of ["hf://o/n/", "hf://datasets/o/n@", `${hub}/o/n/resolve/main/`, "https://h/", ""]) {
      const parsed = parse(start + text)
      if (Result.isFailure(parsed)) continue
      const address = parsed.success
      assert.isTrue(isInside(fileName(address)))
      assert.notInclude(fileName(address), "/")
      if (address.kind === "hub" && address.path !== "") assert.isTrue(isInside(address.path))
    }
  })

  it.prop("a file below a folder address is in that folder, whatever its letters", [Path], ([path]) => {
    if (path.length === 0) return
    const name = path.join("/")
    const web = below(read("https://h/d/?q=1"), name)
    assert.isTrue(new URL(identity(web)).pathname.startsWith("/d/"))
    assert.strictEqual(new URL(identity(web)).search, "?q=1")
    assert.strictEqual(decodeURIComponent(new URL(identity(web)).pathname), `/d/${name}`)
    assert.strictEqual((below(read("hf://o/n/d/"), name) as HubAddress).path, `d/${name}`)
  })

  it("patterns select names: a star stays in its folder, two do not", () => {
    const names = ["config.json", "model-1.safetensors", "sub/config.json", "a.b"]
    const some = (...patterns: ReadonlyArray<string>) => names.filter(selects(patterns))
    assert.deepStrictEqual(some("*.json"), ["config.json"])
    assert.deepStrictEqual(some("**.json"), ["config.json", "sub/config.json"])
    assert.deepStrictEqual(some("model-*.safetensors", "a.b"), ["model-1.safetensors", "a.b"])
    assert.deepStrictEqual(some("a?b"), [])
    assert.deepStrictEqual(names.filter(selects(undefined)), names)
  })
})
