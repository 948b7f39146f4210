/**
 * Messages of the Jupyter protocol (5.x) as they go over ZeroMQ: signed frames of JSON.
 *
 * Not a client: pure, no sockets (see `Kernel.ts`). Specification: jupyter-client's "Messaging in Jupyter", "The Wire
 * Protocol".
 *
 * Frames: routing prefixes (any number), `<IDS|MSG>`, signature, header, parent header, metadata, content, raw buffers.
 * The signature is the hex HMAC-SHA256 of the four JSON frames under the connection file's key; no key, no signature.
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto"
import { Effect, Schema } from "effect"

const JsonObject = Schema.Record(Schema.String, Schema.Json)

/** What is known of a header here; kernels may add fields. */
const Header = Schema.Struct({ msg_id: Schema.String, msg_type: Schema.String })
/** Empty for a message without a request. */
const ParentHeader = Schema.Struct({ msg_id: Schema.optional(Schema.String) })

/** A message as it is read. */
export interface Message {
  readonly id: string
  readonly type: string
  /** Id of the request that it belongs to. */
  readonly parent: string | undefined
  readonly content: typeof JsonObject.Type
}

/** Frames that are no message of this session. */
export class BadMessage extends Schema.TaggedError<BadMessage>()("BadMessage", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const delimiter = Buffer.from("<IDS|MSG>")

const sign = (key: string, frames: ReadonlyArray<Uint8Array>): string => {
  if (key === "") return ""
  const hmac = createHmac("sha256", key)
  for (const frame of frames) hmac.update(frame)
  return hmac.digest("hex")
}

/** A request of a client's session. `date` is ISO 8601; the protocol wants one and nothing here reads it. */
export const request = (
  session: string,
  type: string,
  content: Message["content"],
  date = new Date().toISOString()
): { readonly id: string; readonly header: typeof JsonObject.Type; readonly content: Message["content"] } => {
  const id = randomUUID()
  return {
    id,
    header: { msg_id: id, msg_type: type, session, username: "millrace", date, version: "5.3" },
    content
  }
}

/**
 * A request's frames, without routing prefix: a DEALER socket needs none.
 *
 * @example
 * shell.send(encode(key, request(session, "kernel_info_request", {})))
 */
export const encode = (
  key: string,
  { content, header }: Pick<ReturnType<typeof request>, "content" | "header">
): ReadonlyArray<Buffer> => {
  const frames = [header, {}, {}, content].map((part) => Buffer.from(JSON.stringify(part)))
  return [delimiter, Buffer.from(sign(key, frames)), ...frames]
}

const bad = (message: string, cause?: unknown) =>
  new BadMessage({
    message,
    hint: "The peer must be the kernel that was given this connection file, and speak protocol 5.",
    ...(cause === undefined ? {} : { cause })
  })

const json = Schema.fromJsonString
const decodeHeader = Schema.decodeUnknownEffect(json(Header))
const decodeParent = Schema.decodeUnknownEffect(json(ParentHeader))
const decodeContent = Schema.decodeUnknownEffect(json(JsonObject))

/**
 * Reads a message from its frames. Fails with `BadMessage` for a wrong signature or a frame that is not the protocol's.
 */
export const decode = (key: string, frames: ReadonlyArray<Uint8Array>): Effect.Effect<Message, BadMessage> =>
  Effect.gen(function* () {
    const at = frames.findIndex((frame) => delimiter.equals(frame))
    const [signature, header, parent, metadata, content] = frames.slice(at + 1)
    if (at < 0 || header === undefined || parent === undefined || metadata === undefined || content === undefined)
      return yield* bad(`${frames.length} frames are no message`)
    const expected = Buffer.from(sign(key, [header, parent, metadata, content]))
    if (signature!.length !== expected.length || !timingSafeEqual(signature!, expected))
      return yield* bad("the signature is not that of the session's key")
    const text = (frame: Uint8Array) => Buffer.from(frame).toString("utf8")
    const of = yield* decodeHeader(text(header))
    return {
      id: of.msg_id,
      type: of.msg_type,
      parent: (yield* decodeParent(text(parent))).msg_id,
      content: yield* decodeContent(text(content))
    }
  }).pipe(
    Effect.catchTag("SchemaError", (cause) => Effect.fail(bad(`a frame is not as specified: ${cause.message}`, cause)))
  )
