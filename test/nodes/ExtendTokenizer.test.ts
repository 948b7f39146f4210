/** Control tokens are added at free ids; every other id stays. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { extendTokenizer } from "../../src/nodes/ExtendTokenizer.ts"
import { fromTokenizerJson, phi2 } from "../../src/text/Tokenizer.ts"

const into = mkdtempSync(join(tmpdir(), "millrace-extend-"))
const phi = join(into, "phi.json")
writeFileSync(phi, phi2().json())
const extend = (tokens: Record<string, number>) => Node.run(extendTokenizer, { tokenizer: phi }, { tokens }, { into })

it.effect("Phi-2's tokenizer gets <image> and <pad> in its free rows", () =>
  Effect.gen(function* () {
    const { out } = yield* extend({ "<pad>": 50296, "<image>": 50295 })
    const made = fromTokenizerJson(readFileSync(join(out.tokenizer, "tokenizer.json"), "utf8"))
    expect([made.tokenToId("<image>"), made.tokenToId("<pad>"), made.tokenToId("<|endoftext|>")]).toEqual([
      50295, 50296, 50256
    ])
    const text = "A red   circle\n\tleft of <image>, naïvely 🙂"
    expect(made.encode(text)).toEqual(phi2().encode(text))
  })
)

it.effect("a taken id is refused, and a token that is there already stays", () =>
  Effect.gen(function* () {
    expect((yield* Effect.flip(extend({ "<image>": 262 }))).message).toContain("262 is Ġthe")
    const { out } = yield* extend({ "<|endoftext|>": 50300 })
    const made = fromTokenizerJson(readFileSync(join(out.tokenizer, "tokenizer.json"), "utf8"))
    expect([made.tokenToId("<|endoftext|>"), made.idToToken(50300)]).toEqual([50256, undefined])
  })
)
