/**
 * A rank that follows: it comes to rank 0, runs its part of the folds that it is asked for, and ends with the run.
 *
 * Not a run: it plans nothing, commits nothing and writes nothing into the store, from which it reads the inputs. When rank 0 is
 * gone, by whatever end, so is this process: nobody is left to say what comes. Damage that it meets in an input is told to rank 0,
 * which has all ranks give the fold up, makes the input again and begins anew.
 */
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Cause, Deferred, Effect, Exit, Fiber, Result, type Scope } from "effect"
import { RankLost } from "../dag/ProcessGroup.ts"
import { onDamage } from "../store/Damage.ts"
import { layoutOf } from "../store/Layout.ts"
import { isSymptom, joinSeconds, type RankAddress } from "./Coordinator.ts"
import { hintOf } from "./Failure.ts"
import { prove } from "./Handshake.ts"
import type { NodeTask } from "./NodeTask.ts"
import { lineOver, type Message } from "./RankProtocol.ts"
import { Interrupted, NodeFailed } from "./Run.ts"
import { encodeError } from "./SerializedExit.ts"
import type { WorkerSetup } from "./WorkerProtocol.ts"
import { makeWorkers } from "./Workers.ts"

const HINT = "Run the same command again: it goes on from the last checkpoint, with any number of processes."

/** Who listens there is given so long to be rank 0, and not what had the port before it. */
const REFUSING_MS = 10_000

/** Connects as soon as rank 0 is there, and proves that this is a rank of its run. */
const reach = async ({ host, port, token }: RankAddress): Promise<Socket> => {
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

/** A fold that this rank follows, or followed last. */
interface Following {
  readonly name: string
  readonly task: NodeTask
  fiber?: Fiber.Fiber<void>
  /** It met damage in an input. */
  damaged: boolean
  /** Says that this rank failed by a broken collective, where no closer reason comes. */
  symptom?: NodeJS.Timeout
}

/**
 * Follows until the run ends. Fails with `RankLost` when it ended by a failure, of whichever rank, and with `Interrupted` when it
 * was asked to stop.
 */
export const runRank = (
  address: RankAddress,
  run: string,
  setup: WorkerSetup
): Effect.Effect<void, RankLost | Interrupted, Scope.Scope> =>
  Effect.gen(function* () {
    const { rank, world } = address
    const lost = (of: number, message: string, hint: string) => new RankLost({ rank: of, world, message, hint })
    const over = Deferred.makeUnsafe<void, RankLost | Interrupted>()
    const end = (how: Effect.Effect<void, RankLost | Interrupted>) => void Deferred.doneUnsafe(over, how)
    const workers = yield* makeWorkers(1, setup)
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    const socket = yield* Effect.tryPromise({
      try: () => reach(address),
      catch: (cause) =>
        lost(
          0,
          `rank ${rank}: rank 0 is not at ${address.host}:${address.port}: ${cause instanceof Error ? cause.message : String(cause)}`,
          "Start rank 0 with the same MASTER_ADDR, MASTER_PORT and MILLRACE_RANKS; MILLRACE_JOIN_SECONDS waits longer."
        )
    })
    let following: Following | undefined
    const ended = (fold: Following, cause: Cause.Cause<NodeFailed>) => {
      const found = Cause.findError(cause)
      const error = Result.isSuccess(found) ? found.success : Cause.squash(cause)
      const told = {
        tag: "NodeFailed",
        message: error instanceof Error ? error.message : String(error),
        hint: hintOf(error) ?? HINT
      }
      const inner = error instanceof NodeFailed && error.cause instanceof Error ? error.cause : error
      line.say({ type: "failed", name: fold.name, ...told, error: encodeError(inner, "") })
      const say = () => end(Effect.fail(lost(rank, `rank ${rank} of ${world} failed: ${told.message}`, told.hint)))
      // After damage rank 0 says what comes: it makes the input again, or ends the run.
      if (fold.damaged) return
      if (isSymptom(error)) fold.symptom = setTimeout(say, CLOSER_REASON_MS).unref()
      else say()
    }
    const followFold = ({ rendezvous, task }: Extract<Message, { readonly type: "follow" }>) => {
      const fold: Following = { name: rendezvous.name, task, damaged: false }
      following = fold
      const ran = Effect.exit(workers.follow({ ...task, rendezvous }))
      fold.fiber = fork(
        Effect.map(ran, (exit) => {
          if (Exit.isSuccess(exit)) line.say({ type: "followed", name: fold.name })
          else if (!Cause.hasInterruptsOnly(exit.cause)) ended(fold, exit.cause)
        })
      )
    }
    /** Gives a fold up; a thread that computes is ended. */
    const drop = (fold: Following | undefined, name: string) => {
      const given = fold?.name === name && fold.fiber !== undefined ? Fiber.interrupt(fold.fiber) : Effect.void
      fork(
        Effect.map(given, () => {
          clearTimeout(fold?.symptom)
          line.say({ type: "dropped", name })
        })
      )
    }
    const layout = layoutOf(setup.store)
    const hearNoMore = onDamage(({ file, folder, port }) => {
      for (const where of Object.values(following?.task.entryRefs ?? {})) {
        if (where.kind !== "entry" || layout.entry(where.key, where.code) !== folder) continue
        following!.damaged = true
        line.say({ type: "damage", name: following!.name, key: where.key, code: where.code, port, file })
      }
    })
    yield* Effect.addFinalizer(() => Effect.sync(hearNoMore))
    const hear = (message: Message) => {
      if (message.type === "follow") followFold(message)
      else if (message.type === "drop") drop(following, message.name)
      else if (message.type === "shutdown") {
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
