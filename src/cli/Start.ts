/**
 * One process as a command: parses, watches signals and faults, prints errors, exits.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. The first Ctrl-C, SIGTERM or SIGHUP asks the run to
 * stop politely (shards in flight are finished, training saves a checkpoint); a second one ends the process at once.
 * Where no person waits (SIGTERM, SIGHUP, a tsx that is gone), what has not stopped after some seconds is given up.
 */
import { accessSync, constants, existsSync, mkdirSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Layer } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { EnvironmentError, passOn, read, variables } from "../dag/Environment.ts"
import { WiringError } from "../dag/Node.ts"
import { guardExit, strayError } from "../run/Blame.ts"
import { empty, running } from "../run/Progress.ts"
import type { Recipe } from "../run/Recipe.ts"
import { SelectionError } from "../run/Run.ts"
import { UsageError } from "./Choose.ts"
import { makeCommand } from "./Command.ts"
import { errorLines } from "./ErrorLines.ts"
import { failureOf, wasInterrupted } from "./Execute.ts"
import { type Output, processOutput, writePainted } from "./Output.ts"
import { keepColors } from "./Paint.ts"
import { watchParent } from "./Parent.ts"
import { resumeCommand } from "./Resume.ts"
import { makeSession, type Session, waitingFor } from "./Session.ts"
import { endMs, signals, stopMs } from "./Signals.ts"

/** Exit code of a finished command. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>, settings: boolean): 0 | 1 | 2 | 130 => {
  if (Exit.isSuccess(exit)) return 0
  if (wasInterrupted(exit.cause)) return 130
  const error = failureOf(exit.cause)
  if (error instanceof UsageError || error instanceof EnvironmentError || error instanceof SelectionError) return 2
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  // A value set on the command line can break the wiring only when the pipeline is built again, inside the run.
  return error instanceof WiringError && settings ? 2 : 1
}

/** Help goes to stdout; a wrong invocation gives a few lines on stderr, without the whole help. */
export const presenter = (output: Output) =>
  CliOutput.layerPresenter({
    present: (event) =>
      Effect.gen(function* () {
        const formatter = CliOutput.defaultFormatter({ colors: output.color && event._tag === "Help" })
        switch (event._tag) {
          case "Help":
            return writePainted(output, keepColors(`${formatter.formatHelpDoc(event.helpDoc)}\n`))
          case "Version":
            return output.people(formatter.formatVersion(event.name, event.version) + "\n")
          case "InvalidInvocation": {
            output.error(formatter.formatErrors(event.errors).trim())
            output.error(`usage: ${event.helpDoc.usage}`)
            return output.error("See --help.")
          }
        }
      })
  })

/**
 * Ends what a polite stop did not end: first by interruption, then the process. Gives a function that takes it back.
 */
const limitStop = (session: Session, why: string, end: () => void): (() => void) => {
  const nodes = running(session.terminal?.view() ?? empty)
  const ms = stopMs({ fold: nodes.some(({ kind }) => kind === "fold"), seconds: read(variables.stopSeconds) })
  const timer = setTimeout(() => {
    const line =
      `${why}: ${waitingFor(session.terminal?.view())} did not come within ${ms / 1000} s and is given up; ` +
      "what is finished is kept."
    sayAside(session, line)
    timers.push(setTimeout(end, endMs))
    session.giveUp?.(line)
  }, ms)
  const timers = [timer]
  return () => {
    for (const one of timers) clearTimeout(one)
  }
}

const sayAside = (session: Session, line: string): void => {
  const say = () => session.output.error(line)
  if (session.terminal === undefined) say()
  else session.terminal.aside(say)
}

const watchSignals = (session: Session, exit: (code: number) => never): (() => void) => {
  const means = signals()
  let unlimit = (): void => undefined
  const endNow = () => {
    session.terminal?.close()
    session.emit(session.unfinished("interrupted"))
    if (session.terminal !== undefined) session.output.error(`interrupted; to go on: ${session.resume()}`)
    exit(130)
  }
  const ask = (why: string, limited: boolean) => {
    sayAside(
      session,
      `${why}: stopping; waiting for ${waitingFor(session.terminal?.view())}. Once more ends it at once.`
    )
    session.stop?.(`${why}: asked to stop`)
    if (limited) unlimit = limitStop(session, why, endNow)
  }
  const onSignal = (signal: NodeJS.Signals) => {
    const meaning = means(performance.now(), session.stop !== undefined)
    if (meaning === "stop") return ask(signal, signal !== "SIGINT")
    if (meaning === "end") endNow()
  }
  const unwatchParent = watchParent((pid) => {
    if (session.stop === undefined) return endNow()
    if (means(performance.now(), true) === "stop") ask(`tsx, which started this run (process ${pid}), is gone`, true)
  })
  const heard = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  for (const signal of heard) process.on(signal, onSignal)
  return () => {
    unlimit()
    unwatchParent()
    for (const signal of heard) process.off(signal, onSignal)
  }
}

/**
 * What is thrown outside of any effect (a callback of a native library) still ends in lines for people and a last
 * event.
 */
const watchFaults = (session: Session, exit: (code: number) => never): void => {
  const onFault = (fault: unknown) => {
    const error = strayError(fault)
    tellFailure(session, Cause.die(error))
    session.emit(session.unfinished("failed", error))
    session.terminal?.close()
    exit(1)
  }
  process.on("uncaughtException", onFault)
  process.on("unhandledRejection", onFault)
}

const tellFailure = (session: Session, cause: Cause.Cause<unknown>): void => {
  const error = failureOf(cause)
  if (wasInterrupted(cause)) session.output.error(`interrupted; to go on: ${session.resume()}`)
  else if (!CliError.isCliError(error)) for (const line of errorLines(error)) session.output.error(line)
  if (read(variables.debug) && !CliError.isCliError(error)) session.output.error(Cause.pretty(cause))
}

/**
 * Threads and ranks of this command load modules from Node's compile cache: half the processor time of a start. In a
 * folder of the user's own, because Node runs what it finds there; without one that can be written, there is no cache.
 */
const keepCompiled = (): void => {
  if (read(variables.compileCache) !== undefined) return
  let folder = read(variables.cache) ?? join(homedir(), ".cache")
  try {
    // One level at a time: the folder that holds the cache must exist, and below /proc a recursive mkdir does not end.
    for (const name of ["", "millrace", "compile"]) {
      folder = join(folder, name)
      if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 })
    }
    accessSync(folder, constants.W_OK)
  } catch {
    return
  }
  passOn(variables.compileCache, folder)
}

/** Runs the command of a recipe to the end of the process. `moduleUrl` is what worker threads import. */
export const start = <S, R>(
  moduleUrl: string,
  recipe: Recipe<S, R>,
  args: ReadonlyArray<string>,
  version: string
): void => {
  keepCompiled()
  const session = makeSession({
    output: processOutput({ json: args.includes("--json") }),
    json: args.includes("--json"),
    resume: (ran) =>
      resumeCommand(
        {
          argv0: process.argv0,
          execArgv: process.execArgv,
          argv: process.argv,
          cwd: process.cwd(),
          npmCommand: read(variables.npmCommand)
        },
        ran
      )
  })
  const end = guardExit()
  const unwatch = watchSignals(session, end)
  watchFaults(session, end)
  const command = Command.runWith(makeCommand(recipe, moduleUrl, session), { version })
  const program = command(args).pipe(
    Effect.provide(presenter(session.output)),
    Effect.provide(CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })),
    Effect.provide(Layer.mergeAll(NodeServices.layer))
  )
  Effect.runPromiseExit(program).then(async (exit) => {
    unwatch()
    session.terminal?.close()
    const code = exitCode(
      exit,
      args.some((arg) => arg === "--set" || arg.startsWith("--set="))
    )
    if (Exit.isFailure(exit) && code !== 0) {
      tellFailure(session, exit.cause)
      session.emit(session.unfinished(code === 130 ? "interrupted" : "failed", failureOf(exit.cause)))
    }
    await session.output.flush()
    end(code)
  })
}
