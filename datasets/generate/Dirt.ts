/**
 * Damages conversations as real ones are damaged: one named rule each, recorded in the ledger.
 *
 * Not image damage (`Pictures` does that). The rules are those of FastChat's cleaner and the issues its users filed.
 */

import { toHtml, toSlimHtml } from "./Markup.ts"
import type { Dice } from "./Random.ts"
import { generalTalk, reply, type Talk, type Turn } from "./Talk.ts"
import { topics } from "./Topics.ts"

/** A row as it stands in the file: a broken one need not hold to the schema. */
export interface RawRow {
  id?: unknown
  conversations?: unknown
  model?: string
  plugins?: ReadonlyArray<string> | null
}

export interface Rule {
  readonly name: string
  /** What a cleaner is expected to do with the row. */
  readonly fate: "dropped" | "kept" | "repaired" | "truncated" | "split" | "refused"
  readonly rows: number
  /** Makes the broken row from a clean talk; `turns` is fresh and may be changed. */
  readonly make: (dice: Dice, id: string, talk: Talk) => RawRow
}

const edited =
  (pairs: number, edit: (turns: Array<Turn>, dice: Dice) => void) =>
  (dice: Dice, id: string): RawRow => {
    const { turns } = generalTalk(dice, pairs, true)
    edit(turns, dice)
    return { id, conversations: turns }
  }

const prefixed = (make: (dice: Dice) => string) =>
  edited(2, (turns, dice) => {
    turns[1]!.value = `${make(dice)}${turns[1]!.value}`
  })

const emptyFence =
  '<pre><div class="bg-black mb-4 rounded-md"><button class="flex ml-auto gap-2">Copy code</button>' +
  '<div class="p-4 overflow-y-auto"><code class="!whitespace-pre hljs"></code></div></div></pre>'

const notice = "Too many requests in 1 hour. Try again later."
/** The site's notice in the forms that it was scraped in. */
const notices = [
  notice,
  `!${notice}`,
  toHtml([{ kind: "paragraph", line: [notice] }]),
  toHtml([{ kind: "paragraph", line: [`!${notice}`] }]),
  toSlimHtml(notice)
]

const longReply = (dice: Dice): string => {
  const blocks = Array.from({ length: 28 }, () => reply(dice, dice.pick(topics))).flat()
  return toHtml(blocks)
}

/** The rules, each with the number of rows it breaks (three or more). */
export const rules: ReadonlyArray<Rule> = [
  { name: "no-turns", fate: "dropped", rows: 3, make: (_, id) => ({ id, conversations: [] }) },
  { name: "one-turn", fate: "dropped", rows: 5, make: edited(1, (turns) => void turns.pop()) },
  {
    name: "only-gpt",
    fate: "dropped",
    rows: 3,
    make: edited(1, (turns) => void turns.splice(0, 1, { from: "gpt", value: "Hello. What shall we do today?" }))
  },
  {
    name: "leading-gpt",
    fate: "repaired",
    rows: 6,
    make: edited(2, (turns) => void turns.unshift({ from: "gpt", value: "Hello, what shall we do?" }))
  },
  {
    name: "leading-system",
    fate: "repaired",
    rows: 3,
    make: edited(2, (turns) => void turns.unshift({ from: "system", value: "Answer in short sentences." }))
  },
  {
    name: "trailing-human",
    fate: "repaired",
    rows: 8,
    make: edited(2, (turns) => void turns.push({ from: "human", value: "thanks" }))
  },
  {
    name: "roles-do-not-alternate",
    fate: "dropped",
    rows: 6,
    make: edited(3, (turns, dice) => void turns.splice(2, 1, { from: "gpt", value: dice.pick(topics).sentences[0]! }))
  },
  {
    name: "banned-word-human",
    fate: "dropped",
    rows: 5,
    make: edited(2, (turns) => {
      turns[0]!.value = `Are you from OpenAI? ${turns[0]!.value}`
    })
  },
  {
    name: "banned-word-gpt",
    fate: "dropped",
    rows: 5,
    make: edited(2, (turns) => {
      turns[3]!.value = turns[3]!.value.replace("<p>", "<p>As ChatGPT, I have no garden. ")
    })
  },
  {
    name: "rate-limit-notice",
    fate: "dropped",
    rows: 8,
    make: edited(2, (turns, dice) => {
      turns[3]!.value = dice.pick(notices)
    })
  },
  {
    name: "rate-limit-explained",
    fate: "kept",
    rows: 3,
    make: edited(2, (turns) => {
      turns[2]!.value = "What does the message about too many requests mean?"
      turns[3]!.value = "<p>Too many requests in 1 hour. Try again later, or slow down: the site counts them.</p>"
    })
  },
  {
    name: "plugins",
    fate: "dropped",
    rows: 4,
    make: (dice, id, talk) => ({ id, conversations: talk.turns, plugins: [dice.pick(["browser", "calculator"])] })
  },
  {
    name: "empty-value",
    fate: "truncated",
    rows: 6,
    make: edited(3, (turns, dice) => {
      turns[dice.pick([2, 3, 4])]!.value = ""
    })
  },
  {
    name: "unprintable-start",
    fate: "truncated",
    rows: 4,
    make: edited(3, (turns, dice) => {
      turns[3]!.value = `${dice.pick(["\u0007", "\u200b", "\ue000"])}${turns[3]!.value}`
    })
  },
  {
    name: "too-short",
    fate: "dropped",
    rows: 5,
    make: (dice, id) => ({
      id,
      conversations: [
        { from: "human", value: dice.pick(["hi", "hello", "test"]) },
        { from: "gpt", value: dice.pick(["<p>yo</p>", "Hi!", "ok"]) }
      ]
    })
  },
  {
    name: "repeated-numbering",
    fate: "dropped",
    rows: 4,
    make: (dice, id) => {
      const { turns } = generalTalk(dice, 2, false)
      turns[1]!.value =
        "Here is the plan:\n1. Weigh the flour\n1. Add the water\n1. Wait until it has risen\n\nThen bake."
      return { id, conversations: turns }
    }
  },
  {
    name: "repeated-digit",
    fate: "dropped",
    rows: 4,
    make: edited(2, (turns, dice) => {
      turns[0]!.value += ` My ticket number is 4${String(dice.range(0, 9)).repeat(9)}1.`
    })
  },
  {
    name: "literal-special-token",
    fate: "repaired",
    rows: 6,
    make: edited(2, (turns, dice) => {
      const token = dice.pick(["<|endoftext|>", "<image>"])
      turns[2]!.value = `What does ${token} mean in a text file?`
      turns[3]!.value = `<p>${token.replaceAll("<", "&lt;").replaceAll(">", "&gt;")} is a marker, not a word.</p>`
    })
  },
  {
    name: "page-counter",
    fate: "repaired",
    rows: 6,
    make: prefixed((dice) => `${dice.range(1, 2)} / ${dice.range(2, 3)}`)
  },
  {
    name: "copy-notice",
    fate: "repaired",
    rows: 5,
    make: prefixed((dice) => `Copy${dice.range(40, 900)} chars / ${dice.range(8, 150)} words`)
  },
  { name: "empty-code-fence", fate: "repaired", rows: 4, make: prefixed(() => emptyFence) },
  {
    name: "human-code",
    fate: "repaired",
    rows: 6,
    make: edited(2, (turns, dice) => {
      turns[0]!.value = dice.pick([
        "What does this do?\nfor(i=0;i<n;i++){ s += v[i]; }",
        "Is std::map<int, std::string> sorted?",
        "Why is a < b && c > d false here?\n\tif (a<b && c>d) x[i] = '*';"
      ])
    })
  },
  {
    name: "over-long-conversation",
    fate: "split",
    rows: 3,
    make: (dice, id) => ({ id, conversations: generalTalk(dice, dice.range(24, 28), true).turns })
  },
  {
    name: "over-long-pair",
    fate: "refused",
    rows: 3,
    make: edited(3, (turns, dice) => {
      turns[3]!.value = longReply(dice)
    })
  },
  { name: "missing-conversations", fate: "refused", rows: 3, make: (_, id) => ({ id }) },
  {
    name: "value-not-text",
    fate: "refused",
    rows: 3,
    make: (_, id, talk) => ({ id, conversations: talk.turns.map((t, i) => (i === 1 ? { ...t, value: null } : t)) })
  }
]
