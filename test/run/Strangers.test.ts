/** What strangers can do at rank 0's port: be closed, unanswered, while the run goes on and says so once. */
import { createHmac } from "node:crypto"
import { connect, createServer, type Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { type Coordinator, openCoordinator } from "../../src/run/Coordinator.ts"
import { challenge, HANDSHAKE_BYTES, isToken, newToken, prove } from "../../src/run/Handshake.ts"
import { lineOver, type Message } from "../../src/run/RankProtocol.ts"
import { STRANGERS } from "../../src/run/Strangers.ts"

const token = newToken()
const WORLD = 2

const seconds = process.env["MILLRACE_RANK_SECONDS"]
beforeEach(() => {
  process.env["MILLRACE_RANK_SECONDS"] = "1"
})
afterEach(() => {
  if (seconds === undefined) delete process.env["MILLRACE_RANK_SECONDS"]
  else process.env["MILLRACE_RANK_SECONDS"] = seconds
})

/** A coordinator of two ranks, and what it has said of strangers. */
const withCoordinator = <A>(
  use: (coordinator: Coordinator, said: ReadonlyArray<string>) => Promise<A>,
  listen?: string
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const said: Array<string> = []
      const coordinator = yield* openCoordinator(
        { rank: 0, world: WORLD, host: "127.0.0.1", port: 0, store: undefined, listen, token },
        "the words of the run",
        () => Effect.succeed(undefined),
        (message) => said.push(message)
      )
      return yield* Effect.promise(() => use(coordinator, said))
    })
  )

const opened = (port: number, host = "127.0.0.1"): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, host, () => resolve(socket))
    socket.once("error", reject)
    socket.on("error", () => undefined) // closed while it still wrote
  })

/** Everything that a connection was sent until it closed. */
const heard = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => {
    const parts: Array<Buffer> = []
    socket.on("data", (part: Buffer) => parts.push(part))
    socket.once("close", () => resolve(Buffer.concat(parts)))
    socket.resume()
  })

/** Sends bytes, then no more, and gives what came back. */
const send = async (port: number, bytes: Uint8Array): Promise<Buffer> => {
  const socket = await opened(port)
  const back = heard(socket)
  socket.end(bytes)
  return back
}

/** The run goes on: its rank comes, and is taken. */
const takesItsRank = async (coordinator: Coordinator): Promise<void> => {
  const socket = await opened(coordinator.port)
  expect(await prove(socket, token)).toBe(true)
  const line = lineOver(
    socket,
    () => undefined,
    () => undefined
  )
  line.say({ type: "hello", rank: 1, world: WORLD, run: "the words of the run" })
  await Effect.runPromise(coordinator.gathered)
  const lost = await Effect.runPromise(Effect.timeoutOption(Effect.exit(coordinator.lost), 20))
  expect(lost._tag).toBe("None")
}

const hello = JSON.stringify({ type: "hello", rank: 1, world: WORLD, token: "", run: "?" })
const utf8 = (text: string) => new TextEncoder().encode(text)
const mac = (key: string, said: string) => createHmac("sha256", key).update(said).digest("hex")
const number = "0123456789abcdef0123456789abcdef"

describe("strangers", () => {
  it.live("are closed unanswered, whatever they send, and rank 0 takes its rank afterwards", () =>
    withCoordinator(async (coordinator, said) => {
      const sent = [
        "null\n",
        "7\n",
        "\n",
        "\r\n\r\n",
        `${hello}\n`,
        `${hello.replace('""', JSON.stringify(token))}\n`,
        `${token}\n${hello}\n`,
        `${"[".repeat(100_000)}\n`,
        "half a line",
        "GET / HTTP/1.1\r\nHost: rank\r\n\r\n",
        "x".repeat(HANDSHAKE_BYTES + 1),
        `millrace-rank/1 ${number} ${mac(newToken(), `rank ${number}`)}\n`,
        `millrace-rank/1 ${number} ${mac("", `rank ${number}`)}\n`,
        `millrace-rank/1  ${mac(token, `rank ${number}`)}\n`,
        `millrace-coordinator/1 ${number} ${mac(token, `rank ${number}`)}\n`,
        `MILLRACE-RANK/1 ${number} ${mac(token, `rank ${number}`)}\n`
      ].map(utf8)
      sent.push(Uint8Array.of(0xff, 0xfe, 0x00, 0x0a), new Uint8Array(0))
      for (const bytes of sent) expect((await send(coordinator.port, bytes)).toString()).toBe("")
      expect(said.length).toBe(1)
      expect(said[0]).toMatch(
        /^a connection to rank 0's port came without the token .* from 127\.0\.0\.1; the run goes on$/
      )
      expect(said[0]).not.toContain(token)
      await takesItsRank(coordinator)
    })
  )

  it.live("that send bytes without an end are closed after a few, and one that says nothing after a while", () =>
    withCoordinator(async (coordinator) => {
      const flood = await opened(coordinator.port)
      const closed = heard(flood)
      for (let i = 0; i < 64 && !flood.destroyed; i++) flood.write(Buffer.alloc(1 << 20, "x"))
      const silent = await opened(coordinator.port)
      // Some of a right line, which never ends.
      const half = await opened(coordinator.port)
      half.write("millrace-rank/1 01")
      expect((await Promise.all([closed, heard(silent), heard(half)])).map(String)).toEqual(["", "", ""])
      await takesItsRank(coordinator)
    })
  )

  it.live("who are too many push one another out, and no rank", () =>
    withCoordinator(async (coordinator) => {
      const many = await Promise.all(Array.from({ length: STRANGERS + WORLD + 20 }, () => opened(coordinator.port)))
      let gone = 0
      for (const one of many) one.resume().once("close", () => gone++)
      await takesItsRank(coordinator)
      expect(gone).toBeGreaterThanOrEqual(20)
      for (const one of many) one.destroy()
    })
  )

  it.live("who replay what a rank has sent are told a number and nothing of the run, and get no further", () =>
    withCoordinator(async (coordinator) => {
      const first = `millrace-rank/1 ${number} ${mac(token, `rank ${number}`)}\n`
      const answers = []
      for (let i = 0; i < 2; i++)
        answers.push((await send(coordinator.port, utf8(`${first}${"0".repeat(64)}\n${hello}\n`))).toString())
      for (const answer of answers) expect(answer).toMatch(/^millrace-coordinator\/1 [0-9a-f]{32} [0-9a-f]{64}\n$/)
      expect(answers[0]).not.toBe(answers[1])
      await takesItsRank(coordinator)
    })
  )

  it.live("on other addresses of the machine find no port", () =>
    withCoordinator(async (coordinator) => {
      const error = await opened(coordinator.port, "127.0.0.2").catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: "ECONNREFUSED" })
      await takesItsRank(coordinator)
    })
  )

  it.live("find it there where all interfaces were asked for", () =>
    withCoordinator(async (coordinator) => {
      const socket = await opened(coordinator.port, "127.0.0.2")
      expect(await prove(socket, token)).toBe(true)
      socket.destroy()
    }, "0.0.0.0")
  )

  /** Any bytes, texts, values of JSON, and near misses of a right first line. */
  const Sent = Schema.Union([
    Schema.Uint8Array,
    Schema.String,
    Schema.Json,
    Schema.Struct({ at: Schema.Int, by: Schema.Int })
  ])
  const bytesOf = (sent: typeof Sent.Type): Uint8Array => {
    if (sent instanceof Uint8Array) return sent
    if (typeof sent === "string") return utf8(sent)
    if (sent === null || typeof sent !== "object" || !("by" in sent)) return utf8(`${JSON.stringify(sent)}\n`)
    const line = utf8(`millrace-rank/1 ${number} ${mac(token, `rank ${number}`)}\n`)
    const at = Math.abs(Number(sent["at"])) % (line.length - 1)
    line[at] = (line[at]! + 1 + (Math.abs(Number(sent["by"])) % 255)) % 256
    return line
  }
  it.effect.prop(
    "of any bytes at all are not answered",
    { parts: Schema.Array(Sent) },
    ({ parts }) =>
      withCoordinator(async (coordinator) => {
        expect((await send(coordinator.port, Buffer.concat(parts.map(bytesOf)))).length).toBe(0)
        await takesItsRank(coordinator)
      }),
    { arbitrary: { runs: 100 } }
  )

  it.live("cost rank 0 one read of a socket each: 100 connections of 1 MiB leave less than 20 MiB", () =>
    withCoordinator(async (coordinator) => {
      const flood = Buffer.alloc(1 << 20, "y")
      const before = process.memoryUsage().arrayBuffers
      for (let i = 0; i < 100; i++) await send(coordinator.port, flood)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 << 20)
      await takesItsRank(coordinator)
    })
  )
})

describe("a rank", () => {
  it.live("is not led by who does not know its token", () =>
    Effect.promise(async () => {
      const answers = [
        (socket: Socket) => void socket.write("null\n"),
        (socket: Socket) => void socket.write(`millrace-coordinator/1 ${number} ${mac(newToken(), "coordinator")}\n`),
        (socket: Socket) => void socket.write(Buffer.alloc(1 << 20, "x")),
        // What it said itself, given back.
        (socket: Socket) => void socket.once("data", (data: Buffer) => socket.write(data)),
        (socket: Socket) => void challenge(socket, newToken()).then(() => socket.destroy()),
        (socket: Socket) => void socket.end()
      ]
      for (const answer of answers) {
        const server = createServer((socket) => answer(socket.on("error", () => undefined)))
        const port = await new Promise<number>((resolve) =>
          server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port))
        )
        const socket = await opened(port)
        expect(await prove(socket, token)).toBe(false)
        socket.destroy()
        server.close()
      }
    })
  )

  it.live("that does not say which it is, or says something else first, is closed and ends nothing", () =>
    withCoordinator(async (coordinator) => {
      const silent = await opened(coordinator.port)
      expect(await prove(silent, token)).toBe(true)
      await heard(silent)
      const other = await opened(coordinator.port)
      expect(await prove(other, token)).toBe(true)
      const shutdown = new Promise<Message>((resolve) => {
        const line = lineOver(other, resolve, () => undefined)
        line.say({ type: "followed", name: "x" })
      })
      expect(await shutdown).toMatchObject({ type: "shutdown", reason: { message: "it did not say which rank it is" } })
      await takesItsRank(coordinator)
    })
  )
})

it("a token has 256 bits, none is made twice, and a short or torn one is none", () => {
  const tokens = Array.from({ length: 100 }, newToken)
  expect(new Set(tokens).size).toBe(100)
  for (const one of tokens) expect(isToken(one) && Buffer.from(one, "base64url").length === 32).toBe(true)
  for (const one of ["", "word", "a".repeat(21), "a b".repeat(10), `${tokens[0]}\n`, "é".repeat(30), "a".repeat(513)])
    expect(isToken(one)).toBe(false)
})

it.live("an address that is not of this machine, or a name of none, is an error that says what to set", () =>
  Effect.gen(function* () {
    for (const host of ["192.0.2.1", "no-such-machine.invalid"]) {
      const address = { rank: 0, world: WORLD, host, port: 0, store: undefined, listen: undefined, token }
      const exit = yield* Effect.exit(Effect.scoped(openCoordinator(address, "", () => Effect.succeed(undefined))))
      const error = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
      expect(error).toMatchObject({
        error: { _tag: "RankLost", hint: expect.stringContaining("MILLRACE_LISTEN") as string }
      })
    }
  })
)
