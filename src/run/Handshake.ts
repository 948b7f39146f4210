/**
 * How a rank and rank 0 prove to one another that they know the run's token, before either says or reads anything else.
 *
 * Not encryption: what follows goes in the clear, through a network that is trusted not to change it (`docs/ranks.md`).
 * The token itself is never sent. As in Python's `multiprocessing.connection`, each side answers the other's random
 * number with an HMAC; here whoever connects goes first, so that a stranger is not answered at all:
 *
 * - the rank: `millrace-rank/1`, its number, HMAC(token, "rank" and its number)
 * - rank 0: `millrace-coordinator/1`, its own number, HMAC(token, "coordinator" and both numbers)
 * - the rank: HMAC(token, "answer" and both numbers)
 *
 * A recorded first line gets no further than the second. Lines are ASCII, of fixed length; a longer one ends the
 * connection, and so does one that takes too long. Nothing is parsed: a line is the right one, byte by byte, or it is
 * not.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { Socket } from "node:net"

/** Bits of a token that rank 0 makes. */
const TOKEN_BITS = 256

/** A token of its own for one run. */
export const newToken = (): string => randomBytes(TOKEN_BITS / 8).toString("base64url")

/** What a token must be, in words: 22 letters of base64 are 128 bits. */
export const tokenForm = "22 to 512 printable ASCII characters without blanks"

/** Whether a text can be a token. */
export const isToken = (text: string): boolean => /^[!-~]{22,512}$/.test(text)

/** Bytes of the longest line of the handshake, and of what is kept of a connection that has not proved anything. */
export const HANDSHAKE_BYTES = 128

const NUMBER_BYTES = 16
const NUMBER = /^[0-9a-f]{32}$/
const macOf = (token: string, role: "rank" | "coordinator" | "answer", numbers: string): string =>
  createHmac("sha256", token).update(`${role} ${numbers}`).digest("hex")

const digest = (text: string): Buffer => createHash("sha256").update(text, "latin1").digest()

/** Compares in a time that does not depend on where two texts differ. */
const same = (one: string, other: string): boolean => timingSafeEqual(digest(one), digest(other))

/**
 * The next line of a socket, one character a byte; undefined where it ends, fails, or is longer than `HANDSHAKE_BYTES`.
 * What comes behind the line stays in the socket.
 */
const nextLine = (socket: Socket): Promise<string | undefined> =>
  new Promise((resolve) => {
    let held: Buffer = Buffer.alloc(0)
    const done = (line: string | undefined) => {
      socket.off("data", take)
      socket.off("close", none)
      socket.pause()
      resolve(line)
    }
    const none = () => done(undefined)
    const take = (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a)
      const part = end < 0 ? chunk : chunk.subarray(0, end)
      if (held.length + part.length > HANDSHAKE_BYTES) return none()
      held = Buffer.concat([held, part])
      if (end < 0) return
      done(held.toString("latin1"))
      if (end + 1 < chunk.length) socket.unshift(chunk.subarray(end + 1))
    }
    if (socket.destroyed) return resolve(undefined)
    socket.on("close", none)
    socket.on("data", take)
    socket.resume()
  })

/** Rank 0's side: whether who has connected knows the token. Who does not has been sent nothing. */
export const challenge = async (socket: Socket, token: string): Promise<boolean> => {
  const line = await nextLine(socket)
  const theirs = line?.slice("millrace-rank/1 ".length, "millrace-rank/1 ".length + 2 * NUMBER_BYTES) ?? ""
  if (line === undefined || !same(line, `millrace-rank/1 ${theirs} ${macOf(token, "rank", theirs)}`)) return false
  const numbers = `${theirs} ${randomBytes(NUMBER_BYTES).toString("hex")}`
  socket.write(`millrace-coordinator/1 ${numbers.slice(theirs.length + 1)} ${macOf(token, "coordinator", numbers)}\n`)
  const answer = await nextLine(socket)
  return answer !== undefined && same(answer, macOf(token, "answer", numbers))
}

/** The rank's side: whether rank 0 has let it in, and has proved that it knows the token too. */
export const prove = async (socket: Socket, token: string): Promise<boolean> => {
  const mine = randomBytes(NUMBER_BYTES).toString("hex")
  socket.write(`millrace-rank/1 ${mine} ${macOf(token, "rank", mine)}\n`)
  const line = await nextLine(socket)
  const theirs = line?.split(" ")[1] ?? ""
  const numbers = `${mine} ${theirs}`
  if (!NUMBER.test(theirs)) return false
  if (!same(line ?? "", `millrace-coordinator/1 ${theirs} ${macOf(token, "coordinator", numbers)}`)) return false
  socket.write(`${macOf(token, "answer", numbers)}\n`)
  return true
}
