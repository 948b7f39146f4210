/** Conversations stay when their language is wanted; which one was found is the reason of a refusal. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { keepLanguages } from "../../src/nodes/KeepLanguages.ts"
import { conversation } from "./support.ts"

const rows = [
  conversation("english", [["How do I boil an egg?", "Put the egg into boiling water and wait for eight minutes."]]),
  conversation("german", [["Wie koche ich ein Ei?", "Leg das Ei in kochendes Wasser und warte acht Minuten lang."]]),
  conversation("french", [["Comment cuire un œuf ?", "Mettez l'œuf dans l'eau bouillante et attendez huit minutes."]])
]
const keep = (languages: ReadonlyArray<string>) => Node.run(keepLanguages, { rows }, { languages })

describe("keepLanguages", () => {
  it.effect("keeps one language, several, or all when none is named", () =>
    Effect.gen(function* () {
      const english = yield* keep(["en"])
      expect(english.out.rows.map(({ id }) => id)).toEqual(["english"])
      expect(english.refused.map(({ reason, row }) => [row, reason])).toEqual([
        [1, "OtherLanguage: de"],
        [2, "OtherLanguage: fr"]
      ])
      expect((yield* keep(["de", "fr"])).out.rows.map(({ id }) => id)).toEqual(["german", "french"])
      expect((yield* keep([])).out.rows).toEqual(rows)
    })
  )
})
