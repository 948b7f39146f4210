/**
 * Read, clean, drop duplicates: the head of the LLaVA-Phi recipe as a recipe of its own, and the same with turndown.
 *
 * `turndown` differs in one thing: values are converted by that library before the cleaning rules see them, without the
 * removal of the site's noise. The file is named by the environment, which worker threads share.
 */
import { Layer, Result, Schema } from "effect"
import { sharded } from "../../src/dag/Node.ts"
import { pipeline } from "../../src/dag/Pipeline.ts"
import { source } from "../../src/dag/Source.ts"
import { Conversations, RawConversations, ShareGptFile } from "../../src/nodes/Artifacts.ts"
import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"
import { dropDuplicates } from "../../src/nodes/DropDuplicates.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { CleanOptions, cleanConversation, Dropped } from "../../src/text/Clean.ts"

/** The environment variable that names the ShareGPT file. */
export const FILE = "MILLRACE_BENCH_SHAREGPT"

/** Rows a shard. */
const SHARD = 512

const cleanWithTurndown = sharded(
  {
    id: "cleanWithTurndown",
    version: "1",
    about: "FastChat's cleaning rules on what turndown makes of the HTML.",
    params: Schema.Struct({}),
    inputs: { rows: RawConversations },
    outputs: { rows: Conversations },
    refuses: [Dropped],
    runs: "worker"
  },
  ({ flatMap, shard }) => {
    const service = turndown()
    const rules = CleanOptions.make({ values: "markdown", humanTurns: "reference" })
    return {
      rows: flatMap(shard.rows, (row) => {
        const conversations = row.conversations.map(({ from, value }) => ({ from, value: service.turndown(value) }))
        return Result.map(cleanConversation({ ...row, conversations }, rules), (clean) => [clean])
      })
    }
  }
)

const { default: TurndownService } = await import("turndown")
const turndown = () => new TurndownService({ headingStyle: "atx", bulletListMarker: "*", codeBlockStyle: "fenced" })

interface Settings {
  readonly clean: "ours" | "turndown"
  /** None for goldens, which FastChat made: breaking control tokens is a step of ours. */
  readonly specialTokens: ReadonlyArray<string>
}

const specialTokens = ["<|endoftext|>", "<image>", "<pad>"]

export default recipe<Settings, never>({
  name: "bench-clean",
  presets: {
    ours: { clean: "ours", specialTokens },
    turndown: { clean: "turndown", specialTokens },
    golden: { clean: "ours", specialTokens: [] }
  },
  build: (settings) => {
    const file = source(ShareGptFile, { id: "sharegpt", location: process.env[FILE] ?? "sharegpt.json" })
    const raw = readShareGpt({ file: file.out.files }, { shardRows: SHARD })
    const rules = { values: "html", humanTurns: "reference", bannedWords: ["openai", "chatgpt"] } as const
    const clean =
      settings.clean === "ours"
        ? cleanShareGpt({ rows: raw.out.rows }, { ...rules, specialTokens: settings.specialTokens })
        : cleanWithTurndown({ rows: raw.out.rows }, {})
    const distinct = dropDuplicates({ rows: clean.out.rows }, { shardRows: SHARD })
    return { pipeline: pipeline("bench-clean", { rows: distinct.out.rows }) }
  },
  services: () => Layer.empty,
  engines: ["none"],
  numerics: (engine) => engine
})
