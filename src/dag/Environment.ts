/**
 * The environment: every variable that millrace reads, what it means, what it may be. Nothing else reads `process.env`.
 *
 * Not parameters of nodes: nothing here is in a key. Read through Effect's `Config`, when it is needed; millrace's own
 * numbers are checked when a command starts. An empty variable
 * counts as unset, as `.env` files and launchers leave them. `docs/environment.md` lists them, held equal by a test.
 */
import { Config, ConfigProvider, Effect, Exit, Schema } from "effect"

export type Environment = Readonly<Record<string, string | undefined>>

/** A variable has a value that it cannot have. */
export class EnvironmentError extends Schema.TaggedError<EnvironmentError>()("EnvironmentError", {
  variable: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

export interface Variable<A> {
  readonly name: string
  /** One line for the docs. */
  readonly about: string
  /** What a value must be, in words: "a number of seconds above 0". */
  readonly expected: string
  /** What holds where it is not set, in words. */
  readonly otherwise: string
  readonly config: Config.Config<A>
  /** Its value is never shown. */
  readonly secret?: boolean
}

const number = (
  name: string,
  otherwise: number | undefined,
  about: string,
  range: Range,
  words = otherwise === undefined ? "unset" : String(otherwise)
) => ({
  name,
  about,
  expected: range.words,
  otherwise: words,
  config: Config.schema(
    Schema.FiniteFromString.check(Schema.makeFilter((n: number) => range.holds(n) || range.words)),
    name
  ).pipe(Config.withDefault(otherwise as number))
})

interface Range {
  readonly words: string
  readonly holds: (n: number) => boolean
}
/** A timer of Node.js holds 2^31 ms. */
const SECONDS: Range = { words: "a number of seconds above 0, at most 2147483", holds: (n) => n > 0 && n <= 2_147_483 }
const COUNT: Range = { words: "a whole number above 0", holds: (n) => Number.isSafeInteger(n) && n > 0 }
const RANK: Range = {
  words: "a whole number from 0 to 65535",
  holds: (n) => Number.isInteger(n) && n >= 0 && n < 65_536
}
const WORLD: Range = {
  words: "a whole number from 1 to 65536",
  holds: (n) => Number.isInteger(n) && n > 0 && n <= 65_536
}
const PORT: Range = { words: "a port, 1 to 65534", holds: (n) => Number.isInteger(n) && n > 0 && n < 65_535 }

const optional = (config: Config.Config<string>) => config.pipe(Config.withDefault<string | undefined>(undefined))

const text = (name: string, expected: string, otherwise: string, about: string) => ({
  name,
  about,
  expected,
  otherwise,
  config: optional(Config.NonEmptyString(name))
})

/** On where it has any value; `0`, `false`, `no` and `off` are off. */
const flag = (name: string, about: string) => ({
  name,
  about,
  expected: "1, or nothing",
  otherwise: "off",
  config: Config.map(
    optional(Config.String(name)),
    (value) => value !== undefined && !/^(0|false|no|off)$/i.test(value)
  )
})

/** A variable of a recipe of its own: a file, a folder or an address. */
export const pathVariable = (name: string, about: string): Variable<string | undefined> =>
  text(name, "a path, or an address", "unset", about)

export const variables = {
  debug: flag("MILLRACE_DEBUG", "Errors are printed with stack traces"),
  stopSeconds: number(
    "MILLRACE_STOP_SECONDS",
    undefined,
    "Time limit of a run after SIGTERM",
    SECONDS,
    "5; 20 while training"
  ),
  deterministic: flag("MILLRACE_DETERMINISTIC", "Same as `--deterministic`: a GPU gives equal bits in every run"),
  rankSeconds: number("MILLRACE_RANK_SECONDS", 30, "A rank that is silent for so long is lost", SECONDS),
  joinSeconds: number("MILLRACE_JOIN_SECONDS", 300, "Time limit for all ranks to connect", SECONDS),
  collectiveSeconds: number("MILLRACE_COLLECTIVE_SECONDS", 45, "Time limit of a collective of the ranks", SECONDS),
  torchAddon: text("MILLRACE_TORCH_ADDON", "a path", "the built one", "The addon of the torch engine"),
  libtorch: text(
    "LIBTORCH",
    "a folder, or `python:PATH`",
    "python3's, or /usr",
    "The libtorch that the addon is built over"
  ),
  tensorflow: text(
    "MILLRACE_TENSORFLOW",
    "a package's name, or its folder",
    "tfjs-node-gpu, or tfjs-node",
    "The TensorFlow package"
  ),
  cache: text(
    "XDG_CACHE_HOME",
    "a folder",
    "~/.cache",
    "Parent folder of compiled modules, and of the torch addon if the package is not writable"
  ),
  compileCache: text(
    "NODE_COMPILE_CACHE",
    "a folder",
    "millrace/compile in `XDG_CACHE_HOME`",
    "Folder of the compiled modules of threads and ranks"
  ),
  endpoint: text(
    "HF_ENDPOINT",
    "an http or https address",
    "https://huggingface.co",
    "Address of the hub, or of a mirror"
  ),
  token: {
    ...text(
      "HF_TOKEN",
      "a token",
      "`HUGGING_FACE_HUB_TOKEN`",
      "Token for private and gated files; sent only to the endpoint's origin"
    ),
    secret: true
  },
  oldToken: {
    ...text("HUGGING_FACE_HUB_TOKEN", "a token", "none", "Older name of `HF_TOKEN`"),
    secret: true
  },
  noToken: flag("HF_HUB_DISABLE_IMPLICIT_TOKEN", "The hub token is not sent"),
  offline: flag("HF_HUB_OFFLINE", "Nothing is downloaded"),
  mirrors: text(
    "MILLRACE_MIRRORS",
    "`FROM=TO ...`, addresses",
    "none",
    "Addresses that start with FROM are tried at TO first"
  ),
  downloads: text("MILLRACE_DOWNLOADS", "a folder", "the store's own", "Folder of downloads that several stores share"),
  stallSeconds: number(
    "MILLRACE_STALL_SECONDS",
    60,
    "A connection that is silent for so long is closed and retried",
    SECONDS
  ),
  attempts: number("MILLRACE_ATTEMPTS", 5, "Attempts in a row without new bytes before a download fails", COUNT),
  rank: number("RANK", undefined, "Number of this process among those that train together (torchrun)", RANK),
  world: number("WORLD_SIZE", undefined, "Number of processes that train together (torchrun)", WORLD),
  localRank: number("LOCAL_RANK", undefined, "Number of the GPU on this machine (torchrun)", RANK),
  slurmRank: number("SLURM_PROCID", undefined, "As `RANK`, under srun; read with `MASTER_ADDR` or `MASTER_PORT`", RANK),
  slurmWorld: number("SLURM_NTASKS", undefined, "As `WORLD_SIZE`, under srun", WORLD),
  slurmLocal: number("SLURM_LOCALID", undefined, "As `LOCAL_RANK`, under srun", RANK),
  slurmStep: text("SLURM_STEP_ID", "a number", "unset", "Set by srun: without `MASTER_ADDR` its processes are refused"),
  masterAddress: text("MASTER_ADDR", "a host's name", "unset", "Rank 0's machine"),
  masterPort: number("MASTER_PORT", undefined, "Rank 0's port", PORT),
  agentStore: text(
    "TORCHELASTIC_USE_AGENT_STORE",
    "True",
    "unset",
    "Set by torchrun: its agent listens on the port itself"
  ),
  ranksToken: {
    ...text(
      "MILLRACE_RANKS",
      "22 to 512 printable ASCII characters without blanks",
      "generated by `--nproc`; under a launcher, an error",
      "Secret token that admits a rank, the same for all"
    ),
    secret: true
  },
  ranksFile: text(
    "MILLRACE_RANKS_FILE",
    "a path",
    "unset",
    "File that holds the token, with mode 0600; rank 0 creates it if missing"
  ),
  listen: text(
    "MILLRACE_LISTEN",
    "a numeric address of rank 0's machine; 0.0.0.0 for all",
    "the address of `MASTER_ADDR`",
    "Address at which rank 0 listens for the other ranks"
  ),
  cublas: text(
    "CUBLAS_WORKSPACE_CONFIG",
    "as cuBLAS defines it",
    "`:4096:8` with `--deterministic`",
    "Workspace of cuBLAS"
  ),
  threads: text("OMP_NUM_THREADS", "a number", "cores shared by the ranks here", "Threads of a rank's engine"),
  devices: text("CUDA_VISIBLE_DEVICES", "as CUDA defines it; empty for the CPU", "all GPUs", "Visible GPUs"),
  noColor: text("NO_COLOR", "anything", "colours on a terminal", "No colours"),
  terminal: text("TERM", "a terminal's name", "unset", "`dumb`: no live table"),
  npmCommand: text(
    "npm_command",
    "set by npm",
    "unset",
    "Whether npx started the command, for the printed resume command"
  )
} as const

/** All of them, in the order of the docs. */
export const allVariables: ReadonlyArray<Variable<unknown>> = Object.values(variables)

/** The process's own variables. */
export const environment = (): NodeJS.ProcessEnv => process.env

/** Sets a variable for this process, its threads and the processes that it starts. */
export const passOn = (variable: Variable<unknown>, value: string): void => {
  process.env[variable.name] = value
}

/** Whether a variable is there, be it empty. */
export const isEmpty = (variable: Variable<unknown>, env: Environment = environment()): boolean =>
  env[variable.name] === ""

/** The value of a variable, or what is wrong with it. */
export const lookUp = <A>(variable: Variable<A>, env: Environment = environment()): Exit.Exit<A, EnvironmentError> => {
  const provider = ConfigProvider.fromEnvRecord({ [variable.name]: env[variable.name]?.trim() })
  return Effect.runSyncExit(
    Effect.mapError(
      variable.config.parse(provider),
      () =>
        new EnvironmentError({
          variable: variable.name,
          message:
            `${variable.name}=${variable.secret === true ? "..." : env[variable.name]}: ` +
            `expected ${variable.expected}`,
          hint: `Fix the variable \`${variable.name}\`, or unset it: ${variable.otherwise} holds then.`
        })
    )
  )
}

/** The value of a variable. Throws `EnvironmentError`. */
export const read = <A>(variable: Variable<A>, env: Environment = environment()): A => {
  const exit = lookUp(variable, env)
  if (Exit.isSuccess(exit)) return exit.value
  throw exit.cause.reasons.map((reason) => (reason._tag === "Fail" ? reason.error : undefined))[0] ?? exit.cause
}

/**
 * Its own numbers are read deep inside a run, in threads and timers: a wrong one is an error before anything starts.
 */
export const checkEnvironment = (env: Environment = environment()): Effect.Effect<void, EnvironmentError> =>
  Effect.forEach(
    allVariables.filter(({ name }) => name.startsWith("MILLRACE_")),
    (variable) => lookUp(variable, env),
    { discard: true }
  )
