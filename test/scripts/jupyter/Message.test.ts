/** Messages are read as they were sent, and nothing else is taken for a message. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { decode, encode, request } from "../../../scripts/jupyter/Message.ts"

const Content = Schema.Record(Schema.String, Schema.Json)
const Prefix = Schema.Array(Schema.String)

describe("a message", () => {
  it.effect.prop(
    "is what was sent, behind any routing prefix, and raw buffers after it are left alone",
    [Content, Schema.String, Prefix],
    ([content, key, prefix]) =>
      Effect.gen(function* () {
        const sent = request("session", "execute_request", content)
        const frames = [...prefix.map((part) => Buffer.from(part)), ...encode(key, sent), Buffer.from([0, 255])]
        const read = yield* decode(key, frames)
        expect(read).toEqual({
          id: sent.id,
          type: "execute_request",
          parent: undefined,
          content: JSON.parse(JSON.stringify(content))
        })
      })
  )

  it.effect("has the signature that the specification's own code gives", () =>
    Effect.sync(() => {
      // python3: hmac.new(b"key", b'{"msg_id":"1"}' + b"{}" + b"{}" + b'{"a":1}', "sha256").hexdigest()
      const [delimiter, signature, ...parts] = encode("key", { header: { msg_id: "1" }, content: { a: 1 } })
      expect(delimiter!.toString()).toBe("<IDS|MSG>")
      expect(parts.map(String)).toEqual(['{"msg_id":"1"}', "{}", "{}", '{"a":1}'])
      expect(signature!.toString()).toBe("b5c3f3f2ae4bdd60a1ea8475a37961c8cc8853392dcee28a7c72f2463bd7f890")
    })
  )

  it.effect("is refused under another key, changed, cut short, or without its delimiter", () =>
    Effect.gen(function* () {
      const frames = encode("key", request("session", "status", { execution_state: "idle" }))
      const changed = frames.with(5, Buffer.from('{"execution_state":"busy"}'))
      for (const [key, bad] of [
        ["other", frames],
        ["", frames],
        ["key", changed],
        ["key", frames.slice(0, 5)],
        ["key", frames.slice(1)],
        ["key", []]
      ] as const) {
        const error = yield* Effect.flip(decode(key, bad))
        expect([error._tag, error.hint === ""]).toEqual(["BadMessage", false])
      }
    })
  )

  it.effect("names the request that it belongs to", () =>
    Effect.gen(function* () {
      const [delimiter, , header, , metadata, content] = encode("", request("s", "stream", { text: "a" }))
      const parent = Buffer.from('{"msg_id":"asked","more":1}')
      const read = yield* decode("", [delimiter!, Buffer.from(""), header!, parent, metadata!, content!])
      expect([read.parent, read.content]).toEqual(["asked", { text: "a" }])
      const notJson = [delimiter!, Buffer.from(""), header!, parent, metadata!, Buffer.from("[1")]
      expect((yield* Effect.flip(decode("", notJson)))._tag).toBe("BadMessage")
    })
  )
})
