/**
 * A chat as a process: Ctrl-C stops an answer and a second one leaves, usage and missing models have their exit codes.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, test } from "vitest"
import { samePressMs } from "../../../src/cli/Signals.ts"
import { folder, start } from "../process.ts"

const chatter = fileURLToPath(new URL("../fixtures/chatter.ts", import.meta.url))
const { path, remove } = folder()
afterAll(remove)
const model = join(path, "model")
mkdirSync(model)
writeFileSync(join(model, "config.json"), "{}")

const later = () => new Promise((resolve) => setTimeout(resolve, samePressMs + 100))

describe("a chat", { timeout: 180_000 }, () => {
  test("Ctrl-C stops the answer and the conversation goes on; one without an answer leaves with 130", async () => {
    const running = start([chatter, "--model", model])
    running.child.stdin!.write("go\n")
    await running.until("on on on")
    running.child.kill("SIGINT")
    await running.until("\nstopped")
    running.child.stdin!.write("/help\n")
    await running.until("/reset")
    await later()
    running.child.kill("SIGINT")
    const { code, stdout } = await running.ended
    expect(code).toBe(130)
    expect(stdout).toMatch(/^(on )+\n$/)
  })

  test("a script that is stopped says so in its last line, asks nothing more, and ends with 130", async () => {
    const running = start([chatter, "--model", model, "--prompt", "a", "--prompt", "b", "--json", "--stop", "xyz"])
    running.child.stdin!.end()
    await running.until("asked")
    running.child.kill("SIGINT")
    const { code, stderr, stdout } = await running.ended
    expect([code, stderr]).toEqual([130, "asked\n"])
    expect(JSON.parse(stdout)).toMatchObject({ prompt: "a", stopped: "interrupted" })
  })

  test("wrong usage is 2, a model that is not there 1, help 0", async () => {
    const codeOf = async (...args: ReadonlyArray<string>) => {
      const running = start([chatter, ...args], { cwd: path })
      running.child.stdin!.end()
      return running.ended
    }
    for (const [args, code, words] of [
      [["--model", model, "--top-p", "2"], 2, "--top-p"],
      [["--model", model, "--engine", "wasp"], 2, "--engine"],
      [["--model", model, "--prompt", " "], 2, "a question is empty"],
      [["--model", model, "--prompt", "-"], 2, "standard input has no question"],
      [["--prompt", "x"], 1, "there is no store here"],
      [["--model", path], 1, "no config.json"],
      [["--model", "20261123-135716"], 1, "no such folder or run"],
      [["--help"], 0, "--max-new-tokens"]
    ] as const) {
      const ended = await codeOf(...args)
      expect({ args, code: ended.code }).toEqual({ args, code })
      expect(ended.stdout + ended.stderr).toContain(words)
    }
  })
})
