/**
 * Right after a run there is somebody to talk to: `pipelines/chat.ts` on nothing but the run's store answers as the
 * run's own evaluation did.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import { beforeAll, describe, expect, test } from "vitest"
import { Evaluation } from "../../src/nodes/Evaluate.ts"
import { type Bench, completed, type Ended, freshFolder, makeBench, startProcess } from "./Bench.ts"
import { entriesOf } from "./Sources.ts"

const pipeline = fileURLToPath(new URL("../../pipelines/chat.ts", import.meta.url))

const Answer = Schema.Struct({
  prompt: Schema.String,
  answer: Schema.String,
  tokens: Schema.Number,
  stopped: Schema.Literals(["end", "length"]),
  seconds: Schema.Number
})
const Scenes = Schema.Array(Schema.Struct({ id: Schema.String, image: Schema.String }))

describe("talking to what a run left", { timeout: 180_000 }, () => {
  let bench: Bench
  let ran: Ended
  let samples: Evaluation["samples"]
  const pictures = freshFolder()

  const chat = (...args: ReadonlyArray<string>) =>
    startProcess(process.execPath, [pipeline, "--engine", "wasm", ...args], { plain: true, cwd: bench.folder }).ended

  /** Image of a question (`{scene}/{number}`). */
  const pictureOf = (id: string): string => {
    const scenes = Schema.decodeUnknownSync(Scenes)(
      JSON.parse(readFileSync(join(bench.sources, "heldout.json"), "utf8"))
    )
    return join(pictures, scenes.find((scene) => id.startsWith(`${scene.id}/`))!.image)
  }

  beforeAll(async () => {
    bench = await makeBench()
    ran = await bench.run()
    const { outputs } = completed(ran)
    const report = JSON.parse(readFileSync(outputs["report"]!.path, "utf8")) as unknown
    samples = Schema.decodeUnknownSync(Evaluation)(report).samples
    const names = samples.map(({ id }) => pictureOf(id).slice(pictures.length + 1))
    for (const { data, name } of await entriesOf(
      "llava-instruct/heldout.zip",
      [...new Set(names)].map((name) => `val2017/${name}`)
    ))
      writeFileSync(join(pictures, name.slice("val2017/".length)), data)
  }, 120_000)

  test("its answers are the evaluation's, whether the store, the run or the folder is named", async () => {
    const checkpoint = completed(ran).outputs["checkpoint"]!.path
    const [run] = readdirSync(join(bench.store, "runs"))
    const named = [
      ["--store", bench.store],
      ["--model", bench.store],
      ["--model", run!, "--store", bench.store],
      ["--model", join(bench.store, "runs", run!)],
      ["--model", checkpoint]
    ]
    expect(samples.length).toBe(4)
    for (const [i, words] of named.entries()) {
      const { answer, id, question } = samples[i % samples.length]!
      const image = ["--image", pictureOf(id), "--max-new-tokens", "3"]
      const { code, stderr, stdout } = await chat(...words, ...image, "--json", "--prompt", question)
      expect({ words, code, stderr }).toEqual({ words, code: 0, stderr: "" })
      const given = Schema.decodeUnknownSync(Schema.fromJsonString(Answer))(stdout)
      expect(given).toMatchObject({ prompt: question, answer })
    }
  })

  test("the picture of the documentation is one that no stage has shown", async () => {
    const [entry] = await entriesOf("llava-instruct/heldout.zip", ["val2017/000000197165.jpg"])
    const shown = readFileSync(fileURLToPath(new URL("../../docs/scene.jpg", import.meta.url)))
    expect(Buffer.from(entry!.data).equals(shown)).toBe(true)
  })

  test("a run that has exported no model says so", async () => {
    const store = join(bench.folder, "half")
    completed(await bench.run(["--store", store, "--until", "readShareGpt"]))
    const { code, stderr } = await chat("--store", store, "--prompt", "Hi")
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^error: NoModel in .*half\n {2}run \S+ \(llava-phi, done\) has left no exported model\n {2}hint: /
    )
  })

  test("a language model's folder is no LLaVA", async () => {
    const models = readdirSync(join(bench.store, "entries"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith("config.json"))
      .map((path) => join(bench.store, "entries", path))
    const phi = models.find((path) =>
      /"model_type": "phi"/.test(readFileSync(path, "utf8").replace(/"text_config"[^}]*}/, ""))
    )
    const { code, stderr } = await chat("--model", dirname(phi!), "--prompt", "Hi")
    expect([code, stderr.split("\n")[1]]).toEqual([1, "  it is a phi model"])
  })
})
