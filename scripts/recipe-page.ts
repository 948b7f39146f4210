/**
 * Writes docs/recipe-llava-phi.md from the recipe's value: `npm run docs`. A test compares the page with what this
 * makes.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import { llavaPhi, presets, sampleSources } from "../pipelines/llava-phi.ts"
import { toMarkdown } from "../src/dag/Page.ts"

/** The page in the repository. */
export const path = fileURLToPath(new URL("../docs/recipe-llava-phi.md", import.meta.url))

/** Its text, as the recipe is now. */
export const page = (): string => {
  const { pipeline } = llavaPhi(presets.sample, sampleSources())
  const count = (kind: string) => pipeline.nodes.filter((node) => node.spec.kind === kind).length
  return `# The recipe, node by node

Generated from the pipeline value by \`npm run docs\`; do not edit.

This is the preset \`sample\`: ${pipeline.nodes.length - count("source")} nodes (${count("sharded")} sharded, ${count("whole")} whole, ${count("fold")} fold) on ${count("source")} sources.
[Presets](presets.md) has the numbers of the others. Any recipe prints its own page:

\`\`\`sh
npx tsx pipelines/llava-phi.ts graph --format markdown --preset paper
\`\`\`

Cylinders are sources, hexagons train, rounded boxes are outputs. An edge carries the artifact that it names.

${toMarkdown(pipeline)}`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(path, page())
