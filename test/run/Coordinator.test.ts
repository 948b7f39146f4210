/** What ranks say to one another: who is let in, who is lost and why, and what the others hear of the end. */
import { connect, createServer, type Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { type Coordinator, openCoordinator, type RankAddress } from "../../src/run/Coordinator.ts"
import { challenge, newToken, prove } from "../../src/run/Handshake.ts"
import { LINE_BYTES, lineOver, type Message } from "../../src/run/RankProtocol.ts"
import { runRank } from "../../src/run/RankWorker.ts"
import { Interrupted } from "../../src/run/Run.ts"

const token = newToken()
const address = (over: Partial<RankAddress> = {}): RankAddress => ({
  rank: 0,
  world: 3,
  host: "127.0.0.1",
  port: 0,
  store: undefined,
  listen: undefined,
  token,
  ...over
})
const task = {
  node: "train",
  entryRefs: {},
  folder: "",
  code: "",
  key: "",
  inputs: {},
  threads: 1,
  checkpoints: { checkpointEveryMs: 1 }
}

/** A rank that speaks for itself. */
const come = (port: number, rank: number, over: object = {}) =>
  Effect.callback<{ socket: Socket; heard: Array<Message>; next: () => Promise<Message> }>((resume) => {
    const heard: Array<Message> = []
    const waiting: Array<(message: Message) => void> = []
    const socket = connect(port, "127.0.0.1", async () => {
      expect(await prove(socket, token)).toBe(true)
      const line = lineOver(
        socket,
        (message) => {
          const one = waiting.shift()
          if (one === undefined) heard.push(message)
          else one(message)
        },
        () => undefined
      )
      line.say({ type: "hello", rank, world: 3, run: "same", ...over })
      const next = () =>
        heard.length > 0
          ? Promise.resolve(heard.shift()!)
          : new Promise<Message>((resolve) => {
              waiting.push(resolve)
            })
      resume(Effect.succeed({ socket, heard, next }))
    })
  })

const none = Effect.succeed(undefined)
const withCoordinator = <A, E, R>(use: (coordinator: Coordinator) => Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(
      openCoordinator(address(), "same", () => none),
      use
    )
  )

const seconds = process.env["MILLRACE_RANK_SECONDS"]
beforeEach(() => {
  process.env["MILLRACE_RANK_SECONDS"] = "1"
})
afterEach(() => {
  if (seconds === undefined) delete process.env["MILLRACE_RANK_SECONDS"]
  else process.env["MILLRACE_RANK_SECONDS"] = seconds
})

describe("rank 0", () => {
  it.live("asks all ranks to follow when the last has come, each by its own number, at a place of its own", () =>
    withCoordinator((coordinator) =>
      Effect.gen(function* () {
        const begun = yield* Effect.forkChild(coordinator.begin(task, () => undefined))
        const one = yield* come(coordinator.port, 1)
        const two = yield* come(coordinator.port, 2)
        const rendezvous = yield* Fiber.join(begun)
        expect(rendezvous).toMatchObject({ rank: 0, world: 3, host: "127.0.0.1", kept: false })
        for (const [rank, { next }] of [[1, one] as const, [2, two] as const])
          expect(yield* Effect.promise(next)).toEqual({ type: "follow", task, rendezvous: { ...rendezvous, rank } })
        expect((yield* coordinator.begin(task, () => undefined)).name).not.toBe(rendezvous.name)
      })
    )
  )

  for (const [name, over, said] of [
    ["other settings", { run: "other" }, "it was started with other arguments: other instead of same"],
    ["another number of ranks", { world: 2 }, "it is one of 2 ranks, and this run has 3"],
    ["a rank that is here already", { rank: 1 }, "rank 1 is here already"],
    ["a rank that is none", { rank: 3 }, "rank 3 is not one from 1 to 2"],
    ["rank 0's number", { rank: 0 }, "rank 0 is not one from 1 to 2"]
  ] as const)
    it.live(`refuses one with ${name}, who hears why`, () =>
      withCoordinator((coordinator) =>
        Effect.gen(function* () {
          const first = yield* come(coordinator.port, 1)
          const { next } = yield* come(coordinator.port, 2, over)
          const shutdown = yield* Effect.promise(next)
          const hint = expect.stringContaining("same command") as string
          expect(shutdown).toMatchObject({ type: "shutdown", stopped: false, reason: { message: said, hint } })
          expect(first.heard).toEqual([])
        })
      )
    )

  it.live("loses a rank that ends without a word, talks nonsense or failed", () =>
    Effect.gen(function* () {
      const ends: ReadonlyArray<readonly [end: (socket: Socket) => void, said: RegExp]> = [
        [(socket) => socket.resetAndDestroy(), /rank 2 of 3 is gone/],
        [(socket) => socket.write("nonsense\n"), /rank 2 of 3 sent what is no message/],
        [(socket) => socket.write("null\n"), /rank 2 of 3 sent what is no message/],
        [(socket) => socket.write("7\n"), /rank 2 of 3 sent what is no message/],
        [(socket) => socket.write(`${"[".repeat(1e6)}\n`), /rank 2 of 3 sent what is no message/],
        [(socket) => socket.write(`${"[".repeat(1e6)}${"]".repeat(1e6)}\n`), /rank 2 of 3 sent what is no message/],
        [
          (socket) => socket.write(Buffer.from('{"type":"followed","name":"\xff"}\n', "latin1")),
          /rank 2 of 3 sent what is no message/
        ],
        [(socket) => socket.write('{"type":"failed","message":7}\n'), /rank 2 of 3 sent what is no message/],
        [(socket) => socket.write('{"type":"shutdown","stopped":true}\n'), /rank 2 of 3 sent "shutdown"/],
        [(socket) => socket.write('{"type":"hello","rank":1,"world":3,"run":"same"}\n'), /rank 2 of 3 sent "hello"/],
        [(socket) => socket.end('{"type":"follo'), /rank 2 of 3 is gone/],
        [(socket) => socket.write(Buffer.alloc(LINE_BYTES + 1, "x")), /sent more than 4194304 bytes in one message/],
        [
          (socket) =>
            socket.write(
              `${JSON.stringify({ type: "failed", name: "train 0", tag: "T", message: "memory", hint: "Less." })}\n`
            ),
          /rank 2 of 3 failed: memory/
        ]
      ]
      for (const [end, said] of ends)
        yield* withCoordinator((coordinator) =>
          Effect.gen(function* () {
            const { next } = yield* come(coordinator.port, 1)
            const { socket } = yield* come(coordinator.port, 2)
            yield* Effect.forkChild(coordinator.begin(task, () => undefined))
            yield* Effect.promise(next)
            end(socket)
            const error = yield* Effect.flip(coordinator.lost)
            expect(error).toMatchObject({ _tag: "RankLost", rank: 2, world: 3 })
            expect(error.message).toMatch(said)
          })
        )
    })
  )

  it.live("loses a rank that is there and says nothing", () =>
    withCoordinator((coordinator) =>
      Effect.gen(function* () {
        const socket = connect(coordinator.port, "127.0.0.1")
        socket.on("error", () => undefined)
        expect(yield* Effect.promise(() => prove(socket, token))).toBe(true)
        socket.write(`${JSON.stringify({ type: "hello", rank: 1, world: 3, run: "same" })}\n`)
        const error = yield* Effect.flip(coordinator.lost)
        expect(error.message).toBe("rank 1 of 3 has said nothing for 1 s")
        expect(error.hint).toContain("Run the same command again")
      })
    )
  )
})

describe("a rank that follows", () => {
  /** Follows a coordinator that says `end`, and gives how it ended. */
  const ending = (end: (scope: Scope.Closeable, coordinator: Coordinator) => Effect.Effect<void>) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const coordinator = yield* Scope.provide(
        openCoordinator(address({ world: 2 }), "same", () => none),
        scope
      )
      const setup = { module: "", choice: { preset: "", settings: [], engine: "" }, store: "" }
      const following = yield* Effect.forkChild(
        Effect.scoped(runRank(address({ rank: 1, world: 2, port: coordinator.port }), "same", setup))
      )
      yield* coordinator.gathered
      yield* end(scope, coordinator)
      return yield* Fiber.await(following)
    })

  it.live("ends well, stopped or failed as rank 0 did", () =>
    Effect.gen(function* () {
      const closed = (exit: Exit.Exit<unknown, unknown>) => ending((scope) => Scope.close(scope, exit))
      expect(Exit.isSuccess(yield* closed(Exit.void))).toBe(true)
      const stopped = yield* closed(Exit.fail(new Interrupted({ message: "asked", hint: "" })))
      expect(yield* Effect.flip(stopped)).toMatchObject({ _tag: "Interrupted" })
      const failed = yield* closed(Exit.fail({ _tag: "Broken", message: "no space", hint: "Make some." }))
      expect(yield* Effect.flip(failed)).toMatchObject({
        _tag: "RankLost",
        rank: 0,
        message: "rank 1 ends with rank 0: Broken: no space",
        hint: "Make some."
      })
    })
  )

  it.live("ends when rank 0 is gone without a word", () =>
    Effect.gen(function* () {
      const accepted = Deferred.makeUnsafe<Socket>()
      const server = createServer(async (socket) => {
        expect(await challenge(socket, token)).toBe(true)
        Deferred.doneUnsafe(accepted, Effect.succeed(socket))
      })
      const port = yield* Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as { port: number }).port)))
      })
      const setup = { module: "", choice: { preset: "", settings: [], engine: "" }, store: "" }
      const following = yield* Effect.forkChild(
        Effect.scoped(runRank(address({ rank: 1, world: 2, port }), "same", setup))
      )
      const socket = yield* Deferred.await(accepted)
      // Its hello: it has come.
      yield* Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)).resume())
      socket.resetAndDestroy()
      server.close()
      const error = yield* Effect.flip(Fiber.join(following))
      expect(error).toMatchObject({ _tag: "RankLost", rank: 0 })
      expect(error.message).toMatch(/rank 1 ends: rank 0 of 2 is gone/)
    })
  )
})
