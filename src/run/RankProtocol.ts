/**
 * The messages between the processes of a run over TCP, after the handshake (`Handshake.ts`), and how a silent process
 * is noticed.
 *
 * Not what they compute together: gradients go from engine to engine. A line is one message in JSON, decoded through
 * its Schema; what is longer than `LINE_BYTES`, no UTF-8, no JSON or no message loses its sender. Both sides say that
 * they are alive; who has said nothing for `silentMs`, or whose connection ends without a word, is lost. A process that
 * was itself asleep (stopped, or held by a long computation) first listens again before it calls another one silent.
 */
import type { Socket } from "node:net"
import { Result, Schema, Struct } from "effect"
import { read, variables } from "../dag/Environment.ts"
import { Rendezvous } from "../dag/ProcessGroup.ts"
import { NodeTask } from "./NodeTask.ts"
import { SerializedError } from "./SerializedExit.ts"

/** Bytes of the longest message: 4 MiB, where a task of 1,000 inputs has 0.3. */
export const LINE_BYTES = 4 * 1024 * 1024

/** Why a run, or a rank's part in it, ended. */
const reason = { tag: Schema.String, message: Schema.String, hint: Schema.String }
const Reason = Schema.Struct(reason)
export type Reason = typeof Reason.Type

/** What a rank brings: it must be a part of the same run. */
const Hello = Schema.Struct({
  type: Schema.Literal("hello"),
  rank: Schema.Int,
  world: Schema.Int,
  /** Recipe, preset, engine and settings. */
  run: Schema.String
})
export type Hello = typeof Hello.Type

/** A rank writes nothing into the store: it needs no lock. */
const FollowTask = NodeTask.mapFields(Struct.omit(["fence"]))

/** A rank met damage in an input of the fold that it follows; said before the failure that comes of it. */
const InputDamage = Schema.Struct({
  type: Schema.Literal("damage"),
  name: Schema.String,
  /** The entry, and the file in it. */
  key: Schema.String,
  code: Schema.String,
  port: Schema.String,
  file: Schema.String
})
export type InputDamage = typeof InputDamage.Type

export const Message = Schema.Union([
  Schema.Struct({ type: Schema.Literal("alive") }),
  Hello,
  /** Rank 0: follow this node's fold. */
  Schema.Struct({ type: Schema.Literal("follow"), task: FollowTask, rendezvous: Rendezvous }),
  /** A rank has followed a fold to its end, or failed. */
  Schema.Struct({ type: Schema.Literal("followed"), name: Schema.String }),
  Schema.Struct({
    type: Schema.Literal("failed"),
    name: Schema.String,
    ...reason,
    error: Schema.optionalKey(SerializedError)
  }),
  InputDamage,
  /** Rank 0: give up this fold and stay. The same back: it is given up. */
  Schema.Struct({ type: Schema.Literal("drop"), name: Schema.String }),
  Schema.Struct({ type: Schema.Literal("dropped"), name: Schema.String }),
  /** Rank 0: the run is over; with a reason, it failed, and with `stopped` it was asked to. */
  Schema.Struct({ type: Schema.Literal("shutdown"), stopped: Schema.Boolean, reason: Schema.optionalKey(Reason) })
])
export type Message = typeof Message.Type

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Message))
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The message that a line is; undefined where it is none. */
export const messageOf = (line: Uint8Array): Message | undefined => {
  try {
    const result = decode(utf8.decode(line))
    return Result.isSuccess(result) ? result.success : undefined
  } catch {
    return undefined // no UTF-8
  }
}

/** Milliseconds without a word after which a process is lost. */
export const silentMs = (): number => 1000 * read(variables.rankSeconds)

/** One end of a connection. */
export interface Line {
  readonly say: (message: Message) => void
  /** Says a last message and ends; resolves when it has left, or cannot. */
  readonly end: (message?: Message) => Promise<void>
}

/**
 * Messages over a socket. `hear` gets each but those that only say that the other is alive; `lost` is called once, with
 * words, unless this side has ended the line.
 */
export const lineOver = (socket: Socket, hear: (message: Message) => void, lost: (why: string) => void): Line => {
  const silent = silentMs()
  const every = silent / 6
  let over = false
  let heardAt = performance.now()
  let wokeAt = heardAt
  /** The line that has begun. */
  let parts: Array<Buffer> = []
  let size = 0
  const gone = (why: string) => {
    if (over) return
    over = true
    clearInterval(timer)
    socket.destroy()
    lost(why)
  }
  const say = (message: Message) => {
    if (!over && socket.writable) socket.write(`${JSON.stringify(message)}\n`)
  }
  const timer = setInterval(() => {
    const now = performance.now()
    // Late: this process slept, and what the other said meanwhile is not read yet.
    if (now - wokeAt > 3 * every) heardAt = now
    wokeAt = now
    if (now - heardAt > silent) gone(`has said nothing for ${Math.round(silent / 1000)} s`)
    else say({ type: "alive" })
  }, every)
  socket.setNoDelay(true)
  const take = (line: Buffer) => {
    const message = messageOf(line)
    if (message === undefined) gone("sent what is no message of a run")
    else if (message.type !== "alive") hear(message)
  }
  socket.on("data", (chunk: Buffer) => {
    heardAt = performance.now()
    for (let from = 0; !over; ) {
      const end = chunk.indexOf(0x0a, from)
      const part = chunk.subarray(from, end < 0 ? chunk.length : end)
      size += part.length
      if (size > LINE_BYTES) return gone(`sent more than ${LINE_BYTES} bytes in one message`)
      parts.push(part)
      if (end < 0) return
      const line = Buffer.concat(parts)
      parts = []
      size = 0
      from = end + 1
      take(line)
    }
  })
  socket.on("error", (error) => gone(`is gone: ${error.message}`))
  socket.on("close", () => gone("is gone: it ended, or was killed"))
  // The handshake left it paused.
  socket.resume()
  // It may have ended before anyone listened.
  if (socket.destroyed) setImmediate(() => gone("is gone: it ended, or was killed"))
  return {
    say,
    end: (message) =>
      new Promise((resolve) => {
        if (over) return resolve()
        over = true
        clearInterval(timer)
        socket.removeAllListeners("close")
        socket.once("close", () => resolve())
        setTimeout(() => socket.destroy(), 2000).unref()
        socket.end(message === undefined ? "" : `${JSON.stringify(message)}\n`)
        socket.resume()
      })
  }
}
