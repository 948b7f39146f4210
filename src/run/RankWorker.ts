/**
 * A rank other than 0: it joins rank 0, runs its part of the folds that it is asked for, and ends with the run.
 *
 * Not a run: it plans nothing, commits nothing and writes nothing into the store, from which it reads the inputs. When
 * rank 0 is gone, this process ends too. It reports damage in an input to rank 0, which has all ranks give the fold up,
 * makes the input again and starts the fold again.
 */
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Cause, Deferred, Effect, Exit, Fiber, Result, type Scope } from "effect"
import { RankLost } from "../dag/ProcessGroup.ts"
import { type Met, onDamage } from "../store/Damage.ts"
import { layoutOf } from "../store/Layout.ts"
import { isSymptom, joinSeconds, type RankAddress } from "./Coordinator.ts"
import { hintOf } from "./Failure.ts"
import { prove } from "./Handshake.ts"
import type { NodeTask } from "./NodeTask.ts"
import { type Line, lineOver, type Message } from "./RankProtocol.ts"
import { Interrupted, NodeFailed } from "./Run.ts"
import { encodeError } from "./SerializedExit.ts"
import type { WorkerSetup } from "./WorkerProtocol.ts"
import { makeWorkers, type Workers } from "./Workers.ts"

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
      throw new Error("the process that listens there does not know the token of this rank")
    if (now > until) throw error ?? new Error("it does not answer")
    await sleep(200)
  }
}

/** How long this rank waits for rank 0 when a collective failed: rank 0 knows the cause better. */
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

type Outcome = Effect.Effect<void, RankLost | Interrupted>

/** One rank under way: its line to rank 0, its thread, and the fold that it follows. */
interface RankState {
  readonly rank: number
  readonly world: number
  readonly workers: Workers
  readonly line: Line
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly end: (outcome: Outcome) => void
  following: Following | undefined
}

/** Reports that this rank's part of a fold failed, and ends the rank where rank 0 has no better reason. */
const reportFailure = (state: RankState, fold: Following, cause: Cause.Cause<NodeFailed>): void => {
  const { end, line, rank, world } = state
  const found = Cause.findError(cause)
  const error = Result.isSuccess(found) ? found.success : Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  const hint = hintOf(error) ?? HINT
  const inner = error instanceof NodeFailed && error.cause instanceof Error ? error.cause : error
  line.say({ type: "failed", name: fold.name, tag: "NodeFailed", message, hint, error: encodeError(inner, "") })
  // After damage rank 0 decides: it makes the input again, or ends the run.
  if (fold.damaged) return
  const endHere = () =>
    end(Effect.fail(new RankLost({ rank, world, message: `rank ${rank} of ${world} failed: ${message}`, hint })))
  if (isSymptom(error)) fold.symptom = setTimeout(endHere, CLOSER_REASON_MS).unref()
  else endHere()
}

const followFold = (state: RankState, message: Extract<Message, { readonly type: "follow" }>): void => {
  const { rendezvous, task } = message
  const fold: Following = { name: rendezvous.name, task, damaged: false }
  state.following = fold
  fold.fiber = state.fork(
    Effect.map(Effect.exit(state.workers.follow({ ...task, rendezvous })), (exit) => {
      if (Exit.isSuccess(exit)) state.line.say({ type: "followed", name: fold.name })
      else if (!Cause.hasInterruptsOnly(exit.cause)) reportFailure(state, fold, exit.cause)
    })
  )
}

/** Gives a fold up; a thread that computes is ended. */
const dropFold = ({ following, fork, line }: RankState, name: string): void => {
  const fiber = following?.name === name ? following.fiber : undefined
  fork(
    Effect.map(fiber === undefined ? Effect.void : Fiber.interrupt(fiber), () => {
      clearTimeout(following?.symptom)
      line.say({ type: "dropped", name })
    })
  )
}

/** Reports damage that a reader of this process met in an input of the fold. */
const reportDamagedInput = (state: RankState, store: string, { file, folder, port }: Met): void => {
  const { following, line } = state
  const layout = layoutOf(store)
  for (const entryRef of Object.values(following?.task.entryRefs ?? {})) {
    if (entryRef.kind !== "entry") continue
    const { code, key } = entryRef
    if (layout.entry(key, code) !== folder) continue
    following!.damaged = true
    line.say({ type: "damage", name: following!.name, key, code, port, file })
  }
}

/** How the run ended, as rank 0 says. */
const outcomeOf = (
  { rank, world }: RankState,
  { reason, stopped }: Extract<Message, { readonly type: "shutdown" }>
): Outcome => {
  if (stopped) return Effect.fail(new Interrupted({ message: "rank 0 was asked to stop", hint: HINT }))
  if (reason === undefined) return Effect.void
  const message = `rank ${rank} ends with rank 0: ${reason.tag}: ${reason.message}`
  return Effect.fail(new RankLost({ rank: 0, world, message, hint: reason.hint }))
}

/**
 * Follows rank 0 until the run ends. Fails with `RankLost` when the run failed, on whichever rank, and with
 * `Interrupted` when it was asked to stop.
 */
export const runRank = Effect.fn("run.runRank")(function* (
  address: RankAddress,
  run: string,
  setup: WorkerSetup
): Effect.fn.Return<void, RankLost | Interrupted, Scope.Scope> {
  const { rank, world } = address
  const lost = (message: string, hint: string) => new RankLost({ rank: 0, world, message, hint })
  const over = Deferred.makeUnsafe<void, RankLost | Interrupted>()
  const end = (outcome: Outcome) => void Deferred.doneUnsafe(over, outcome)
  const workers = yield* makeWorkers(1, setup)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const socket = yield* Effect.tryPromise({
    try: () => reach(address),
    catch: (cause) =>
      lost(
        `rank ${rank}: rank 0 is not at ${address.host}:${address.port}: ` +
          `${cause instanceof Error ? cause.message : String(cause)}`,
        "Start rank 0 with the same MASTER_ADDR, MASTER_PORT and MILLRACE_RANKS; MILLRACE_JOIN_SECONDS waits longer."
      )
  })
  const hear = (message: Message) => {
    if (message.type === "follow") followFold(state, message)
    else if (message.type === "drop") dropFold(state, message.name)
    else if (message.type === "shutdown") end(outcomeOf(state, message))
  }
  const line = lineOver(socket, hear, (why) =>
    end(Effect.fail(lost(`rank ${rank} ends: rank 0 of ${world} ${why}`, HINT)))
  )
  const state: RankState = { rank, world, workers, line, fork, end, following: undefined }
  const hearNoMore = onDamage((met) => reportDamagedInput(state, setup.store, met))
  yield* Effect.addFinalizer(() => Effect.sync(hearNoMore))
  yield* Effect.addFinalizer(() => Effect.promise(() => line.end()))
  line.say({ type: "hello", rank, world, run })
  yield* Deferred.await(over)
})
