/**
 * Pages are written in plain English: lines of at most 120 characters, and none of the words that this project once
 * used in a sense of its own.
 *
 * Not a style checker: it knows words, not sentences. `docs/LOG.md` keeps the words of its day, and a page that says it
 * is generated has those of its source.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { folders } from "../../scripts/arrows.ts"
import { type Page, pages, root } from "./Markdown.ts"

const MOST = 120

/** Word or name -> what to write instead. A name is banned in backticks too, a word in sentences alone. */
const BANNED: ReadonlyArray<{ readonly pattern: RegExp; readonly instead: string; readonly names?: boolean }> = [
  { pattern: /\bpictures?\b/i, instead: "image" },
  { pattern: /\bmend(s|ed|ing)?\b/i, instead: "fix, repair" },
  { pattern: /\b(is|are|was|were|be) told\b|\btold (of|by)\b|\btells? (of|by)\b/i, instead: "reports, says" },
  { pattern: /\b(made|makes?|making) (again|anew)\b/i, instead: "computed again, written again, repaired" },
  { pattern: /\bhere already\b|\bis here\b|\bare here\b/i, instead: "local, in the store" },
  { pattern: /\bby nobody\b|\bnobody (can|could|has|looking|vouches)\b/i, instead: "name the subject" },
  { pattern: /\bgoes on\b|\bgo on from\b/i, instead: "continues, resumes" },
  { pattern: /\bhas the verdict\b|\bat hand\b|\bis had\b|\bof its kin\b/i, instead: "the plain verb" },
  { pattern: /\bcards? (reaches|does|do|has no)\b|\bon no card\b/i, instead: "GPU" },
  { pattern: /--(world|card|accept-code)\b/, instead: "--nproc, --gpu, --allow-stale-code", names: true },
  { pattern: /\b(DueNode|AskedThread|startAsked|tellExit|heardExit)\b/, instead: "glossary", names: true },
  { pattern: /\b\w+(OnFeatures|AndVision)\b/, instead: "trainProjector, tuneInstructions and trains", names: true },
  { pattern: /\b(several-pictures|PictureNotHere)\b/, instead: "several-images, ImageNotHere", names: true },
  { pattern: /\b(namesIn|writeWhole|MOST_THREADS)\b/, instead: "listDir, writeAtomic, MAX_THREADS", names: true }
]

const read = (path: string): Page => ({ path, text: readFileSync(join(root, path), "utf8") })

/** Pages that name what was: their lines are short, their words are those of the day. */
const HISTORY = ["docs/LOG.md", "CHANGELOG.md"]
const written = [
  ...pages(),
  read("datasets/README.md"),
  read("test/README.md"),
  read("CHANGELOG.md"),
  ...folders.map((name) => read(`src/${name}/README.md`))
].filter(({ text }) => !/^Generated from /m.test(text))

interface Line {
  readonly where: string
  readonly text: string
}

/** Lines outside fenced blocks, numbered from 1. */
const linesOf = ({ path, text }: Page): ReadonlyArray<Line> => {
  let fenced = false
  return text.split("\n").flatMap((line, i) => {
    if (line.startsWith("```")) fenced = !fenced
    return fenced || line.startsWith("```") ? [] : [{ where: `${path}:${i + 1}`, text: line }]
  })
}

/** Sentences of a line: titles of tests, code and addresses of links are quoted, not written here. */
const sentences = (line: string): string =>
  line
    .replace(/`[^`]*\.test\.ts`: .*$/, "")
    .replace(/^\| without pictures \|/, "") // a variant's name, from pipelines/ablation.ts
    .replace(/`[^`]*`/g, "")
    .replace(/\]\([^)]*\)/g, "]")
    .replace(/"[^"]*"/g, "")

/** Characters of a line, without code that no line can hold beside others: a command is not broken. */
const lengthOf = (line: string): number => line.replace(/`[^`]{80,}`/g, "").length

const faults = (page: Page): ReadonlyArray<string> =>
  linesOf(page).flatMap(({ text, where }) => [
    ...(lengthOf(text) > MOST && !text.startsWith("|") ? [`${where} has ${text.length} characters`] : []),
    ...(HISTORY.includes(page.path) ? [] : BANNED).flatMap(({ instead, names, pattern }) => {
      const found = pattern.exec(names === true ? text : sentences(text))
      return found === null ? [] : [`${where} "${found[0]}": ${instead}`]
    })
  ])

it("pages have short lines and no private words", () => {
  expect(written.length).toBeGreaterThan(25)
  expect(written.flatMap(faults)).toEqual([])
})

it("a long line and a private word are found, in quotes, code and tables they are not", () => {
  const page = (text: string): Page => ({ path: "a.md", text })
  expect(faults(page(`${"a ".repeat(70)}\n| ${"a ".repeat(70)}|`))).toEqual(["a.md:1 has 140 characters"])
  expect(faults(page("A picture is mended."))).toEqual(['a.md:1 "picture": image', 'a.md:1 "mended": fix, repair'])
  expect(faults(page('`pictures` of "picture"\n```\npicture\n```\n| `test/A.test.ts`: a picture |'))).toEqual([])
})
