/**
 * Variables of the environment: read in one file, documented in one table, and a wrong value is an error that names it.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { allVariables, checkEnvironment, EnvironmentError, lookUp, read, variables } from "../../src/dag/Environment.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

it("no other file of src or pipelines reads process.env", () => {
  const readers = ["src", "pipelines"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|js|mjs)$/.test(name) && !name.includes("vendor") && !name.includes("node_modules"))
      .map((name) => join(folder, name))
      .filter((name) =>
        /process\s*\.\s*env\b|process\[|\benv\b.*from "node:process"/.test(readFileSync(join(root, name), "utf8"))
      )
  )
  expect(readers).toEqual(["src/dag/Environment.ts"])
})

it("docs/environment.md lists each with what it may be and what holds without it", () => {
  const rows = allVariables.map(
    ({ about, expected, name, otherwise }) => `| \`${name}\` | ${about} | ${expected} | ${otherwise} |`
  )
  const doc = readFileSync(join(root, "docs/environment.md"), "utf8")
  expect(doc.split("\n").filter((line) => line.startsWith("| `"))).toEqual(rows)
})

const numbers = allVariables.filter(({ expected }) => /^a (whole )?number|^a port/.test(expected))
const fault = (exit: Exit.Exit<unknown, EnvironmentError>): EnvironmentError => {
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  if (reason?._tag !== "Fail") throw new Error("it was taken")
  return reason.error
}

it("there are numbers among them, and each refuses what is none, by name, value and what is expected", () => {
  const ranged = numbers.filter(({ name }) => !["OMP_NUM_THREADS", "SLURM_STEP_ID"].includes(name))
  expect(ranged.length).toBeGreaterThan(8)
  for (const variable of ranged)
    for (const value of ["30s", "-1", "NaN", "Infinity", "1e99", "ten"]) {
      const error = fault(lookUp(variable, { [variable.name]: value }))
      expect(error).toBeInstanceOf(EnvironmentError)
      expect(error.message).toBe(`${variable.name}=${value}: expected ${variable.expected}`)
      expect(error.hint).toContain(variable.name)
    }
})

it.prop("a number is taken as it is or refused, never as NaN", [Schema.String], ([text]) => {
  const exit = lookUp(variables.rankSeconds, { MILLRACE_RANK_SECONDS: text })
  if (Exit.isSuccess(exit)) expect(exit.value > 0 && Number.isFinite(exit.value)).toBe(true)
  else expect(fault(exit).variable).toBe("MILLRACE_RANK_SECONDS")
})

it("an empty variable counts as unset, blanks around a number do not matter, defaults hold", () => {
  for (const value of [undefined, "", " "])
    expect(read(variables.rankSeconds, { MILLRACE_RANK_SECONDS: value })).toBe(30)
  expect(read(variables.rankSeconds, { MILLRACE_RANK_SECONDS: " 0.5 " })).toBe(0.5)
  expect(read(variables.rank, {})).toBe(undefined)
  expect(read(variables.cache, { XDG_CACHE_HOME: "" })).toBe(undefined)
  for (const off of ["", "0", "false", "off", "no"]) expect(read(variables.debug, { MILLRACE_DEBUG: off })).toBe(false)
  for (const on of ["1", "true", "yes"]) expect(read(variables.debug, { MILLRACE_DEBUG: on })).toBe(true)
})

it.effect("a command fails over its own wrong number before anything starts, and not over another's", () =>
  Effect.gen(function* () {
    yield* checkEnvironment({ RANK: "none of ours" })
    const error = yield* Effect.flip(checkEnvironment({ MILLRACE_RANK_SECONDS: "30s" }))
    expect(error.message).toBe("MILLRACE_RANK_SECONDS=30s: expected a number of seconds above 0, at most 2147483")
  })
)

it("a token is never shown", () => {
  expect(allVariables.filter(({ secret }) => secret === true).map(({ name }) => name)).toEqual([
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "MILLRACE_RANKS"
  ])
})
