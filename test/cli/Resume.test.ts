import { execFileSync } from "node:child_process"
import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { quote, resumeCommand } from "../../src/cli/Resume.ts"

const started = {
  argv0: "node",
  execArgv: [],
  argv: ["/usr/bin/node", "/w/pipelines/llava.ts", "--preset", "sample", "--set", "a.b=[1, 2]"],
  cwd: "/w",
  npmCommand: undefined
}

it("is the command that was typed", () => {
  expect(resumeCommand(started, new Set())).toBe("node pipelines/llava.ts --preset sample --set 'a.b=[1, 2]'")
  expect(resumeCommand({ ...started, npmCommand: "exec" }, new Set())).toMatch(/^npx node pipelines/)
  const tsx = [
    "--require",
    "/x/node_modules/tsx/dist/preflight.cjs",
    "--import",
    "file:///x/node_modules/tsx/dist/loader.mjs"
  ]
  expect(resumeCommand({ ...started, execArgv: tsx }, new Set())).toMatch(/^npx tsx pipelines/)
  expect(resumeCommand({ ...started, cwd: "/elsewhere" }, new Set())).toMatch(/^node \/w\/pipelines\/llava.ts/)
})

it("forces again only what a forced run has not finished", () => {
  const argv = ["node", "/w/p.ts", "--force", "a", "--force=b,c", "--store", "s"]
  const resumed = resumeCommand({ ...started, argv }, new Set(["a", "c"]))
  expect(resumed).toBe("node p.ts --force b --store s")
})

const Word = Arbitrary.map(Arbitrary.schema(Schema.String), (text) => text.replaceAll("\0", "").toWellFormed())
it.prop("quotes any word so that a shell gives it back", [Word], ([word]) => {
  expect(execFileSync("/bin/sh", ["-c", `printf %s ${quote(word)}`]).toString()).toBe(word)
})
