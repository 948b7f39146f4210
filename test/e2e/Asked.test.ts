/**
 * POPE's files to scores, as a real run: killed between shards it asks only what was not answered, and says what it
 * left out.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import { isYes } from "../../src/nodes/YesNo.ts"
import { completed, digestsOf, type Ended, filesBelow, freshFolder, startProcess } from "./Bench.ts"
import { entriesOf } from "./Sources.ts"

const recipe = fileURLToPath(new URL("./fixtures/asked.ts", import.meta.url))
const killer = new URL("./fixtures/killer.ts", import.meta.url).href

/** Thirty questions about ten images; the last image is not in the archive. */
const writeQuestions = async (): Promise<string> => {
  const folder = join(freshFolder(), "sources")
  mkdirSync(folder)
  const path = "../../datasets/sample/llava-instruct/heldout.json"
  const scenes = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as ReadonlyArray<{ image: string }>
  const names = scenes.slice(0, 10).map(({ image }) => image)
  const entries = await entriesOf(
    "llava-instruct/heldout.zip",
    names.slice(0, 9).map((name) => `val2017/${name}`)
  )
  writeFileSync(
    join(folder, "images.zip"),
    zipBytes(entries.map(({ data, name }) => ({ data, name: name.slice("val2017/".length) })))
  )
  const lines = names.flatMap((image, i) =>
    ["star", "circle", "square"].map((thing, k) =>
      JSON.stringify({
        ...{ question_id: 3 * i + k, image, text: `Is there a ${thing} in the image?` },
        label: (i + k) % 2 === 0 ? "yes" : "no"
      })
    )
  )
  writeFileSync(join(folder, "questions.json"), `${lines.join("\n")}\n`)
  return folder
}

const ask = (sources: string, store: string, kill?: string): Promise<Ended> =>
  startProcess(
    process.execPath,
    [...(kill === undefined ? [] : ["--import", killer]), recipe, "--store", store, "--workers", "0", "--json"],
    {
      env: {
        E2E_SOURCES: sources,
        ...(kill === undefined ? {} : { E2E_KILL: JSON.stringify({ line: kill, nth: 1, signal: "SIGKILL" }) })
      }
    }
  ).ended

interface Line {
  readonly question_id: number
  readonly text: string
}

test("questions are answered once, through a kill, and scored as the published rule has it", async () => {
  const sources = await writeQuestions()
  const straight = join(freshFolder(), "store")
  const whole = await ask(sources, straight)
  const last = completed(whole)
  const end = whole.events.find((event) => event.event === "node-end" && event.node === "answerQuestions")
  expect(end).toMatchObject({ rowsIn: 30, rowsOut: 27, refused: 3, refusedBy: { ImageNotHere: 3 } })

  const [path] = filesBelow(join(straight, "entries"), "answers.jsonl")
  const lines = readFileSync(path!, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line)
  expect(lines.map(({ question_id }) => question_id)).toEqual(Array.from({ length: 27 }, (_, i) => i))
  const right = lines.filter(({ question_id, text }) => {
    const [scene, thing] = [Math.floor(question_id / 3), question_id % 3]
    return isYes(text) === ((scene + thing) % 2 === 0)
  }).length
  const reports = filesBelow(join(straight, "entries"), "value.json").map((file) =>
    JSON.parse(readFileSync(file, "utf8"))
  )
  const scored = reports.find((report) => "all" in report)
  expect(scored.all).toMatchObject({ questions: 27, accuracy: right / 27 })
  expect(scored.all.yesRatio).toBe(lines.filter(({ text }) => isYes(text)).length / 27)
  expect(reports.find((report) => "blind" in report).blind).not.toBe(null)

  const killed = join(freshFolder(), "store")
  const ended = await ask(sources, killed, '"event":"node-progress",.*"node":"answerQuestions",.*"shardsDone":[1-3]')
  expect(ended.signal, ended.stderr).toBe("SIGKILL")
  const resumed = await ask(sources, killed)
  expect(digestsOf(completed(resumed))).toEqual(digestsOf(last))
  const start = resumed.events.find((event) => event.event === "node-start" && event.node === "answerQuestions")
  expect(start).toMatchObject({ shards: 4 })
  expect(start?.event === "node-start" ? start.shardsDone : 0).toBeGreaterThan(0)
}, 120_000)
