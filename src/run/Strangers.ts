/**
 * Connections to rank 0's port that have not proved that they know the run's token: how many, for how long, and what is
 * logged.
 *
 * Not the proof (`Handshake.ts`). Anyone who reaches the port may connect. Such a connection costs at most
 * `HANDSHAKE_BYTES` and what one read of a socket brings (64 KiB), is closed after `helloMs`, and is never answered.
 * When there are too many, the one that came first is closed: a rank proves itself in a round trip, so it is not the
 * one. At most one line of the log a minute counts them.
 */
import type { Socket } from "node:net"
import { challenge } from "./Handshake.ts"

/** So many at once, beside one for each rank. */
export const STRANGERS = 64

/** Milliseconds between two lines about them. */
const SAY_MS = 60_000

export interface Strangers {
  /** Whether who has connected knows the token; who does not is let go. */
  readonly letIn: (socket: Socket) => Promise<boolean>
}

/** Those at one port. `report` hears, rarely, what they did. */
export const makeStrangers = (options: {
  readonly token: string
  readonly most: number
  readonly helloMs: number
  readonly report: (message: string) => void
}): Strangers => {
  const waiting = new Set<Socket>()
  let turnedAway = 0
  let saidAt = Number.NEGATIVE_INFINITY
  const turnAway = (socket: Socket, from: string) => {
    socket.destroy()
    turnedAway++
    const now = performance.now()
    if (now - saidAt < SAY_MS) return
    saidAt = now
    const many = turnedAway === 1 ? "a connection" : `${turnedAway} connections`
    turnedAway = 0
    options.report(
      `${many} to rank 0's port came without the token of this run (MILLRACE_RANKS) and ended, ` +
        `the last from ${from}; the run goes on`
    )
  }
  return {
    letIn: async (socket) => {
      const from = socket.remoteAddress ?? "an address that is gone"
      if (waiting.size >= options.most) waiting.values().next().value?.destroy()
      waiting.add(socket)
      const late = setTimeout(() => socket.destroy(), options.helloMs)
      const known = await challenge(socket, options.token)
      clearTimeout(late)
      waiting.delete(socket)
      if (!known) turnAway(socket, from)
      return known && !socket.destroyed
    }
  }
}
