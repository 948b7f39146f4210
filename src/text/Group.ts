/**
 * Which rows belong together: parts of one conversation, or rows about one image. A group lies on one side of every
 * split.
 *
 * Not a guess from a row's text: the data set says how its ids are made (`group` in `datasets/`), and the reader's
 * parameter of that name repeats it. Groups are compared as text.
 */
import { posix } from "node:path"
import { Schema } from "effect"

/**
 * What a row's group is.
 *
 * `sharegpt`: an id of ShareGPT is seven letters or digits; FastChat's split puts `_` and the number of the part's
 * first turn behind it (`wgByO4Y_0`, `wgByO4Y_8`), once more for each time that a file is split (`wgByO4Y_8_0`). Other
 * ids stand for themselves. `part`: any id may end in `_` and such a number. `id`: each id is a conversation of its
 * own, whatever it looks like. `{ field }`: that field of the row, text or a number.
 */
export const GroupRule = Schema.Union([
  Schema.Literals(["sharegpt", "part", "id"]),
  Schema.Struct({ field: Schema.NonEmptyString })
])
export type GroupRule = typeof GroupRule.Type

/** A rule that needs the id alone. */
export type IdRule = Extract<GroupRule, string>

const PART: Readonly<Record<IdRule, RegExp | undefined>> = {
  sharegpt: /^([A-Za-z0-9]{7})(?:_\d+)+$/,
  part: /^(.+)_\d+$/s,
  id: undefined
}

/**
 * The group that an id names.
 *
 * Source: `make_sample` of FastChat's `split_long_conversation.py` writes `{id}_{first turn}`.
 *
 * @example
 * ```ts
 * groupOfId("wgByO4Y_8", "sharegpt") // "wgByO4Y"
 * groupOfId("wgByO4Y_8_4", "sharegpt") // "wgByO4Y"
 * groupOfId("text_8", "sharegpt") // "text_8"
 * ```
 */
export const groupOfId = (id: string, rule: IdRule): string => PART[rule]?.exec(id)?.[1] ?? id

/**
 * The group of a conversation: what its reader said, else what its id says by ShareGPT's rule.
 *
 * @example
 * ```ts
 * groupOf({ id: "wgByO4Y_8" }) // "wgByO4Y"
 * ```
 */
export const groupOf = (row: { readonly id: string; readonly group?: string | undefined }): string =>
  row.group ?? groupOfId(row.id, "sharegpt")

/**
 * A group as a row carries it: left out where its id says the same, so that most rows stay as they were read.
 *
 * @example
 * ```ts
 * groupField("wgByO4Y_8", "wgByO4Y") // {}
 * groupField("text_8", "text") // { group: "text" }
 * ```
 */
export const groupField = (id: string, group: string): { readonly group?: string } =>
  groupOf({ id }) === group ? {} : { group }

/**
 * The group of a row about an image: the image, so that no image is on both sides. `./a.jpg` and `a.jpg` are one.
 *
 * @example
 * ```ts
 * groupOfImage("./coco/train2017/000000033471.jpg") // "coco/train2017/000000033471.jpg"
 * ```
 */
export const groupOfImage = (image: string): string => posix.normalize(image)
