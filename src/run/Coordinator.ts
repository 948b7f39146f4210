/**
 * Rank 0 of a run in several processes: where the others come to, what they are asked to follow, and when one is lost.
 *
 * Nobody is told anything who has not proved that they know the run's token, and nothing that they send is parsed
 * (`Strangers.ts`). Not a scheduler: rank 0 runs the pipeline as a run alone does, and asks the others for folds that compute in lockstep. The
 * first rank that is lost ends the run; which one, and why, is told once. The others hear how the run ended. A rank that meets
 * damage in an input is not lost: rank 0 hears which file, all give up the fold, and follow the next one that begins.
 */
import { lookup } from "node:dns/promises"
import { createServer, type Server, type Socket } from "node:net"
import { networkInterfaces } from "node:os"
import { Context, Deferred, Effect, Exit, type Scope } from "effect"
import { read, variables } from "../dag/Environment.ts"
import { RankLost, type Rendezvous } from "../dag/ProcessGroup.ts"
import type { NodeTask } from "./NodeTask.ts"
import { type Hello, type InputDamage, type Line, lineOver, type Message, silentMs } from "./RankProtocol.ts"
import { decodeError, hasTag } from "./SerializedExit.ts"
import { makeStrangers, STRANGERS } from "./Strangers.ts"

/** A fold that the ranks were asked to follow. */
interface Led {
  readonly name: string
  readonly isInput: (damage: InputDamage) => boolean
  readonly onDamage: (damage: InputDamage) => void
  /** It ends for damage: what fails of it now loses nobody. */
  over: boolean
  /** Failures that are told when no closer reason came. */
  readonly symptoms: Set<NodeJS.Timeout>
  /** Ranks that have given it up, and when all have. */
  readonly dropped: Set<number>
  readonly allDropped: Deferred.Deferred<void>
}

const ledFold = (name: string, task: NodeTask, onDamage: Led["onDamage"]): Led => ({
  name,
  isInput: ({ code, key }) =>
    Object.values(task.entryRefs).some((one) => one.kind === "entry" && one.key === key && one.code === code),
  onDamage,
  over: false,
  symptoms: new Set(),
  dropped: new Set(),
  allDropped: Deferred.makeUnsafe<void>()
})

/** The fold is over: no failure of a rank's part of it is told any more. */
const endLed = (led: Led): void => {
  led.over = true
  for (const timer of led.symptoms) clearTimeout(timer)
}

/** Where the ranks of a run meet, and which of them this process is. */
export interface RankAddress {
  readonly rank: number
  readonly world: number
  readonly host: string
  /** 0: rank 0 takes a free one. */
  readonly port: number
  /** The launcher keeps c10d's store at this port; else rank 0 opens one. */
  readonly store: number | undefined
  /** The numeric address at which rank 0 listens; that of `host` where it is left out. */
  readonly listen: string | undefined
  /** What all ranks know and nobody else; see `Handshake.ts`. */
  readonly token: string
}

export interface Coordinator {
  readonly world: number
  /** The port at which the others are awaited. */
  readonly port: number
  /** Waits until all ranks have come. */
  readonly gathered: Effect.Effect<void>
  /**
   * Waits for all ranks, asks them to follow a fold, and gives rank 0's place in it. `onDamage` hears of each damaged file
   * that a rank meets in the fold's inputs. Such a rank fails its part and is not lost by that: call `drop`.
   */
  readonly begin: (task: NodeTask, onDamage: (damage: InputDamage) => void) => Effect.Effect<Rendezvous, RankLost>
  /** Has all ranks give up the fold that began last, and waits until they have: they can follow another one then. */
  readonly drop: Effect.Effect<void, RankLost>
  /** Fails when a rank is lost, and never ends otherwise. */
  readonly lost: Effect.Effect<never, RankLost>
  /** Says that a rank is lost that this side saw end. */
  readonly lose: (rank: number, message: string, hint?: string) => void
}

/** The coordinator of the run under way; undefined where it is one process. */
export const CurrentCoordinator = Context.Reference<Coordinator | undefined>("millrace/run/CurrentCoordinator", {
  defaultValue: () => undefined
})

const AGAIN = "Run the same command again: it goes on from the last checkpoint, with any number of processes."

/** Seconds that the others may take to come. */
export const joinSeconds = (): number => read(variables.joinSeconds)

/** So long may the ranks take to give a fold up, beyond what a collective may take, ms. */
const DROP_MS = 15_000

/** A collective that broke says less than the end of the rank that broke it, which is heard of soon. */
const CLOSER_REASON_MS = 5000

/** Whether a failure is that of a collective: a symptom, where another rank was lost. */
export const isSymptom = (error: unknown): boolean => hasTag(error, "CollectiveFailed")

/** Listens at one address. */
const listening = (server: Server, port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen({ port, host }, () => {
      server.off("error", reject)
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : port)
    })
  })

/** A port that is free now. */
const freePort = async (host: string): Promise<number> => {
  const server = createServer()
  const port = await listening(server, 0, host)
  await new Promise((resolve) => server.close(resolve))
  return port
}

const isOurs = (address: string): boolean =>
  address === "::1" ||
  address.startsWith("127.") ||
  Object.values(networkInterfaces()).some((some) => some?.some((one) => one.address === address))

/** The address of this machine that a name stands for. */
const addressOf = async (host: string): Promise<string> => {
  const all = (await lookup(host, { all: true })).map(({ address }) => address)
  const ours = all.find(isOurs)
  if (ours === undefined) throw new Error(`${host} is ${all.join(", ")}, which is no address of this machine`)
  return ours
}

/** A stranger has so long to prove that it is none, ms. */
const helloMs = (): number => Math.min(10_000, silentMs())

/**
 * Opens rank 0's place for the other ranks. With the scope they are told how it ended, and let go. `spawnRanks` is run when they
 * are first needed, and starts them where nobody else does. `say` is told, rarely, that strangers came.
 */
export const openCoordinator = (
  address: RankAddress,
  run: string,
  spawnRanks?: (coordinator: Coordinator) => Effect.Effect<void>,
  say: (message: string) => void = () => undefined
): Effect.Effect<Coordinator, RankLost, Scope.Scope> =>
  Effect.gen(function* () {
    const { host, token, world } = address
    const lost = Deferred.makeUnsafe<never, RankLost>()
    const all = Deferred.makeUnsafe<void>()
    const lines = new Map<number, Line>()
    /** The fold that began last. */
    let led: Led | undefined
    const sockets = new Set<Socket>()
    const lose = (rank: number, message: string, hint = AGAIN) =>
      void Deferred.doneUnsafe(
        lost,
        Effect.fail(new RankLost({ rank, world, message: `rank ${rank} of ${world} ${message}`, hint }))
      )
    const refusal = (hello: Hello): string | undefined => {
      if (hello.world !== world) return `it is one of ${hello.world} ranks, and this run has ${world}`
      if (!(hello.rank > 0 && hello.rank < world)) return `rank ${hello.rank} is not one from 1 to ${world - 1}`
      if (lines.has(hello.rank)) return `rank ${hello.rank} is here already`
      return hello.run === run ? undefined : `it was started with other words: ${hello.run} instead of ${run}`
    }

    /** One that knows the token: it says which rank it is, and then how its folds end. */
    const seat = (socket: Socket) => {
      let rank: number | undefined
      const hear = (message: Message) => {
        if (rank === undefined) {
          const why = message.type === "hello" ? refusal(message) : "it did not say which rank it is"
          if (why === undefined && message.type === "hello") {
            rank = message.rank
            lines.set(rank, line)
            if (lines.size === world - 1) Deferred.doneUnsafe(all, Effect.void)
            return
          }
          const hint = "Start all ranks with the same command, each with its own RANK."
          void line.end({ type: "shutdown", stopped: false, reason: { tag: "RankLost", message: why ?? "", hint } })
        } else if (message.type === "failed") {
          if (led?.over === true && led.name === message.name) return
          const tell = () => lose(rank!, `failed: ${message.message}`, message.hint)
          if (message.error !== undefined && isSymptom(decodeError(message.error)))
            led?.symptoms.add(setTimeout(tell, CLOSER_REASON_MS).unref())
          else tell()
        } else if (message.type === "damage") {
          if (led?.name !== message.name || !led.isInput(message)) return
          endLed(led)
          led.onDamage(message)
        } else if (message.type === "dropped") {
          if (led?.name !== message.name) return
          led.dropped.add(rank)
          if (led.dropped.size === world - 1) Deferred.doneUnsafe(led.allDropped, Effect.void)
        } else if (message.type !== "followed") {
          lose(rank, `says "${message.type}", which is not a rank's to say here`)
        }
      }
      const line = lineOver(socket, hear, (why) => {
        if (rank !== undefined) lose(rank, why)
      })
      setTimeout(() => rank === undefined && socket.destroy(), helloMs()).unref()
    }
    const strangers = makeStrangers({ token, most: STRANGERS + world, helloMs: helloMs(), say })
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
      socket.on("error", () => undefined) // "close" follows
      void strangers.letIn(socket).then((known) => (known ? seat(socket) : undefined))
    })
    const cannot = (message: string, hint: string) => new RankLost({ rank: 0, world, message, hint })
    const listenAddress = yield* Effect.tryPromise({
      try: async () => address.listen ?? (await addressOf(host)),
      catch: (cause) =>
        cannot(
          `where to wait for the others is not known: ${cause instanceof Error ? cause.message : String(cause)}`,
          "Start rank 0 on the machine that MASTER_ADDR names. Where the others reach it by a forwarded address, say with MILLRACE_LISTEN at which of its own it listens (0.0.0.0: at all of them)."
        )
    })
    const port = yield* Effect.tryPromise({
      try: () => listening(server, address.port, listenAddress),
      catch: (cause) =>
        cannot(
          `the others cannot come to ${listenAddress}, port ${address.port}: ${cause instanceof Error ? cause.message : String(cause)}`,
          "Name a free port of this machine with MASTER_PORT, and one of its addresses with MASTER_ADDR or MILLRACE_LISTEN."
        )
    })
    // A connection that could not be taken: whoever made it tries again.
    server.on("error", () => undefined)
    yield* Effect.addFinalizer((exit) =>
      Effect.promise(async () => {
        const shutdown = shutdownOf(exit)
        // A run that had nothing to train may end before the others have come, who would look for it.
        if (spawnRanks === undefined && Exit.isSuccess(exit))
          await Effect.runPromise(Effect.timeoutOption(Deferred.await(all), 1000 * joinSeconds()))
        server.close()
        await Promise.all([...lines.values()].map((line) => line.end(shutdown)))
        for (const socket of sockets) socket.destroy()
      })
    )

    const drop = Effect.gen(function* () {
      const fold = led
      if (fold === undefined) return
      endLed(fold)
      for (const line of lines.values()) line.say({ type: "drop", name: fold.name })
      const ms = 1000 * read(variables.collectiveSeconds) + DROP_MS
      yield* Effect.timeoutOrElse(Effect.raceFirst(Deferred.await(fold.allDropped), Deferred.await(lost)), {
        duration: ms,
        orElse: () => {
          const rank = [...lines.keys()].find((one) => !fold.dropped.has(one))!
          lose(rank, `has not given up a fold that ended for damaged input, within ${Math.round(ms / 1000)} s`)
          return Deferred.await(lost)
        }
      })
    })

    let begun = 0
    const begin = Effect.fnUntraced(function* (task: NodeTask, onDamage: Led["onDamage"]) {
      if (begun === 0 && spawnRanks !== undefined) yield* spawnRanks(coordinator)
      yield* Effect.timeoutOrElse(Effect.raceFirst(Deferred.await(all), Deferred.await(lost)), {
        duration: 1000 * joinSeconds(),
        orElse: () => {
          const missing = Array.from({ length: world }, (_, rank) => rank).filter(
            (rank) => rank > 0 && !lines.has(rank)
          )
          lose(
            missing[0]!,
            `has not come to ${listenAddress}, port ${port}, within ${joinSeconds()} s`,
            `Start ${world} processes with RANK 0 to ${world - 1} and the same MASTER_ADDR, MASTER_PORT, WORLD_SIZE and MILLRACE_RANKS; MILLRACE_JOIN_SECONDS waits longer, and MILLRACE_LISTEN waits at another address.`
          )
          return Deferred.await(lost)
        }
      })
      const rendezvous: Rendezvous = {
        rank: 0,
        world,
        host,
        port: address.store ?? (yield* Effect.promise(() => freePort(listenAddress))),
        listen: listenAddress,
        kept: address.store !== undefined,
        name: `${task.node} ${begun++}`
      }
      led = ledFold(rendezvous.name, task, onDamage)
      for (const [rank, line] of lines) line.say({ type: "follow", task, rendezvous: { ...rendezvous, rank } })
      return rendezvous
    })
    const gathered = Deferred.await(all)
    const coordinator: Coordinator = { world, port, gathered, begin, drop, lost: Deferred.await(lost), lose }
    return coordinator
  })

/** What the others are told at the end. */
const shutdownOf = (exit: Exit.Exit<unknown, unknown>): Message => {
  if (Exit.isSuccess(exit)) return { type: "shutdown", stopped: false }
  const errors = exit.cause.reasons.flatMap((reason) => (reason._tag === "Fail" ? [reason.error] : []))
  const told = errors[0] as { readonly _tag?: string; readonly message?: string; readonly hint?: string } | undefined
  if (told === undefined || told._tag === "Interrupted") return { type: "shutdown", stopped: true }
  return {
    type: "shutdown",
    stopped: false,
    reason: { tag: told._tag ?? "Error", message: told.message ?? String(told), hint: told.hint ?? AGAIN }
  }
}
