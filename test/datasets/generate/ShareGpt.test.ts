import { eld } from "eld/medium"
import { describe, expect, it } from "vitest"
import { rules } from "../../../datasets/generate/Dirt.ts"
import { shareGpt } from "../../../datasets/generate/ShareGpt.ts"

const part = shareGpt(0, new Set())
const noted = part.ledger.rules()
const rows = part.rows as ReadonlyArray<any>
const byId = Map.groupBy(rows, (row) => String(row.id))
const text = (row: any): string => (row.conversations ?? []).map((t: any) => t.value ?? "").join("\n")
const isDirty = new Set(Object.values(noted).flat())

describe("the ShareGPT rows", () => {
  it("break each rule at least three times, on rows of their own", () => {
    for (const rule of rules) {
      expect([rule.name, noted[rule.name]!.length]).toEqual([rule.name, rule.rows])
      expect(rule.rows).toBeGreaterThanOrEqual(3)
    }
  })

  it("are about 15 % in other languages", () => {
    const foreign = Object.entries(noted).filter(([rule]) => rule.startsWith("language-"))
    const share = foreign.reduce((sum, [, ids]) => sum + ids.length, 0) / rows.length
    expect(share).toBeGreaterThan(0.12)
    expect(share).toBeLessThan(0.18)
  })

  it("hold banned words, plugins and notices only where the ledger says so", () => {
    const ids = (test: (row: any) => boolean) =>
      rows
        .filter(test)
        .map((row) => row.id)
        .sort()
    const said = (...names: ReadonlyArray<string>) => names.flatMap((name) => noted[name]!).sort()
    expect(ids((row) => /openai|chatgpt/i.test(text(row)))).toEqual(said("banned-word-human", "banned-word-gpt"))
    expect(ids((row) => row.plugins != null)).toEqual(said("plugins"))
    expect(ids((row) => text(row).includes("Too many requests in 1 hour"))).toEqual(
      said("rate-limit-notice", "rate-limit-explained")
    )
    expect(ids((row) => /(\d)\1{8}/.test(text(row)))).toEqual(said("repeated-digit"))
    expect(ids((row) => /\n1\. [^2]*\n1\. /.test(text(row)))).toEqual(said("repeated-numbering"))
    expect(ids((row) => /<\|endoftext\|>|<image>/.test(text(row)))).toEqual(said("literal-special-token"))
  })

  it("repeat ids and first pairs exactly as often as the ledger says, after what they repeat", () => {
    const repeated = [...byId].filter(([, same]) => same.length > 1).map(([id]) => id)
    expect(repeated.sort()).toEqual([...noted["duplicate-id"]!].sort())
    const firsts = new Map<string, string>()
    const copies: Array<string> = []
    for (const row of rows) {
      // The first row of an id that occurs twice is a clean one; only the second is noted.
      const original = noted["duplicate-id"]!.includes(row.id) && byId.get(row.id)![0] === row
      if (isDirty.has(row.id) && !original && !noted["duplicate-first-pair"]!.includes(row.id)) continue
      const first = JSON.stringify(row.conversations.slice(0, 2).map((t: any) => t.value))
      if (firsts.has(first)) copies.push(row.id)
      else firsts.set(first, row.id)
    }
    expect(copies.sort()).toEqual([...noted["duplicate-first-pair"]!].sort())
  })

  it("alternate human and gpt in every row that is not dirty", () => {
    for (const row of rows) {
      if (isDirty.has(row.id)) continue
      expect(row.conversations.length % 2).toBe(0)
      const roles = row.conversations.map((turn: any) => turn.from)
      expect(roles).toEqual(roles.map((_: string, i: number) => (i % 2 === 0 ? "human" : "gpt")))
    }
  })

  it("mix served HTML, slim HTML and markdown", () => {
    const replies = rows.filter((row) => !isDirty.has(row.id)).map((row) => String(row.conversations[1].value))
    const share = (mark: (reply: string) => boolean) => replies.filter(mark).length / replies.length
    expect(share((r) => r.startsWith('<div class="markdown prose w-full'))).toBeGreaterThan(0.1)
    expect(share((r) => r.startsWith('<div class="markdown prose">'))).toBeGreaterThan(0.1)
    expect(share((r) => !r.includes("<div"))).toBeGreaterThan(0.4)
    expect(replies.some((r) => r.includes("Copy code"))).toBe(true)
  })

  it("are detected as the language that the ledger names, nearly always", async () => {
    let right = 0
    let all = 0
    for (const [rule, ids] of Object.entries(noted)) {
      if (!rule.startsWith("language-")) continue
      for (const id of ids) {
        all++
        const found = eld.detect(text(byId.get(id)![0]).replace(/<[^>]*>/g, " "))
        if (found.language === rule.slice("language-".length)) right++
      }
    }
    expect(right / all).toBeGreaterThan(0.95)
  })
})
