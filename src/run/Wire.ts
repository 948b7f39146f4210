/**
 * What the processes of a run say to one another over TCP, and how a silent one is noticed.
 *
 * Not what they compute together: gradients go from engine to engine. A line is one message in JSON. Both sides say that they
 * are alive; who has said nothing for `silentMs`, or whose connection ends without a word, is lost. A process that was itself
 * asleep (stopped, or held by a long computation) first listens again before it calls another one silent.
 */
import type { Socket } from "node:net"
import { read, variables } from "../dag/Environment.ts"
import type { Meeting } from "../dag/World.ts"
import type { NodeTask } from "./NodeTask.ts"
import type { ToldError } from "./Told.ts"

/** Why a run, or a rank's part in it, ended. */
export interface Reason {
  readonly tag: string
  readonly message: string
  readonly hint: string
}

/** What a rank brings: it must be a part of the same run. */
export interface Hello {
  readonly rank: number
  readonly world: number
  /** Only who was told may join, where rank 0 started the others. */
  readonly token: string
  /** Recipe, preset, engine and settings. */
  readonly run: string
}

export type Message =
  | { readonly type: "alive" }
  | ({ readonly type: "hello" } & Hello)
  /** Rank 0: follow this node's fold. */
  | { readonly type: "follow"; readonly task: NodeTask; readonly meeting: Meeting }
  /** A rank has followed a fold to its end, or failed. */
  | { readonly type: "followed"; readonly name: string }
  | ({ readonly type: "failed"; readonly error?: ToldError } & Reason)
  /** Rank 0: the run is over; with a reason, it failed, and with `stopped` it was asked to. */
  | { readonly type: "bye"; readonly stopped: boolean; readonly reason?: Reason }

/** Milliseconds without a word after which a process is lost. */
export const silentMs = (): number => 1000 * read(variables.rankSeconds)

/** One end of a connection. */
export interface Line {
  readonly say: (message: Message) => void
  /** Says a last message and ends; resolves when it has left, or cannot. */
  readonly end: (message?: Message) => Promise<void>
}

/**
 * Messages over a socket. `hear` gets each but those that only say that the other is alive; `lost` is called once, with words,
 * unless this side has ended the line.
 */
export const lineOver = (socket: Socket, hear: (message: Message) => void, lost: (why: string) => void): Line => {
  const silent = silentMs()
  const every = silent / 6
  let over = false
  let heardAt = performance.now()
  let wokeAt = heardAt
  let rest = ""
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
  socket.setEncoding("utf8")
  socket.on("data", (text: string) => {
    heardAt = performance.now()
    rest += text
    for (let at = rest.indexOf("\n"); at >= 0 && !over; at = rest.indexOf("\n")) {
      const line = rest.slice(0, at)
      rest = rest.slice(at + 1)
      let message: Message
      try {
        message = JSON.parse(line) as Message
      } catch {
        return gone("says what is no message of a run")
      }
      if (message.type !== "alive") hear(message)
    }
  })
  socket.on("error", (error) => gone(`is gone: ${error.message}`))
  socket.on("close", () => gone("is gone: it ended, or was killed"))
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
