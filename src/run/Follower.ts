/**
 * A rank that follows: it comes to rank 0, runs its part of the folds that it is asked for, and ends with the run.
 *
 * Not a run: it plans nothing, commits nothing and writes nothing into the store, from which it reads the inputs. When rank 0 is
 * gone, by whatever end, so is this process: nobody is left to say what comes.
 */
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Cause, Deferred, Effect, Exit, Result, type Scope } from "effect"
import { RankLost } from "../dag/ProcessGroup.ts"
import { hintOf } from "./Failure.ts"
import { prove } from "./Handshake.ts"
import { isSymptom, joinSeconds, type RankPlace } from "./Leader.ts"
import { Interrupted, NodeFailed } from "./Run.ts"
import { tellError } from "./Told.ts"
import { lineOver, type Message } from "./Wire.ts"
import { makeWorkers, type WorkerSetup } from "./Workers.ts"

const HINT = "Run the same command again: it goes on from the last checkpoint, with any number of processes."

/** Who listens there is given so long to be rank 0, and not what had the port before it. */
const REFUSING_MS = 10_000

/** Connects as soon as rank 0 is there, and proves that this is a rank of its run. */
const reach = async ({ host, port, token }: RankPlace): Promise<Socket> => {
  const until = performance.now() + 1000 * joinSeconds()
  let refusedAt: number | undefined
  for (;;) {
    const socket = connect({ host, port })
    let silent = false
    socket.setTimeout(REFUSING_MS, () => {
      silent = true
      socket.destroy()
    })
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once("connect", () => resolve(undefined))
      socket.on("error", resolve)
      socket.once("close", () => resolve(new Error("no answer")))
    })
    if (error === undefined && (await prove(socket, token))) return socket.setTimeout(0)
    socket.destroy()
    const now = performance.now()
    // A machine that is busy may be slow to answer, and says nothing: only who closes refuses.
    refusedAt = error === undefined && !silent ? (refusedAt ?? now) : undefined
    if (refusedAt !== undefined && now - refusedAt > REFUSING_MS)
      throw new Error("who listens there does not know the token of this rank, or is something else")
    if (now > until) throw error ?? new Error("it does not answer")
    await sleep(200)
  }
}

/** How long this rank waits for rank 0's word when a collective broke: its cause is better known there. */
const CLOSER_REASON_MS = 10_000

/**
 * Follows until the run ends. Fails with `RankLost` when it ended by a failure, of whichever rank, and with `Interrupted` when it
 * was asked to stop.
 */
export const follow = (
  place: RankPlace,
  run: string,
  setup: WorkerSetup
): Effect.Effect<void, RankLost | Interrupted, Scope.Scope> =>
  Effect.gen(function* () {
    const { rank, world } = place
    const lost = (of: number, message: string, hint: string) => new RankLost({ rank: of, world, message, hint })
    const over = Deferred.makeUnsafe<void, RankLost | Interrupted>()
    const end = (how: Effect.Effect<void, RankLost | Interrupted>) => void Deferred.doneUnsafe(over, how)
    const workers = yield* makeWorkers(1, setup)
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    const socket = yield* Effect.tryPromise({
      try: () => reach(place),
      catch: (cause) =>
        lost(
          0,
          `rank ${rank}: rank 0 is not at ${place.host}:${place.port}: ${cause instanceof Error ? cause.message : String(cause)}`,
          "Start rank 0 with the same MASTER_ADDR, MASTER_PORT and MILLRACE_RANKS; MILLRACE_JOIN_SECONDS waits longer."
        )
    })
    const hear = (message: Message) => {
      if (message.type === "follow") {
        fork(
          Effect.flatMap(Effect.exit(workers.follow({ ...message.task, rendezvous: message.rendezvous })), (exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit)) return line.say({ type: "followed", name: message.rendezvous.name })
              const found = Cause.findError(exit.cause)
              const error = Result.isSuccess(found) ? found.success : Cause.squash(exit.cause)
              const told = {
                tag: "NodeFailed",
                message: error instanceof Error ? error.message : String(error),
                hint: hintOf(error) ?? HINT
              }
              const cause = error instanceof NodeFailed && error.cause instanceof Error ? error.cause : error
              line.say({ type: "failed", ...told, error: tellError(cause, "") })
              const say = () =>
                end(Effect.fail(lost(rank, `rank ${rank} of ${world} failed: ${told.message}`, told.hint)))
              if (isSymptom(error)) setTimeout(say, CLOSER_REASON_MS).unref()
              else say()
            })
          )
        )
      } else if (message.type === "bye") {
        const { reason, stopped } = message
        end(
          stopped
            ? Effect.fail(new Interrupted({ message: "rank 0 was asked to stop", hint: HINT }))
            : reason === undefined
              ? Effect.void
              : Effect.fail(lost(0, `rank ${rank} ends with rank 0: ${reason.tag}: ${reason.message}`, reason.hint))
        )
      }
    }
    const line = lineOver(socket, hear, (why) =>
      end(Effect.fail(lost(0, `rank ${rank} ends: rank 0 of ${world} ${why}`, HINT)))
    )
    yield* Effect.addFinalizer(() => Effect.promise(() => line.end()))
    line.say({ type: "hello", rank, world, run })
    yield* Deferred.await(over)
  })
