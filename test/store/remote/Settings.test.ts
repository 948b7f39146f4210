/** Variables have their usual meaning; a wrong value is an error, and the token is never printed. */
import { assert, describe, it } from "@effect/vitest"
import { Redacted, Result, Schema } from "effect"
import { candidates, fromEnvironment, mayHaveToken } from "../../../src/store/remote/Settings.ts"

const read = (env: Record<string, string>) => Result.getOrThrow(fromEnvironment(env))

describe("Settings", () => {
  it("are the hub and patience without any variable", () => {
    const settings = read({})
    assert.strictEqual(settings.endpoint, "https://huggingface.co")
    assert.isUndefined(settings.token)
    assert.isFalse(settings.offline)
    assert.deepStrictEqual([settings.stallMs, settings.attempts], [60_000, 5])
  })

  it("take endpoint, token and mirrors, and tell no token", () => {
    const settings = read({
      HF_ENDPOINT: "https://mirror.example/hub/",
      HUGGING_FACE_HUB_TOKEN: "hf_old",
      HF_TOKEN: " hf_SECRET\n",
      HF_HUB_OFFLINE: "1",
      MILLRACE_MIRRORS: "https://a.example/x=https://b.example/y  https://a.example=http://c.example",
      MILLRACE_STALL_SECONDS: "0.5"
    })
    assert.strictEqual(settings.endpoint, "https://mirror.example/hub")
    assert.strictEqual(Redacted.value(settings.token!), "hf_SECRET")
    assert.notInclude(`${JSON.stringify(settings)} ${String(settings.token)}`, "SECRET")
    assert.isTrue(settings.offline)
    assert.strictEqual(settings.stallMs, 500)
    assert.deepStrictEqual(candidates("https://a.example/x/f", settings.mirrors), [
      "https://b.example/y/f",
      "http://c.example/x/f",
      "https://a.example/x/f"
    ])
    assert.deepStrictEqual(candidates("https://a.example.evil/x/f", settings.mirrors), ["https://a.example.evil/x/f"])
    assert.isUndefined(read({ HF_TOKEN: "hf_x", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }).token)
    assert.strictEqual(Redacted.value(read({ HUGGING_FACE_HUB_TOKEN: "hf_old" }).token!), "hf_old")
  })

  it("a mirror with a slash at its end, or a host in capitals, is the same mirror and never another host", () => {
    const url = "https://a.example/x/f"
    for (const [from, to] of [
      ["https://a.example/", "https://b.example"],
      ["https://a.example", "https://b.example/"],
      ["https://a.example/", "https://b.example/"],
      ["https://A.example:443", "https://b.example"]
    ])
      assert.deepStrictEqual(candidates(url, read({ MILLRACE_MIRRORS: `${from}=${to}` }).mirrors), [
        "https://b.example/x/f",
        url
      ])
  })

  it("refuse what they cannot read, by name, and repeat none of it", () => {
    for (const [name, value] of [
      ["HF_ENDPOINT", "mirror.example"],
      ["HF_ENDPOINT", "https://me:SECRET@mirror.example"],
      ["MILLRACE_MIRRORS", "https://a.example"],
      ["MILLRACE_MIRRORS", "https://a.example=https://u:SECRET@b.example"],
      ["MILLRACE_STALL_SECONDS", "soon"],
      ["MILLRACE_ATTEMPTS", "0"],
      ["HF_TOKEN", "hf_SECRET\nhf_SECRET2"],
      ["HUGGING_FACE_HUB_TOKEN", "hf_SECRET\u00e9"]
    ] as const) {
      const found = fromEnvironment({ [name]: value })
      assert.isTrue(Result.isFailure(found), value)
      if (!Result.isFailure(found)) continue
      assert.strictEqual(found.failure.address, name)
      assert.notInclude(JSON.stringify(found.failure), "SECRET")
    }
  })

  it("the token may go to the endpoint's origin, over https or to this machine", () => {
    const to = (url: string, endpoint: string) => mayHaveToken(new URL(url), endpoint)
    assert.isTrue(to("https://huggingface.co/x", "https://huggingface.co"))
    assert.isTrue(to("http://127.0.0.1:81/x", "http://127.0.0.1:81/hub"))
    for (const elsewhere of [
      "http://huggingface.co/x",
      "https://huggingface.co:444/x",
      "https://cdn.huggingface.co/x",
      "https://huggingface.co.evil.example/x",
      "https://evil.example/huggingface.co"
    ])
      assert.isFalse(to(elsewhere, "https://huggingface.co"), elsewhere)
    assert.isFalse(to("http://mirror.example/x", "http://mirror.example"))
    assert.isFalse(to("http://127.0.0.1:82/x", "http://127.0.0.1:81"))
  })

  it.prop("a URL is always tried itself, last", [Schema.String], ([path]) => {
    const url = `https://a.example/${encodeURIComponent(path.toWellFormed())}`
    const tried = candidates(url, [{ from: "https://a.example/", to: "https://b.example/" }])
    assert.deepStrictEqual(tried, [url.replace("a.example", "b.example"), url])
  })
})
