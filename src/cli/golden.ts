/**
 * `npm run golden -- DIR [--engine E]`: holds this code to reference outputs that somebody else made.
 *
 * What DIR holds is found out from its content: model sets, pictures, HTML fragments, conversations, token ids, in any
 * number of subfolders. Prints a line a quantity with its largest error and tolerance. Exit codes: 0 all within their
 * tolerance, 1 past one or unreadable, 2 nothing known in DIR or wrong usage.
 */
import { statSync } from "node:fs"
import { relative, resolve } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit } from "effect"
import { Argument, CliError, Command, Flag } from "effect/cli"
import { columns } from "../dag/Describe.ts"
import { read, variables } from "../dag/Environment.ts"
import { isEntry } from "./Entry.ts"
import { errorLines } from "./ErrorLines.ts"
import { findGoldens, type Golden } from "./golden/Files.ts"
import { checkImages } from "./golden/Images.ts"
import { counting, type Line } from "./golden/Line.ts"
import { checkModel } from "./golden/Models.ts"
import { checkClean, checkHtml, checkTokens } from "./golden/Texts.ts"
import { processOutput } from "./Output.ts"

const check = Effect.fnUntraced(function* (golden: Golden, engine: string) {
  switch (golden.kind) {
    case "model":
      return yield* checkModel(golden.folder, engine)
    case "images":
      return yield* checkImages(golden.cases)
    case "html":
      return [checkHtml(golden.cases)]
    case "tokens":
      return [checkTokens(golden.cases)]
    case "clean":
      return [checkClean(golden.input, golden.expected)]
  }
})

const number = (n: number): string =>
  Number.isInteger(n) && Math.abs(n) < 1e9 ? String(n) : Number.isFinite(n) ? n.toExponential(2) : String(n)

const verdict = (line: Line): string => (line.counted ? (line.ok ? "ok" : "FAILED") : "not counted")

/** The lines of one folder as a table. */
export const linesTable = (folder: string, lines: ReadonlyArray<Line>): string =>
  [
    folder,
    columns(
      lines.map((line) => [
        `  ${verdict(line)}`,
        line.quantity,
        `error ${number(line.error)}`,
        `tolerance ${number(line.tolerance)}`,
        line.note ?? ""
      ])
    )
  ].join("\n")

const output = processOutput({ json: false })

/** Checks everything under `dir` and gives the exit code. */
const golden = Effect.fnUntraced(function* (dir: string, engine: string) {
  const root = resolve(dir)
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) {
    output.error(`${dir} is not a folder`)
    return 2
  }
  const found = yield* findGoldens(root)
  if (found.length === 0) {
    output.error(`${dir} holds no goldens that are known here`)
    output.error(
      "  hint: a folder with golden.safetensors, *.crop.png or *.pad.png beside their sources, " +
        "input.json with expected.json, or JSON rows of {html, markdown} or {text, ids}."
    )
    return 2
  }
  const counts = { ok: 0, failed: 0, uncounted: 0 }
  for (const one of found) {
    // A folder that cannot be checked is a failed line among the others: the rest is still worth knowing.
    const exit = yield* Effect.exit(check(one, engine))
    let lines: ReadonlyArray<Line>
    if (Exit.isSuccess(exit)) lines = exit.value
    else if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.failCause(exit.cause)
    else {
      lines = [{ ...counting(one.kind, 1, 1), quantity: `${one.kind}: cannot be checked` }]
      for (const line of errorLines(Cause.squash(exit.cause))) output.error(line)
    }
    for (const line of lines) {
      if (!line.counted) counts.uncounted++
      else if (line.ok) counts.ok++
      else counts.failed++
    }
    output.result(linesTable(relative(root, one.folder) || ".", lines))
  }
  output.result(
    `${counts.ok} quantities within tolerance, ${counts.failed} past ` +
      `it${counts.uncounted > 0 ? `, ${counts.uncounted} not counted` : ""}`
  )
  return counts.failed > 0 ? 1 : 0
})

const command = (setCode: (code: number) => void) =>
  Command.make(
    "golden",
    {
      dir: Argument.String("dir").pipe(Argument.withDescription("Folder of goldens")),
      engine: Flag.String("engine").pipe(
        Flag.withDescription("What computes the models: wasm, torch, tensorflow, auto"),
        Flag.withDefault("wasm")
      )
    },
    ({ dir, engine }) => Effect.map(golden(dir, engine), setCode)
  ).pipe(Command.withDescription("Holds this code to reference outputs found under DIR"))

if (isEntry(import.meta)) {
  let code = 0
  const program = Command.runWith(
    command((value) => {
      code = value
    }),
    { version: "0.1.0" }
  )(process.argv.slice(2)).pipe(Effect.provide(NodeServices.layer))
  Effect.runPromiseExit(program).then(async (exit) => {
    if (Exit.isFailure(exit)) {
      const error = Cause.squash(exit.cause)
      const asked = CliError.isCliError(error)
      code = asked ? (error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2) : 1
      if (!asked) for (const line of errorLines(error)) output.error(line)
      if (read(variables.debug) && !asked) output.error(Cause.pretty(exit.cause))
    }
    await output.flush()
    process.exit(code)
  })
}
