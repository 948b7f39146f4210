/** Typed lines and scripts: what is shown where, what a failure costs, what a stop means. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { oneShot, type Session, talk } from "../../../src/cli/chat/Talk.ts"
import { remembering, settings, wordModel } from "./support.ts"

const sessionOf = (output: Session["output"], json = false): Session => ({
  output,
  json,
  settings,
  answering: undefined,
  stop: false
})
const linesOf = (typed: ReadonlyArray<string>) => {
  const rest = [...typed]
  return { next: Effect.sync(() => rest.shift()) }
}

describe("talk", () => {
  it.effect("answers questions; a line that fails is told and costs nothing of the conversation", () =>
    Effect.gen(function* () {
      const { output, said } = remembering()
      const model = wordModel(["Fine", "."])
      const typed = ["How are you?", "", "fail", "/image none", "/rese", "And you?", "/exit", "never asked"]
      yield* talk(sessionOf(output), model, "p", linesOf(typed))
      expect(said.people).toBe("Fine.\nFine.\n")
      expect(model.asked.map(({ turns }) => turns.length)).toEqual([1, 3, 3])
      expect(said.errors.filter((line) => line.startsWith("error: "))).toEqual(["error: Error", "error: Error"])
      expect(said.errors.some((line) => line.includes('did you mean "/reset"'))).toBe(true)
    })
  )

  it.effect("/reset and /image begin anew, with the same picture, another, or none; draws go on", () =>
    Effect.gen(function* () {
      const { output } = remembering()
      const model = wordModel(["Yes"])
      yield* talk(sessionOf(output), model, "p", linesOf(["a", "/reset", "b", "/image q", "c", "/image", "d"]))
      expect(model.asked.map(({ number, picture, turns }) => [number, picture, turns.length])).toEqual([
        [0, "p", 1],
        [1, "p", 1],
        [2, "q", 1],
        [3, undefined, 1]
      ])
    })
  )

  it.effect("says why an answer ended, where it is not its own end", () =>
    Effect.gen(function* () {
      for (const [stopped, words] of [
        ["end", undefined],
        ["length", "--max-new-tokens"],
        ["context", "/reset"]
      ] as const) {
        const { output, said } = remembering()
        yield* talk(sessionOf(output), wordModel(["Yes"], stopped), undefined, linesOf(["a"]))
        expect(said.errors.length).toBe(words === undefined ? 0 : 1)
        if (words !== undefined) expect(said.errors[0]).toContain(words)
      }
    })
  )

  it.effect("what a model says is data for the output, as it is: no code of ours is in it", () =>
    Effect.gen(function* () {
      const { output, said } = remembering({ live: true })
      const painted: Array<string> = []
      const watched = { ...output, painted: (text: string) => void painted.push(text) }
      yield* talk(sessionOf(watched), wordModel(["a\u001b[2J", "\tb\r\n"]), undefined, linesOf(["x"]))
      expect(said.people).toBe("a\u001b[2J\tb\r\n\n")
      expect(painted).toEqual([])
    })
  )
})

describe("oneShot", () => {
  it.effect("with json: one line an answer and no other word; each question on its own", () =>
    Effect.gen(function* () {
      const { output, said } = remembering()
      const model = wordModel(["It ", "is."])
      yield* oneShot(sessionOf(output, true), model, "p", ["a", "b"])
      expect(said.people).toBe("")
      expect(said.results.map((line) => JSON.parse(line))).toEqual(
        ["a", "b"].map((prompt) => ({
          prompt,
          answer: "It is.",
          tokens: 2,
          stopped: "end",
          seconds: expect.any(Number)
        }))
      )
      expect(model.asked.map(({ number, turns }) => [number, turns.length])).toEqual([
        [0, 1],
        [1, 1]
      ])
    })
  )

  it.effect("a failure ends the script with its error; so does a stop, after the line of what was said", () =>
    Effect.gen(function* () {
      const { output, said } = remembering()
      const model = wordModel(["one ", "two"])
      const failed = yield* Effect.flip(oneShot(sessionOf(output, true), model, undefined, ["a", "fail", "c"]))
      expect([failed.message, said.results.length]).toEqual(["no room", 1])
      const session = sessionOf(output, true)
      const asking = {
        ...model,
        ask: (...args: Parameters<typeof model.ask>) => {
          session.stop = true
          return model.ask(...args)
        }
      }
      const exit = yield* Effect.exit(oneShot(session, asking, undefined, ["a", "b"]))
      expect(Exit.isFailure(exit)).toBe(true)
      expect(said.results.slice(1).map((line) => JSON.parse(line).stopped)).toEqual(["interrupted"])
    })
  )
})
