/** The token of ranks that a launcher starts: given, or in a file that rank 0 creates and other users cannot read. */
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { launchedToken } from "../../src/cli/RankToken.ts"
import { isToken, newToken } from "../../src/run/Handshake.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-token-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const given = newToken()
const fileOf = (name: string, text: string, mode = 0o600): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

describe("a rank's token", () => {
  it.effect("is the variable's, before a file's", () =>
    Effect.gen(function* () {
      const env = { MILLRACE_RANKS: given, MILLRACE_RANKS_FILE: join(folder, "unread") }
      expect(yield* launchedToken(0, env)).toBe(given)
      expect(readdirSync(folder)).not.toContain("unread")
    })
  )

  it.live("is in a file that rank 0 makes, whole and for its owner alone, and the others wait for", () =>
    Effect.gen(function* () {
      const env = { MILLRACE_RANKS_FILE: join(folder, "made") }
      const others = yield* Effect.forkChild(Effect.all([launchedToken(1, env), launchedToken(2, env)]))
      const token = yield* launchedToken(0, env)
      expect(isToken(token)).toBe(true)
      expect(yield* Fiber.join(others)).toEqual([token, token])
      expect(statSync(env.MILLRACE_RANKS_FILE).mode & 0o777).toBe(0o600)
      expect(yield* launchedToken(0, env)).toBe(token)
      expect(readdirSync(folder).filter((name) => name.startsWith("made"))).toEqual(["made"])
    })
  )

  it.live("of several that make the file at once is one", () =>
    Effect.gen(function* () {
      const env = { MILLRACE_RANKS_FILE: join(folder, "raced") }
      const tokens = yield* Effect.all(
        Array.from({ length: 8 }, () => launchedToken(0, env)),
        { concurrency: "unbounded" }
      )
      expect(new Set(tokens).size).toBe(1)
    })
  )

  it.effect("is read through a link, with or without an end of line", () =>
    Effect.gen(function* () {
      symlinkSync(fileOf("there", given), join(folder, "link"))
      expect(yield* launchedToken(3, { MILLRACE_RANKS_FILE: join(folder, "link") })).toBe(given)
      expect(yield* launchedToken(3, { MILLRACE_RANKS_FILE: fileOf("line", `${given}\r\n`) })).toBe(given)
    })
  )

  for (const [name, env, said] of [
    ["neither", () => ({}), /rank 1 has no token/],
    ["a short one", () => ({ MILLRACE_RANKS: "word" }), /MILLRACE_RANKS is no token/],
    ["one with blanks", () => ({ MILLRACE_RANKS: `${given} ${given}` }), /MILLRACE_RANKS is no token/],
    ["a file that others may read", () => ({ MILLRACE_RANKS_FILE: fileOf("open", given, 0o644) }), /has mode 0644/],
    ["a file that is none", () => ({ MILLRACE_RANKS_FILE: folder }), /is no file/],
    ["an empty file", () => ({ MILLRACE_RANKS_FILE: fileOf("empty", "") }), /holds no token/],
    ["a short file", () => ({ MILLRACE_RANKS_FILE: fileOf("short", "word\n") }), /holds no token/]
  ] as const)
    it.effect(`with ${name} is a usage error that says what to do and not what it was`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(launchedToken(1, env()))
        expect(error._tag).toBe("UsageError")
        expect(error.message).toMatch(said)
        expect(error.hint).not.toBe("")
        expect(error.message + error.hint).not.toContain(given)
      })
    )

  it.effect("that is missing is told with the command that makes one", () =>
    Effect.gen(function* () {
      const { hint } = yield* Effect.flip(launchedToken(0, {}))
      expect(hint).toContain("export MILLRACE_RANKS=$(openssl rand -hex 32)")
      expect(hint).toContain("export MILLRACE_RANKS_FILE=")
    })
  )

  it.effect("in a folder that is not there is a usage error of rank 0", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(launchedToken(0, { MILLRACE_RANKS_FILE: join(folder, "no/such/file") }))
      expect(error.message).toMatch(/cannot be made/)
    })
  )
})
