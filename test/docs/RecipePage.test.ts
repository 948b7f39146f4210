/** The generated page of the recipe is the one that the recipe makes now. */
import { readFileSync } from "node:fs"
import { expect, it } from "@effect/vitest"
import { page, path } from "../../scripts/recipe-page.ts"

it("docs/recipe-llava-phi.md is fresh: otherwise run `npm run docs`", () => {
  expect(readFileSync(path, "utf8")).toBe(page())
})
