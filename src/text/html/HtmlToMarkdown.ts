/**
 * HTML of a ShareGPT turn to the markdown that FastChat's cleaner makes of it, character for character.
 *
 * Not a general converter: it removes the site's own noise too (the "Copy code" button, "2 / 3", "Copy120 chars / 20
 * words"). Reference: `fastchat/data/clean_sharegpt.py` on Python 3.11.7, Beautiful Soup 4.15 (`html.parser`) and
 * markdownify 0.11.6.
 *
 * Total: markup for which the reference raises is read as text, and elements nested deeper than `maxDepth` lose their
 * tags. `convertHtml` says so instead.
 */
import { Result, Schema } from "effect"
import { writeMarkdown } from "./Markdown.ts"
import { strip } from "./PythonText.ts"
import { dropOpeningTags, dropSiteNoise } from "./SiteNoise.ts"
import { maxDepth, parseHtml, type Tree } from "./Tree.ts"

/** Markup that the reference refuses. `offset` is in UTF-16 units of the text without `div` and `span` tags. */
export class HtmlRejected extends Schema.TaggedError<HtmlRejected>()("HtmlRejected", {
  reason: Schema.Literals(["UnknownSection", "TooDeep"]),
  offset: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

const parse = (html: string): Tree => parseHtml(dropOpeningTags(dropOpeningTags(html, "div"), "span"))

const finish = (tree: Tree): string => dropSiteNoise(strip(writeMarkdown(tree)))

/**
 * Converts one turn. Never throws; see the header for what it does with markup that the reference refuses.
 *
 * Time is linear in the input for a bounded depth of nesting; output is at most a few times the input's size for each
 * level of lists and quotations.
 *
 * @example
 * ```ts
 * htmlToMarkdown("<p>A <b>kettle</b></p>") // "A **kettle**"
 * ```
 */
export const htmlToMarkdown = (html: string): string => finish(parse(html))

/**
 * Converts one turn, or fails with `HtmlRejected` where the reference drops the conversation or runs out of stack.
 *
 * @example
 * ```ts
 * convertHtml("<![foo bar]>") // Result.fail(HtmlRejected { reason: "UnknownSection" })
 * ```
 */
export const convertHtml = (html: string): Result.Result<string, HtmlRejected> => {
  const tree = parse(html)
  if (tree.rejected !== undefined) {
    return Result.fail(
      new HtmlRejected({
        reason: "UnknownSection",
        offset: tree.rejected.offset,
        message: `a marked section of unknown kind: ${JSON.stringify(tree.rejected.what)}`,
        hint: "Escape the `<` as `&lt;`, or use htmlToMarkdown, which reads it as text."
      })
    )
  }
  if (tree.tooDeep) {
    return Result.fail(
      new HtmlRejected({
        reason: "TooDeep",
        offset: 0,
        message: `elements are nested more than ${maxDepth} deep`,
        hint: "Such markup is nearly always damaged; htmlToMarkdown keeps its text and drops the innermost tags."
      })
    )
  }
  return Result.succeed(finish(tree))
}
