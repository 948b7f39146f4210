/**
 * Rank 0 of a run in several processes: where the others join, which folds they follow, and when one is lost.
 *
 * A process that has not proved that it knows the run's token is sent nothing, and nothing that it sends is parsed
 * (`Strangers.ts`). Not a scheduler: rank 0 runs the pipeline as a run of one process does, and asks the others for
 * folds that compute in lockstep. The first rank that is lost ends the run; which one, and why, is reported once. The
 * others hear how the run ended. A rank that meets damage in a fold's input reports it: all ranks give the fold up,
 * rank 0 makes the input again, and the same ranks follow the next attempt.
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
  /** Failures that are reported when no better reason came. */
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

/** The fold is over: no failure of a rank's part of it is reported any more. */
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
  /** Waits until all ranks have joined. */
  readonly gathered: Effect.Effect<void>
  /**
   * Waits for all ranks, asks them to follow a fold, and gives its rendezvous. `onDamage` hears of each damaged file
   * that a rank meets in the fold's inputs. Such a rank fails its part and is not lost by that: call `drop`.
   */
  readonly begin: (task: NodeTask, onDamage: (damage: InputDamage) => void) => Effect.Effect<Rendezvous, RankLost>
  /** Has all ranks give up the fold that began last, and waits until they have: they can follow another one then. */
  readonly drop: Effect.Effect<void, RankLost>
  /** Fails when a rank is lost, and never ends otherwise. */
  readonly lost: Effect.Effect<never, RankLost>
  /** Reports a rank that this side saw end. */
  readonly lose: (rank: number, message: string, hint?: string) => void
}

/** The coordinator of the run under way; undefined where it is one process. */
export const CurrentCoordinator = Context.Reference<Coordinator | undefined>("millrace/run/CurrentCoordinator", {
  defaultValue: () => undefined
})

const AGAIN = "Run the same command again: it goes on from the last checkpoint, with any number of processes."

/** Seconds that the others may take to join. */
export const joinSeconds = (): number => read(variables.joinSeconds)

/** So long may the ranks take to give a fold up, beyond what a collective may take, ms. */
const DROP_MS = 15_000

/** A failed collective is a symptom: its cause, the end of another rank, is known soon. */
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

/** The ranks that have joined, and the fold that they run. */
interface RankTable {
  readonly world: number
  /** Recipe, preset, engine and settings: the same for all ranks. */
  readonly run: string
  readonly lines: Map<number, Line>
  readonly all: Deferred.Deferred<void>
  readonly lost: Deferred.Deferred<never, RankLost>
  readonly lose: (rank: number, message: string, hint?: string) => void
  /** The fold that began last. */
  led: Led | undefined
}

const makeTable = (world: number, run: string): RankTable => {
  const lost = Deferred.makeUnsafe<never, RankLost>()
  return {
    world,
    run,
    lines: new Map(),
    all: Deferred.makeUnsafe<void>(),
    lost,
    led: undefined,
    lose: (rank, message, hint = AGAIN) =>
      void Deferred.doneUnsafe(
        lost,
        Effect.fail(new RankLost({ rank, world, message: `rank ${rank} of ${world} ${message}`, hint }))
      )
  }
}

/** Why a process that says hello cannot be a rank of this run; undefined where it can. */
const refusal = ({ lines, run, world }: RankTable, hello: Hello): string | undefined => {
  if (hello.world !== world) return `it is one of ${hello.world} ranks, and this run has ${world}`
  if (!(hello.rank > 0 && hello.rank < world)) return `rank ${hello.rank} is not one from 1 to ${world - 1}`
  if (lines.has(hello.rank)) return `rank ${hello.rank} is here already`
  return hello.run === run ? undefined : `it was started with other arguments: ${hello.run} instead of ${run}`
}

/** A message of a rank that has joined: how its part of a fold ended, or damage that it met. */
const receive = (table: RankTable, rank: number, message: Message): void => {
  const { led, lose, world } = table
  if (message.type === "failed") {
    if (led?.over === true && led.name === message.name) return
    const report = () => lose(rank, `failed: ${message.message}`, message.hint)
    if (message.error !== undefined && isSymptom(decodeError(message.error)))
      led?.symptoms.add(setTimeout(report, CLOSER_REASON_MS).unref())
    else report()
  } else if (message.type === "damage") {
    if (led?.name !== message.name || !led.isInput(message)) return
    endLed(led)
    led.onDamage(message)
  } else if (message.type === "dropped") {
    if (led?.name !== message.name) return
    led.dropped.add(rank)
    if (led.dropped.size === world - 1) Deferred.doneUnsafe(led.allDropped, Effect.void)
  } else if (message.type !== "followed") {
    lose(rank, `sent "${message.type}", which only rank 0 sends`)
  }
}

/** A process that knows the token: its first message says which rank it is. */
const join = (table: RankTable, socket: Socket): void => {
  let rank: number | undefined
  const hear = (message: Message) => {
    if (rank !== undefined) return receive(table, rank, message)
    const why = message.type === "hello" ? refusal(table, message) : "it did not say which rank it is"
    if (why === undefined && message.type === "hello") {
      rank = message.rank
      table.lines.set(rank, line)
      if (table.lines.size === table.world - 1) Deferred.doneUnsafe(table.all, Effect.void)
      return
    }
    const hint = "Start all ranks with the same command, each with its own RANK."
    void line.end({ type: "shutdown", stopped: false, reason: { tag: "RankLost", message: why ?? "", hint } })
  }
  const line = lineOver(socket, hear, (why) => {
    if (rank !== undefined) table.lose(rank, why)
  })
  setTimeout(() => rank === undefined && socket.destroy(), helloMs()).unref()
}

/** Listens for the other ranks; gives the address and port at which it does. */
const listen = (server: Server, { host, listen, port, world }: RankAddress) =>
  Effect.gen(function* () {
    const cannot = (message: string, hint: string) => new RankLost({ rank: 0, world, message, hint })
    const text = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))
    const at = yield* Effect.tryPromise({
      try: async () => listen ?? (await addressOf(host)),
      catch: (cause) =>
        cannot(
          `the address at which rank 0 listens is not known: ${text(cause)}`,
          "Start rank 0 on the machine that MASTER_ADDR names. Where the others reach it by a forwarded address, set " +
            "MILLRACE_LISTEN to one of its own addresses (0.0.0.0: all of them)."
        )
    })
    const bound = yield* Effect.tryPromise({
      try: () => listening(server, port, at),
      catch: (cause) =>
        cannot(
          `rank 0 cannot listen at ${at}, port ${port}: ${text(cause)}`,
          "Name a free port of this machine with MASTER_PORT, " +
            "and one of its addresses with MASTER_ADDR or MILLRACE_LISTEN."
        )
    })
    // A connection that could not be taken: whoever made it tries again.
    server.on("error", () => undefined)
    return { address: at, port: bound }
  })

/** Waits until all ranks have joined; the first that has not in time is lost. */
const awaitAll = (table: RankTable, at: { readonly address: string; readonly port: number }) => {
  const { all, lines, lose, lost, world } = table
  return Effect.timeoutOrElse(Effect.raceFirst(Deferred.await(all), Deferred.await(lost)), {
    duration: 1000 * joinSeconds(),
    orElse: () => {
      const missing = Array.from({ length: world }, (_, rank) => rank).filter((rank) => rank > 0 && !lines.has(rank))
      lose(
        missing[0]!,
        `has not joined at ${at.address}, port ${at.port}, within ${joinSeconds()} s`,
        `Start ${world} processes with RANK 0 to ${world - 1} and the same MASTER_ADDR, MASTER_PORT, WORLD_SIZE and ` +
          "MILLRACE_RANKS; MILLRACE_JOIN_SECONDS waits longer, and MILLRACE_LISTEN waits at another address."
      )
      return Deferred.await(lost)
    }
  })
}

/** Has all ranks give up the fold that began last, and waits until they have. */
const dropFold = (table: RankTable) =>
  Effect.gen(function* () {
    const { led, lines, lose, lost } = table
    if (led === undefined) return
    endLed(led)
    for (const line of lines.values()) line.say({ type: "drop", name: led.name })
    const ms = 1000 * read(variables.collectiveSeconds) + DROP_MS
    yield* Effect.timeoutOrElse(Effect.raceFirst(Deferred.await(led.allDropped), Deferred.await(lost)), {
      duration: ms,
      orElse: () => {
        const rank = [...lines.keys()].find((one) => !led.dropped.has(one))!
        lose(rank, `has not given up a fold that ended for damaged input, within ${Math.round(ms / 1000)} s`)
        return Deferred.await(lost)
      }
    })
  })

/**
 * Listens for the other ranks. When the scope ends they are sent the run's outcome, and disconnected. `spawnRanks` runs
 * when they are first needed, and starts them where no launcher does. `report` hears, rarely, of refused connections.
 */
export const openCoordinator = (
  address: RankAddress,
  run: string,
  spawnRanks?: (coordinator: Coordinator) => Effect.Effect<void>,
  report: (message: string) => void = () => undefined
): Effect.Effect<Coordinator, RankLost, Scope.Scope> =>
  Effect.gen(function* () {
    const { host, store, token, world } = address
    const table = makeTable(world, run)
    const sockets = new Set<Socket>()
    const strangers = makeStrangers({ token, most: STRANGERS + world, helloMs: helloMs(), report })
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
      socket.on("error", () => undefined) // "close" follows
      void strangers.letIn(socket).then((known) => (known ? join(table, socket) : undefined))
    })
    const at = yield* listen(server, address)
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function* () {
        // A run that had nothing to train may end before the others have joined, who would look for it.
        if (spawnRanks === undefined && Exit.isSuccess(exit))
          yield* Effect.interruptible(Effect.timeoutOption(Deferred.await(table.all), 1000 * joinSeconds()))
        server.close()
        const shutdown = shutdownOf(exit)
        yield* Effect.promise(() => Promise.all([...table.lines.values()].map((line) => line.end(shutdown))))
        for (const socket of sockets) socket.destroy()
      })
    )
    let begun = 0
    const begin = Effect.fnUntraced(function* (task: NodeTask, onDamage: Led["onDamage"]) {
      if (begun === 0 && spawnRanks !== undefined) yield* spawnRanks(coordinator)
      yield* awaitAll(table, at)
      const port = store ?? (yield* Effect.promise(() => freePort(at.address)))
      const kept = store !== undefined
      const rendezvous: Rendezvous = {
        rank: 0,
        world,
        host,
        port,
        listen: at.address,
        kept,
        name: `${task.node} ${begun++}`
      }
      table.led = ledFold(rendezvous.name, task, onDamage)
      for (const [rank, line] of table.lines) line.say({ type: "follow", task, rendezvous: { ...rendezvous, rank } })
      return rendezvous
    })
    const coordinator: Coordinator = {
      world,
      port: at.port,
      gathered: Deferred.await(table.all),
      begin,
      drop: Effect.suspend(() => dropFold(table)),
      lost: Deferred.await(table.lost),
      lose: table.lose
    }
    return coordinator
  })

/** What the other ranks are sent at the end. */
const shutdownOf = (exit: Exit.Exit<unknown, unknown>): Message => {
  if (Exit.isSuccess(exit)) return { type: "shutdown", stopped: false }
  const errors = exit.cause.reasons.flatMap((reason) => (reason._tag === "Fail" ? [reason.error] : []))
  const error = errors[0] as { readonly _tag?: string; readonly message?: string; readonly hint?: string } | undefined
  if (error === undefined || error._tag === "Interrupted") return { type: "shutdown", stopped: true }
  return {
    type: "shutdown",
    stopped: false,
    reason: { tag: error._tag ?? "Error", message: error.message ?? String(error), hint: error.hint ?? AGAIN }
  }
}
