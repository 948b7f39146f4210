/** A stage without rows is reported at the node that dropped the last ones, and at no other. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { expect, it } from "vitest"
import emptied from "./fixtures/emptied.ts"
import { reportExit, runOnce } from "./fixtures/RunOnce.ts"
import { freshFolder } from "./Harness.ts"

const url = new URL("./fixtures/emptied.ts", import.meta.url).href
const store = freshFolder()

/** Runs over these rows; what was said of nodes in notices, and how many nodes ran. */
const notices = async (rows: ReadonlyArray<unknown>) => {
  const file = join(freshFolder(), "chats.json")
  writeFileSync(file, JSON.stringify(rows))
  process.env["RUN_TEST_CHATS"] = file
  const { events, exit } = await Effect.runPromise(runOnce(emptied, url, { store }))
  const said = events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))
  return { status: reportExit(exit).status, ran: reportExit(exit).nodesRun, said }
}
const chat = (id: string, question: string, ...replies: ReadonlyArray<string>) => ({
  id,
  conversations: [{ from: "human", value: question }, ...replies.map((value) => ({ from: "gpt", value }))]
})

it("the node that refused every row says so, with the reasons and the hint of the most frequent, also when it is cached", async () => {
  const rows = [chat("a", "Hello there?"), chat("b", "Hello here?"), chat("c", "Who?", "I am ChatGPT, a model.")]
  const said = [
    "cleanShareGpt: none of its 3 rows are left: Dropped: TooFewTurns 2, Dropped: BannedWord 1. " +
      "A conversation needs a question and a reply; nothing to do if the export was cut short."
  ]
  expect(await notices(rows)).toEqual({ status: "completed", ran: 4, said })
  expect(await notices(rows)).toEqual({ status: "completed", ran: 0, said })
})

it("a later node says so of itself", async () => {
  const rows = [chat("a", "Wie koche ich ein Ei?", "Leg das Ei in kochendes Wasser und warte acht Minuten lang.")]
  const { said } = await notices(rows)
  expect(said).toEqual([
    "keepLanguages: none of its 1 rows are left: OtherLanguage: de 1. Add the language to `languages` to keep such rows."
  ])
})

it("a reader says so of an empty file, and nobody of a stage that has rows", async () => {
  expect((await notices([])).said).toEqual(["readShareGpt: it read no rows: look at its source, which has none"])
  const row = chat("a", "How do I boil an egg?", "Put the egg into boiling water and wait for eight minutes.")
  expect((await notices([row, chat("b", "Hello?")])).said).toEqual([])
})
