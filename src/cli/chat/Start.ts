/**
 * One process as a chat: lines in, signals, exit codes.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Ctrl-C stops the answer under way; a second one, or one
 * without an answer, ends the process.
 */
import { createInterface, type Interface } from "node:readline"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { read, variables } from "../../dag/Environment.ts"
import { isEntry, type Meta } from "../Entry.ts"
import { errorLines } from "../ErrorLines.ts"
import { failureOf } from "../Execute.ts"
import { processOutput } from "../Output.ts"
import { exitCode, presenter } from "../Start.ts"
import { makeCommand } from "./Command.ts"
import type { Talker } from "./Model.ts"
import { presses } from "./Presses.ts"
import { Interrupted, type Lines, type Session } from "./Talk.ts"

/** Lines of standard input as they are asked for; those that come earlier wait. */
const lineReader = (open: () => Interface): Lines & { readonly close: () => void } => {
  let reader: Interface | undefined
  const waiting: Array<string> = []
  let ended = false
  let wake: (() => void) | undefined
  const start = (): Interface => {
    const built = open()
    built.on("line", (line) => {
      waiting.push(line)
      wake?.()
    })
    built.on("close", () => {
      ended = true
      wake?.()
    })
    return built
  }
  const next = Effect.callback<string | undefined>((resume) => {
    reader ??= start()
    const look = () => {
      if (waiting.length === 0 && !ended) return
      wake = undefined
      resume(Effect.succeed(waiting.shift()))
    }
    wake = look
    if (waiting.length === 0 && !ended) reader.prompt()
    look()
  })
  return { next, close: () => reader?.close() }
}

/** All lines until the end, blank ones left out. */
const allLines = (lines: Lines): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const all: Array<string> = []
    for (;;) {
      const line = yield* lines.next
      if (line === undefined) return all
      if (line.trim() !== "") all.push(line)
    }
  })

/**
 * Makes a module a chat command; does nothing when the module is imported by another.
 *
 * @example
 * chat(import.meta, { name: "chat", engines, resolveEngine, open })
 */
export const chat = <Picture, E>(meta: Meta, talker: Talker<Picture, E>): void => {
  if (!isEntry(meta)) return
  const args = process.argv.slice(2)
  const output = processOutput({ json: args.includes("--json") })
  let session: Session | undefined
  const means = presses()
  const onPress = (): void => {
    const meaning = means(performance.now(), session?.answering)
    if (meaning === "stop" && session !== undefined) session.stop = true
    if (meaning !== "leave") return
    lines.close()
    output.error("")
    process.exit(130)
  }
  const lines = lineReader(() => {
    const terminal = process.stdin.isTTY === true && output.live
    const reader = createInterface({ input: process.stdin, output: terminal ? output.typing : undefined, terminal })
    reader.setPrompt(terminal ? "> " : "")
    // A terminal that is read key by key sends no signal.
    reader.on("SIGINT", onPress)
    return reader
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onPress)
  const command = makeCommand(talker, {
    output,
    lines,
    input: allLines(lines),
    started: (begun) => {
      session = begun
    }
  })
  const program = Command.runWith(command, { version: "0.1.0" })(args).pipe(
    Effect.provide(presenter(output)),
    Effect.provide(CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })),
    Effect.provide(NodeServices.layer)
  )
  Effect.runPromiseExit(program).then(async (exit) => {
    lines.close()
    const error = Exit.isFailure(exit) ? failureOf(exit.cause) : undefined
    const code = error instanceof Interrupted ? 130 : exitCode(exit, false)
    if (Exit.isFailure(exit) && code !== 0 && code !== 130 && !CliError.isCliError(error)) {
      for (const line of errorLines(error)) output.error(line)
      if (read(variables.debug)) output.error(Cause.pretty(exit.cause))
    }
    await output.flush()
    process.exit(code)
  })
}
