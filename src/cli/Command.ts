/**
 * The command line of a recipe: flags and subcommands, on Effect's CLI.
 *
 * Not the work: a handler turns flags into plain values and calls `Execute.ts` or `Stored.ts`. `--preset --store --set
 * --engine --deterministic --json` are shared by all subcommands and may stand before or after the subcommand's name.
 */
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { toJson, toMermaid, toTable } from "../dag/Describe.ts"
import { passOn, variables } from "../dag/Environment.ts"
import { toMarkdown } from "../dag/Page.ts"
import type { Recipe } from "../run/Recipe.ts"
import { runRules } from "../store/Garbage.ts"
import { choose } from "./Choose.ts"
import { execute } from "./Execute.ts"
import type { Session } from "./Session.ts"
import { drops, gc, listRuns, quarantine, showRun } from "./Stored.ts"

/** Lists of node ids: the flag may be repeated, and one value may hold several, separated by commas. */
const ids = (name: string, about: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(about),
    Flag.withMetavar("NODE"),
    Flag.atLeast(0),
    Flag.map((values) => values.flatMap((value) => value.split(",").map((id) => id.trim())).filter((id) => id !== ""))
  )

const onOff = (name: string, about: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(about), Flag.withoutNegation, Flag.withDefault(false))

const atLeast = (least: number, expected: string) => (flag: Flag.Flag<number>) =>
  Flag.filter(
    flag,
    (n) => n >= least,
    () => expected
  )

const shared = <S, R>(recipe: Recipe<S, R>) => ({
  preset: Flag.String("preset").pipe(
    Flag.withDescription(
      `Settings to build with: ${Object.keys(recipe.presets).join(", ")} (the first is the default)`
    ),
    Flag.optional
  ),
  store: Flag.String("store").pipe(
    Flag.withDescription("Folder of the artifact store"),
    Flag.withMetavar("DIR"),
    Flag.withDefault(".millrace")
  ),
  settings: Flag.String("set").pipe(
    Flag.withDescription("Replace one parameter: instance.param=value (repeatable)"),
    Flag.withMetavar("NODE.PARAM=VALUE"),
    Flag.atLeast(0)
  ),
  sources: Flag.String("source").pipe(
    Flag.withDescription("Read a source from elsewhere: a path, https:// or hf:// (repeatable)"),
    Flag.withMetavar("NAME=PATH|URL"),
    Flag.atLeast(0)
  ),
  /** Of sources that have a flag of their own. */
  given: Object.fromEntries(
    Object.entries(recipe.sourceFlags ?? {}).map(([name, about]) => [
      name,
      Flag.String(name).pipe(Flag.withDescription(about), Flag.withMetavar("PATH|URL"), Flag.optional)
    ])
  ),
  engine: Flag.String("engine").pipe(
    Flag.withDescription(
      `What computes: ${recipe.engines.join(", ")} (default: ` +
        `${recipe.engine === undefined ? "the first" : "the preset's"})`
    ),
    Flag.optional
  ),
  deterministic: onOff("deterministic", "Have a GPU give the same bits each time, more slowly; a CPU does anyway"),
  json: onOff("json", "Events as JSON lines on stdout; people read stderr")
})

const local = {
  plan: onOff("plan", "Say what would run and why, then stop"),
  gpu: Flag.String("gpu").pipe(
    Flag.withDescription("GPU whose hours and memory a plan shows (default: an A100 of 40 and of 80 GB, an H100)"),
    Flag.optional
  ),
  mfu: Flag.Finite("mfu").pipe(
    Flag.withDescription("Share of a GPU's peak, 0 to 1, that a plan's hours assume (default: 0.45)"),
    Flag.filter(
      (n) => n > 0 && n <= 1,
      () => "a share above 0, at most 1"
    ),
    Flag.optional
  ),
  only: ids("only", "Run these nodes alone, everything before them from the store"),
  from: ids("from", "Run these nodes and what follows them, everything before from the store"),
  until: ids("until", "Run these nodes and what they need, nothing after"),
  force: ids("force", "Run these nodes whatever is stored"),
  workers: Flag.Int("workers").pipe(
    Flag.withDescription("Worker threads, also of a training step; 0 computes beside the caller (default: one a core)"),
    atLeast(0, "0 or more"),
    Flag.optional
  ),
  nproc: Flag.Int("nproc").pipe(
    Flag.withDescription("Processes that train together, started here; under a launcher WORLD_SIZE says it"),
    Flag.withMetavar("N"),
    atLeast(1, "1 or more"),
    Flag.optional
  ),
  keepGoing: onOff(
    "keep-going",
    "After a node failed, finish everything that does not need it; the run fails all the same"
  ),
  allowStaleCode: ids(
    "allow-stale-code",
    "Take these nodes' stored results and checkpoints although the code behind them changed; " +
      "never those of another file or Schema"
  ),
  quiet: onOff("quiet", "No progress and no table of nodes; only the recipe's summary and the paths of the outputs"),
  checkpointEvery: Flag.Int("checkpoint-every").pipe(
    Flag.withDescription("Steps between checkpoints of training (default: one every two minutes)"),
    Flag.withMetavar("STEPS"),
    atLeast(1, "1 or more"),
    Flag.optional
  ),
  verify: onOff("verify", "Check every byte of stored results first; damaged shards are made again")
}

const undef = Option.getOrUndefined

/**
 * The command of a recipe. `moduleUrl` is the recipe's module, which worker threads import.
 *
 * Its effect fails with what the work fails with; nothing about failures is printed here. Longer than a screen: flags
 * and descriptions of all subcommands, in the order of `--help`.
 */
export const makeCommand = <S, R>(recipe: Recipe<S, R>, moduleUrl: string, session: Session) => {
  const base = Command.make(recipe.name, local).pipe(
    Command.withSharedFlags(shared(recipe)),
    Command.withDescription(`Runs ${recipe.name}: finished work is taken from the store, the rest is done.`)
  )
  const wanted = (flags: {
    readonly preset: Option.Option<string>
    readonly engine: Option.Option<string>
    readonly settings: ReadonlyArray<string>
    readonly sources: ReadonlyArray<string>
    readonly given: Readonly<Record<string, Option.Option<string>>>
    readonly deterministic: boolean
  }) => {
    // Engines are opened in other threads and processes too, which inherit it.
    if (flags.deterministic) passOn(variables.deterministic, "1")
    return {
      preset: undef(flags.preset),
      engine: undef(flags.engine),
      settings: flags.settings,
      sources: [
        ...flags.sources,
        ...Object.entries(flags.given).flatMap(([name, path]) => (Option.isSome(path) ? [`${name}=${path.value}`] : []))
      ]
    }
  }

  const runs = Command.make("runs", {}, () =>
    Effect.gen(function* () {
      const { store } = yield* base
      yield* listRuns(store, session)
    })
  ).pipe(Command.withDescription("Runs of this store: status, start, duration, nodes"))

  const show = Command.make(
    "show",
    { run: Argument.String("run").pipe(Argument.withDescription("Id of a run, or `last`")) },
    ({ run }) =>
      Effect.gen(function* () {
        const { store } = yield* base
        yield* showRun(store, run, session)
      })
  ).pipe(Command.withDescription("One run: nodes with times and losses, outputs, lineage"))

  const collect = Command.make(
    "gc",
    {
      collect: onOff("collect", "Remove what the list shows"),
      pin: Flag.String("pin").pipe(
        Flag.withDescription("Keep an entry whatever reaches it: KEY or NAME=KEY (repeatable)"),
        Flag.withMetavar("KEY"),
        Flag.atLeast(0)
      ),
      unpin: Flag.String("unpin").pipe(
        Flag.withDescription("Remove a pin (repeatable)"),
        Flag.withMetavar("NAME"),
        Flag.atLeast(0)
      ),
      runs: onOff("runs", "Also records of old runs; without this flag they all stay"),
      keepLast: Flag.Int("keep-last").pipe(
        Flag.withDescription(
          `With --runs: the newest records of each pipeline that stay (default: ${runRules.keepLast})`
        ),
        Flag.withMetavar("N"),
        atLeast(0, "0 or more"),
        Flag.optional
      ),
      keepDays: Flag.Finite("keep-days").pipe(
        Flag.withDescription(`With --runs: records of so many days stay (default: ${runRules.keepDays})`),
        Flag.withMetavar("D"),
        atLeast(0, "0 or more"),
        Flag.optional
      )
    },
    ({ keepDays, keepLast, ...flags }) =>
      Effect.gen(function* () {
        const { store } = yield* base
        yield* gc(store, { ...flags, keepDays: undef(keepDays), keepLast: undef(keepLast) }, session)
      })
  ).pipe(Command.withDescription("Shows (and with --collect removes) what no pipeline and no pin reaches"))

  const refused = Command.make(
    "quarantine",
    {
      node: Argument.String("node").pipe(
        Argument.withDescription("Instance id of the node; all nodes by reason when left out"),
        Argument.optional
      ),
      limit: Flag.Int("limit").pipe(Flag.withDescription("Rows to show"), atLeast(0, "0 or more"), Flag.withDefault(20))
    },
    ({ limit, node }) =>
      Effect.gen(function* () {
        const flags = yield* base
        const { pipeline } = yield* choose(recipe, wanted(flags))
        yield* Option.match(node, {
          onNone: () => drops(flags.store, pipeline, session),
          onSome: (id) => quarantine(flags.store, pipeline, id, limit, session)
        })
      })
  ).pipe(Command.withDescription("Refused rows: by node and reason, or of one node with the first rows"))

  const graph = Command.make(
    "graph",
    {
      format: Flag.Literals("format", ["table", "mermaid", "markdown", "json"]).pipe(
        Flag.withDescription("How to draw it"),
        Flag.withDefault("table" as const)
      )
    },
    ({ format }) =>
      Effect.gen(function* () {
        const { pipeline } = yield* choose(recipe, wanted(yield* base))
        session.output.result(
          session.json && format === "table"
            ? JSON.stringify(toJson(pipeline))
            : format === "table"
              ? toTable(pipeline)
              : format === "mermaid"
                ? toMermaid(pipeline)
                : format === "markdown"
                  ? toMarkdown(pipeline)
                  : JSON.stringify(toJson(pipeline), null, 2)
        )
      })
  ).pipe(Command.withDescription("The pipeline, without running or looking anything up"))

  return base.pipe(
    Command.withHandler((flags) =>
      execute(
        recipe,
        moduleUrl,
        {
          ...wanted(flags),
          store: flags.store,
          plan: flags.plan,
          gpu: undef(flags.gpu),
          mfu: undef(flags.mfu),
          only: flags.only,
          from: flags.from,
          until: flags.until,
          force: flags.force,
          workers: undef(flags.workers),
          nproc: undef(flags.nproc),
          keepGoing: flags.keepGoing,
          allowStaleCode: flags.allowStaleCode,
          quiet: flags.quiet,
          checkpointEvery: undef(flags.checkpointEvery),
          verify: flags.verify
        },
        session
      )
    ),
    Command.withSubcommands([runs, show, collect, refused, graph])
  )
}
