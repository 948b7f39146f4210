/**
 * Yes and no are counted as in the published scripts, and other answers are counted visibly.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { isYes, yesNo } from "../../src/nodes/YesNo.ts"

/** Pieces that answers are made of, with everything the rule looks at. */
const piece = Schema.Literals([
  ...(["No", "no", "NO", "not", "Not", "Yes", "yes", "none", "nothing", "is", "there"] as const),
  ...([",", ".", ". ", "\n", " ", "no,", "no.", "No!"] as const)
])
const answers = Arbitrary.map(Arbitrary.array(Arbitrary.schema(piece), { maxLength: 8 }), (pieces) => pieces.join(" "))
const rows = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.all([
      answers,
      Arbitrary.schema(Schema.NullOr(Schema.Literals(["yes", "no", "Yes.", "NO", "maybe", ""]))),
      Arbitrary.schema(Schema.Literals(["random", "popular"]))
    ]),
    { maxLength: 24 }
  ),
  (all) =>
    all.map(([answer, truth, category], i) => ({
      id: String(i),
      image: "p.png",
      question: "Is there a cup?",
      answer,
      truth,
      category,
      blind: null
    }))
)

/** The published rule, a step after the other. */
const slowlyYes = (answer: string): boolean => {
  let text = answer
  const stop = text.indexOf(".")
  if (stop !== -1) text = text.slice(0, stop)
  let without = ""
  for (const letter of text) if (letter !== ",") without += letter
  let word = ""
  for (const letter of `${without} `) {
    if (letter !== " ") {
      word += letter
      continue
    }
    if (word === "No" || word === "not" || word === "no") return false
    word = ""
  }
  return true
}

/** The published figures, from four counts; null where the script would divide by zero. */
const slowly = (judged: ReadonlyArray<readonly [said: boolean, truth: boolean]>) => {
  let [tp, fp, tn, fn] = [0, 0, 0, 0]
  for (const [said, truth] of judged)
    if (said && truth) tp++
    else if (said) fp++
    else if (!truth) tn++
    else fn++
  const precision = tp + fp === 0 ? null : tp / (tp + fp)
  const recall = tp + fn === 0 ? null : tp / (tp + fn)
  return {
    questions: judged.length,
    truePositives: tp,
    falsePositives: fp,
    trueNegatives: tn,
    falseNegatives: fn,
    accuracy: (tp + tn) / (tp + tn + fp + fn),
    precision,
    recall,
    f1: precision === null || recall === null || tp === 0 ? null : (2 * precision * recall) / (precision + recall),
    yesRatio: judged.filter(([said]) => said).length / judged.length
  }
}

describe("yesNo", () => {
  it.prop("an answer is no where the published rule finds one", [answers], ([answer]) => {
    expect(isYes(answer)).toBe(slowlyYes(answer))
  })

  it("knows the answers that models give", () => {
    for (const answer of ["Yes", "Yes, there is.", "", "There is none.", "NO", "Yes. There is no cup."])
      expect([answer, isYes(answer)]).toEqual([answer, true])
    for (const answer of ["No", "No.", "No, there is no cup.", "There is not.", "There is no cup in it. Yes."])
      expect([answer, isYes(answer)]).toEqual([answer, false])
  })

  it.effect.prop("gives the published figures, in all and by category, and refuses other truths", [rows], ([rows]) =>
    Effect.gen(function* () {
      const truths = { yes: true, "Yes.": true, no: false, NO: false } as Readonly<Record<string, boolean>>
      const known = rows.flatMap((row) => {
        const truth = truths[row.truth ?? ""]
        return truth === undefined ? [] : [{ ...row, judged: [slowlyYes(row.answer), truth] as const }]
      })
      const ran = Node.run(yesNo, { rows }, {})
      if (known.length === 0) return expect((yield* Effect.flip(ran))._tag).toBe("NothingToScore")
      const { out, refused } = yield* ran
      expect(refused.map(({ row }) => String(row))).toEqual(
        rows.flatMap(({ id }) => (known.some((one) => one.id === id) ? [] : [id]))
      )
      for (const { error, reason, row } of refused) {
        expect(reason).toBe("NotYesNo")
        expect(error).toMatchObject({ truth: rows[row]!.truth })
      }
      const { all, byCategory } = out.report
      expect(all).toMatchObject(slowly(known.map(({ judged }) => judged)))
      for (const category of ["random", "popular"]) {
        const some = known.filter((row) => row.category === category)
        if (some.length === 0) expect(Object.keys(byCategory)).not.toContain(category)
        else expect(byCategory[category]).toMatchObject(slowly(some.map(({ judged }) => judged)))
      }
      const said = (row: (typeof known)[number]) => row.answer.toLowerCase().split(/[^a-z]+/)
      expect(all.neither).toBe(
        known.filter((row) => !said(row).some((word) => ["yes", "no", "not"].includes(word))).length
      )
    })
  )
})
