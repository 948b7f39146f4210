/** Flags of the command without a subcommand, and the options of a run that they stand for. */
import { availableParallelism } from "node:os"
import type { RunOptions } from "../run/Run.ts"

/** Lists hold node ids; `settings` hold `instance.param=value`. */
export interface RunFlags {
  readonly preset: string | undefined
  readonly engine: string | undefined
  readonly settings: ReadonlyArray<string>
  /** `NAME=PATH` or `NAME=URL`: sources that are read from elsewhere. */
  readonly sources?: ReadonlyArray<string>
  /** Absolute or relative folder of the store. */
  readonly store: string
  readonly plan: boolean
  /** With `plan`: the GPU whose hours are shown, and the share of its peak that they assume. */
  readonly gpu: string | undefined
  readonly mfu: number | undefined
  readonly only: ReadonlyArray<string>
  readonly from: ReadonlyArray<string>
  readonly until: ReadonlyArray<string>
  readonly force: ReadonlyArray<string>
  readonly workers: number | undefined
  /** Processes that train together, started here; see `Ranks.ts`. */
  readonly nproc: number | undefined
  readonly keepGoing: boolean
  readonly allowStaleCode?: ReadonlyArray<string>
  readonly quiet: boolean
  readonly checkpointEvery: number | undefined
  readonly verify: boolean
}

/** Folds save a checkpoint this often unless `--checkpoint-every` counts steps. */
export const checkpointEveryMs = 120_000

export const optionsOf = (flags: RunFlags): RunOptions => ({
  only: flags.only,
  from: flags.from,
  until: flags.until,
  force: flags.force,
  allowStaleCode: flags.allowStaleCode ?? [],
  keepGoing: flags.keepGoing,
  workers: flags.workers ?? availableParallelism(),
  ...(flags.checkpointEvery === undefined ? {} : { checkpointEverySteps: flags.checkpointEvery }),
  checkpointEveryMs,
  verify: flags.verify
})

/** Flags that select or steer a run, as typed. */
export const typedFlags = (flags: RunFlags): ReadonlyArray<string> => [
  ...(["only", "from", "until", "force"] as const).flatMap((name) => flags[name].map((id) => `--${name} ${id}`)),
  ...(flags.allowStaleCode ?? []).map((id) => `--allow-stale-code ${id}`),
  ...(flags.workers === undefined ? [] : [`--workers ${flags.workers}`]),
  ...(flags.nproc === undefined ? [] : [`--nproc ${flags.nproc}`]),
  ...(flags.checkpointEvery === undefined ? [] : [`--checkpoint-every ${flags.checkpointEvery}`]),
  ...(flags.keepGoing ? ["--keep-going"] : []),
  ...(flags.verify ? ["--verify"] : [])
]
