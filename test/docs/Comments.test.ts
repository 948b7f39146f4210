/**
 * Comments and pages speak of files and names that exist: a path of ours is a file, a name in backticks stands in some
 * code.
 *
 * Only names that look like code are held to that (camelCase, snake_case, PascalCase of two words); shapes, as
 * `ids_BT`, are no variables of one file. Names of other programs are listed with their owner.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, sep } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { pages, prose, root } from "./Markdown.ts"

const FOLDERS = ["src", "pipelines", "datasets", "benchmarks", "scripts", "native", "test", "docs"]
const tracked = [
  ...readdirSync(root, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : [])),
  ...FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) =>
      join(folder, name).split(sep).join("/")
    )
  )
].filter((path) => !/\/(build|node_modules)\//.test(path))

const COMMENT = /\/\*[\s\S]*?\*\/|(?<![:\w"'`])\/\/.*/g
const isCode = (path: string): boolean =>
  /\.(ts|mts|c|cc|cpp|h|hpp|py|json|jinja)$/.test(path) && !/vendor|package-lock/.test(path)

const sources = tracked.filter(isCode).map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }))
const commented = sources
  .filter(({ path }) => path.endsWith(".ts") && !path.startsWith("test/docs/"))
  .flatMap(({ path, text }) => (text.match(COMMENT) ?? []).map((comment) => ({ path, comment })))
/** Sentences and tables of pages; `docs/LOG.md` keeps the names of its day, commands name files of the reader's. */
const paged = pages()
  .filter(({ path }) => path !== "docs/LOG.md")
  .map((page) => ({ path: page.path, comment: prose(page) }))
const written = [...commented, ...paged]

/** Files of ours, by any tail of their path. */
const tails = new Set(tracked.flatMap((path) => path.split("/").map((_, i, parts) => parts.slice(i).join("/"))))

/** Paths in a comment: TypeScript, markdown and wasm are ours; Python and C may be another program's. */
const pathsIn = (comment: string): ReadonlyArray<string> =>
  [...comment.matchAll(/(?<![\w/@.-])([A-Za-z][\w./-]*\.(?:ts|md|wasm))\b(?![\w/])/g)].map((match) => match[1]!)

/** Paths that stand for a reader's own. */
const EXAMPLES = new Set([
  "path/File.ts",
  "path/from/cwd.ts",
  "p.ts",
  "pipelines/other.ts",
  "pipelines/NAME.ts",
  "counting.ts"
])

const words = new Set(
  sources.flatMap(
    ({ path, text }) => (/\.(py|json)$/.test(path) ? text : text.replace(COMMENT, " ")).match(/[A-Za-z_$][\w$]*/g) ?? []
  )
)

/** The last part of each name in backticks, calls included. */
const namesIn = (comment: string): ReadonlyArray<string> =>
  [...comment.matchAll(/`([A-Za-z_$][\w$.]*)(?:\([^`]*\))?`/g)]
    .map((match) => match[1]!.split(".").at(-1)!)
    .filter((name) => /[a-z][A-Z]|_/.test(name) && !/_[A-Z][A-Z0-9]*$/.test(name))

const OTHERS: Readonly<Record<string, string>> = {
  BeautifulSoup: "Beautiful Soup",
  BeautifulSoupHTMLParser: "Beautiful Soup",
  _popToTag: "Beautiful Soup",
  endData: "Beautiful Soup",
  pushTag: "Beautiful Soup",
  process_tag: "markdownify",
  attrfind_tolerant: "Python's html.parser",
  locatestarttagend_tolerant: "Python's html.parser",
  parse_starttag: "Python's html.parser",
  _get_data_files_patterns: "Hugging Face datasets",
  bytes_to_unicode: "GPT-2's encoder",
  make_sample: "FastChat",
  get_cosine_schedule_with_warmup: "transformers",
  get_linear_schedule_with_warmup: "transformers",
  get_modality_length_grouped_indices: "LLaVA",
  update_layer: "PEFT",
  _metadata: "torch",
  file_version: "TensorFlow's event.proto",
  simple_value: "TensorFlow's summary.proto",
  wall_time: "TensorFlow's event.proto",
  kernel_info_reply: "Jupyter's protocol",
  model_name_or_path: "LLaVA's scripts",
  data_path: "LLaVA's scripts",
  image_folder: "LLaVA's scripts",
  lora_enable: "LLaVA's scripts",
  lora_r: "LLaVA's scripts",
  num_train_epochs: "LLaVA's scripts",
  learning_rate: "LLaVA's scripts",
  per_device_train_batch_size: "LLaVA's scripts",
  gradient_accumulation_steps: "LLaVA's scripts",
  lr_scheduler_type: "LLaVA's scripts",
  max_grad_norm: "LLaVA's scripts",
  group_by_modality_length: "LLaVA's scripts",
  save_steps: "LLaVA's scripts",
  output_dir: "LLaVA's scripts",
  readRecordBatch: "Apache Arrow",
  RpcClient: "Effect",
  model_path: "LLaVA",
  en_core_web_sm: "spaCy",
  wgByO4Y_8_0: "an id of ShareGPT"
}

describe("comments and pages", () => {
  it("name files that exist", () => {
    const named = written.flatMap(({ comment, path }) => pathsIn(comment).map((name) => ({ name, path })))
    expect(named.length).toBeGreaterThan(150)
    const missing = named.filter(
      ({ name, path }) => !tails.has(name) && !EXAMPLES.has(name) && !existsSync(join(root, dirname(path), name))
    )
    expect(missing.map(({ name, path }) => `${path}: ${name}`)).toEqual([])
  })

  it("name functions, fields and types that exist, ours or another program's", () => {
    const named = written.flatMap(({ comment, path }) => namesIn(comment).map((name) => ({ name, path })))
    expect(named.length).toBeGreaterThan(500)
    const missing = named.filter(({ name }) => !words.has(name) && !(name in OTHERS))
    expect(missing.map(({ name, path }) => `${path}: ${name}`)).toEqual([])
  })

  it("have lines of at most 120 characters; tables, commands and examples aside", () => {
    const long = commented.flatMap(({ comment, path }) =>
      comment
        .replace(/@example[\s\S]*/, "")
        .split("\n")
        .filter((line) => line.length > 120 && !/^ *\*( {3,}| .*\|$)/.test(line))
        .map((line) => `${path}: ${line.trim()}`)
    )
    expect(long.filter((one) => !/\/assembly\//.test(one))).toEqual([])
  })

  it("list no name of another program that nobody mentions", () => {
    const named = new Set(written.flatMap(({ comment }) => namesIn(comment)))
    expect(Object.keys(OTHERS).filter((name) => !named.has(name))).toEqual([])
  })
})
