/**
 * Which of a run's processes this one is, from `--nproc` or the environment; and starting the others on this machine.
 *
 * Not what they say to one another (`run/Coordinator.ts`, `run/RankWorker.ts`). The environment is that of torchrun:
 * RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; or srun's, with the latter two set by whoever calls it. `--nproc N` makes
 * this process rank 0 and starts the others with the same words. They end with it: by its word, by the end of their
 * connection, and at the latest by SIGKILL.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { isIP } from "node:net"
import { availableParallelism } from "node:os"
import { Effect, type Scope } from "effect"
import { type Environment, lookUp, type Variable, variables } from "../dag/Environment.ts"
import type { Coordinator, RankAddress } from "../run/Coordinator.ts"
import { newToken } from "../run/Handshake.ts"
import { UsageError } from "./Choose.ts"
import { writeLast } from "./Output.ts"
import { launchedToken } from "./RankToken.ts"

const usage = (message: string, hint: string) => new UsageError({ message, hint })

const LAUNCHER =
  "A launcher sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (srun the first two by its own names). " +
  "On one machine, --nproc N needs none of them."

/** The value of a variable; a wrong one is wrong usage. */
const valueOf = <A>(variable: Variable<A>, env: Environment): Effect.Effect<A, UsageError> =>
  Effect.mapError(lookUp(variable, env), ({ message }) => usage(message, LAUNCHER))

/** The value of a variable that must be there, because `because` is. */
const needed = <A>(variable: Variable<A | undefined>, env: Environment, because: string) =>
  Effect.flatMap(valueOf(variable, env), (value) =>
    value === undefined
      ? Effect.fail(usage(`${because} is set and ${variable.name} is not`, LAUNCHER))
      : Effect.succeed(value as A)
  )

/**
 * Which rank of how many a launcher says this is: by torchrun's names, else by srun's where it is said where they meet.
 */
const launched = Effect.fnUntraced(function* (env: Environment) {
  const world = yield* valueOf(variables.world, env)
  if (world !== undefined) return { world, rank: variables.rank, by: "WORLD_SIZE" }
  const tasks = yield* valueOf(variables.slurmWorld, env)
  const task = yield* valueOf(variables.slurmRank, env)
  if (tasks === undefined || task === undefined || tasks === 1) return undefined
  const rendezvous = [variables.masterAddress, variables.masterPort].some(({ name }) => (env[name] ?? "") !== "")
  if (rendezvous) return { world: tasks, rank: variables.slurmRank, by: "SLURM_NTASKS" }
  // Within sbatch's own shell SLURM_NTASKS is set too, and this is one process; srun's step has many.
  const step = Number((yield* valueOf(variables.slurmStep, env)) ?? Number.NaN)
  if (!(step < INTERACTIVE_STEP)) return undefined
  return yield* usage(
    `srun started ${tasks} processes, and nothing says where they meet: each would run alone`,
    "Set MASTER_ADDR to rank 0's machine and MASTER_PORT to a free port of it before srun, or run one task."
  )
})

/** salloc's own shell, and other steps that are no srun, have numbers from here on. */
const INTERACTIVE_STEP = 4_294_967_280

/**
 * This process's address; undefined where the run is one process.
 *
 * torchrun's agent keeps c10d's store at MASTER_PORT itself; the ranks then come to the port behind it.
 *
 * @example const address = yield* rankAddressOf(2, environment())
 */
export const rankAddressOf = (
  wanted: number | undefined,
  env: Environment
): Effect.Effect<RankAddress | undefined, UsageError> =>
  Effect.gen(function* () {
    const by = yield* launched(env)
    if (by === undefined) {
      if (wanted === undefined || wanted === 1) return undefined
      const token = newToken()
      return { rank: 0, world: wanted, host: "127.0.0.1", port: 0, store: undefined, listen: undefined, token }
    }
    const { world } = by
    if (wanted !== undefined && wanted !== world)
      return yield* usage(
        `--nproc ${wanted}, and ${by.by} is ${world}`,
        `A launcher that sets ${by.by} starts the processes itself: leave --nproc out.`
      )
    if (world === 1) return undefined
    const rank = yield* needed(by.rank, env, by.by)
    if (rank >= world) return yield* usage(`${by.rank.name}=${rank} is not a number from 0 to ${world - 1}`, LAUNCHER)
    const port = yield* needed(variables.masterPort, env, by.by)
    const host = yield* needed(variables.masterAddress, env, by.by)
    const kept = (yield* valueOf(variables.agentStore, env)) === "True"
    const listen = yield* valueOf(variables.listen, env)
    if (listen !== undefined && isIP(listen) === 0)
      return yield* usage(
        `MILLRACE_LISTEN=${listen} is no numeric address`,
        `Write it as ${variables.listen.expected}, or leave it out: ${variables.listen.otherwise} is listened at then.`
      )
    return {
      rank,
      world,
      host,
      port: kept ? port + 1 : port,
      store: kept ? port : undefined,
      listen,
      token: yield* launchedToken(rank, env)
    }
  })

/** Fails where the engine cannot compute in several processes. */
export const checkDistributed = (
  address: RankAddress,
  engine: string,
  distributed: ReadonlyArray<string> = []
): Effect.Effect<void, UsageError> =>
  distributed.includes(engine)
    ? Effect.void
    : Effect.fail(
        usage(
          `${address.world} processes, and the engine ${engine} computes in one`,
          distributed.length === 0
            ? "This recipe has no engine that computes in several processes."
            : `Engines that can: --engine ${distributed.join(", ")}.`
        )
      )

/** The words of a command without `--nproc`. */
export const withoutNproc = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.filter((arg, i) => arg !== "--nproc" && args[i - 1] !== "--nproc" && !arg.startsWith("--nproc="))

/** Threads of one of `world` processes that share this machine. */
const threadsEach = (world: number): string => String(Math.max(1, Math.floor(availableParallelism() / world)))

/** A thread that hangs in native code cannot be ended, and its process does not end without it; so long is tried. */
const HANGING_MS = 15_000

/**
 * Ends this process for sure, with the error's words: what hangs in its engine must not keep it when the run is lost.
 */
export const endLate = (error: { readonly _tag: string; readonly message: string; readonly hint: string }) =>
  Effect.sync(() => {
    const end = () => {
      const words = "and this process ends itself: its engine hangs in a call that cannot be ended"
      writeLast(`error: ${error._tag}\n  ${error.message},\n  ${words}\n  hint: ${error.hint}\n`)
      process.kill(process.pid, "SIGKILL")
    }
    setTimeout(end, HANGING_MS).unref()
  })

/** How long the others have to end by themselves. */
const ENDING_MS = 10_000

/** Whether `--nproc` started the others, which a launcher else did. */
export const spawnsRanks = (address: RankAddress): boolean => address.port === 0

/** Says how many threads rank 0 computes with; before its engine is loaded. */
export const shareMachine = (address: RankAddress, env: NodeJS.ProcessEnv): void => {
  env["OMP_NUM_THREADS"] ??= threadsEach(address.world)
}

/** Processes that rank 0 has started. */
export interface RankSpawner {
  /** Starts ranks 1 to N-1 with this process's own words; one that ends early is lost. */
  readonly spawnRanks: (
    address: RankAddress,
    coordinator: Coordinator,
    command: {
      readonly execPath: string
      readonly execArgv: ReadonlyArray<string>
      readonly argv: ReadonlyArray<string>
    },
    env: Environment
  ) => Effect.Effect<void>
}

/** Other processes, none yet. With the scope they are waited for, and killed where they do not end. */
export const makeRankSpawner: Effect.Effect<RankSpawner, never, Scope.Scope> = Effect.gen(function* () {
  const children = new Set<ChildProcess>()
  const kill = () => {
    for (const child of children) child.kill("SIGKILL")
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.once("exit", kill)),
    () =>
      Effect.promise(async () => {
        const over = Promise.all([...children].map((child) => new Promise((resolve) => child.once("exit", resolve))))
        const late = setTimeout(kill, ENDING_MS)
        await over
        clearTimeout(late)
        process.off("exit", kill)
      })
  )
  return {
    spawnRanks: (address, coordinator, command, env) =>
      Effect.sync(() => {
        const [, script = "", ...args] = command.argv
        for (let rank = 1; rank < address.world; rank++) {
          const child = spawn(command.execPath, [...command.execArgv, script, ...withoutNproc(args)], {
            // A session of its own: a terminal's Ctrl-C reaches rank 0 alone, which stops the others.
            detached: true,
            stdio: ["ignore", "ignore", "inherit"],
            env: {
              OMP_NUM_THREADS: threadsEach(address.world),
              ...env,
              RANK: String(rank),
              LOCAL_RANK: String(rank),
              WORLD_SIZE: String(address.world),
              MASTER_ADDR: address.host,
              MASTER_PORT: String(coordinator.port),
              [variables.ranksToken.name]: address.token
            }
          })
          children.add(child)
          child.once("error", (error) => coordinator.lose(rank, `could not be started: ${error.message}`))
          child.once("exit", (code, signal) => {
            children.delete(child)
            coordinator.lose(rank, signal === null ? `ended with ${code}` : `was ended by ${signal}`)
          })
        }
      })
  }
})
