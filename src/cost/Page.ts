/**
 * The cost of a plan as lines for people. Pure text from values. `~` marks what rests on published sizes or guesses.
 */
import { columns } from "../dag/Describe.ts"
import type { Written } from "./Disk.ts"
import { unfit, wasmUnfit } from "./Fit.ts"
import type { CardCost } from "./Hours.ts"
import { gib } from "./Memory.ts"
import type { StageCost } from "./Stages.ts"

export interface Costed {
  readonly engine: string
  readonly engineWhy: string | undefined
  readonly world: number
  readonly mfu: number
  readonly mfuGiven: boolean
  readonly stages: ReadonlyArray<StageCost>
  readonly written: ReadonlyArray<Written>
  readonly cards: ReadonlyArray<CardCost>
  /** What the recipe's authors report, in words. */
  readonly reported: string | undefined
}

const number = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

/** `194.1 M`, `51,234`. */
const large = (n: number): string =>
  n >= 1e9 ? `${(n / 1e9).toFixed(2)} G` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : number(n)

const peta = (flops: number): string => {
  const n = flops / 1e15
  if (n === 0) return "0"
  return n >= 100 ? number(n) : n >= 0.01 ? n.toPrecision(3) : n.toExponential(1)
}

const memory = (bytes: number): string => {
  const n = gib(bytes)
  return n >= 1 ? `${n.toFixed(1)} GiB` : `${(n * 1024).toFixed(n * 1024 < 10 ? 1 : 0)} MiB`
}

const hours = (n: number): string => (n >= 10 ? n.toFixed(0) : n >= 0.1 ? n.toFixed(1) : n.toPrecision(1))

const marked = (stage: StageCost, text: string): string =>
  stage.amount.known ? (stage.amount.exact ? text : `~${text}`) : "?"

const stageTable = (stages: ReadonlyArray<StageCost>): ReadonlyArray<string> =>
  columns([
    ["stage", "trains", "rows", "tokens", "with loss", "steps", "PFLOP", "recomputed", "memory a device"],
    ...stages.map((stage) => {
      const { amount, cached, executed, flops, memory: held, node, weights } = stage
      return [
        cached ? `${node.id} (cached)` : node.id,
        large(weights.trained),
        marked(stage, number(amount.rows)),
        marked(stage, large(amount.tokens)),
        marked(stage, large(amount.labels)),
        marked(stage, number(amount.steps)),
        marked(stage, peta(flops)),
        amount.known ? `+${(100 * (flops === 0 ? 0 : executed / flops - 1)).toFixed(0)} %` : "?",
        `~${memory(held.bytes)}`
      ]
    })
  ]).split("\n")

/** Terms that are shown; the rest is one sum. */
const SHOWN = 5

const memoryLines = (stages: ReadonlyArray<StageCost>): ReadonlyArray<string> =>
  stages.map(({ amount, memory: held, node, settings }) => {
    const sorted = held.terms.toSorted((a, b) => b.bytes - a.bytes)
    const rest = sorted.slice(SHOWN).reduce((sum, { bytes }) => sum + bytes, 0)
    const terms = sorted.slice(0, SHOWN).map(({ bytes, guess, name }) => `${name} ${guess ? "~" : ""}${memory(bytes)}`)
    if (rest > 0) terms.push(`the rest ~${memory(rest)}`)
    const { recompute } = settings
    const again = recompute === true ? "all blocks" : recompute === false ? "nothing" : `every ${recompute}. block`
    return `  ${node.id}: ${terms.join(", ")} (${amount.micro.rows} x ${number(amount.micro.time)} tokens at once, ${again} computed again)`
  })

const cardTable = ({ cards, stages: costs, world }: Costed): ReadonlyArray<string> => {
  const unknown = new Set(costs.flatMap(({ amount, node }) => (amount.known ? [] : [node.id])))
  /** A sum that some stage is missing from is reported as a bound, one of nothing not at all. */
  const summed = (text: string) => (unknown.size === 0 ? `~${text}` : unknown.size === costs.length ? "?" : `> ${text}`)
  return columns([
    ["card", ...(cards[0]?.stages.map(({ node }) => node) ?? []), "all", ...(world > 1 ? ["card-hours"] : []), "fits"],
    ...cards.map(({ card, cardHours, fits, hours: all, stages }) => [
      world > 1 ? `${world} x ${card.name}` : card.name,
      ...stages.map((stage) => (unknown.has(stage.node) ? "?" : `~${hours(stage.hours)} h`)),
      summed(`${hours(all)} h`),
      ...(world > 1 ? [summed(hours(cardHours))] : []),
      fits
        ? "yes"
        : `not ${stages
            .filter((one) => !one.fits)
            .map(({ node }) => node)
            .join(", ")}`
    ])
  ]).split("\n")
}

const diskLines = ({ written }: Costed): ReadonlyArray<string> => {
  const sum = (some: ReadonlyArray<Written>) => some.reduce((all, { bytes }) => all + bytes, 0)
  const kinds = ["pixels", "features", "tokens", "model", "export", "checkpoints"] as const
  const parts = kinds
    .map((what) => ({ what, bytes: sum(written.filter((one) => one.what === what)) }))
    .filter(({ bytes }) => bytes > 0)
    .map(({ bytes, what }) => {
      const name =
        what === "model" ? "models, f32" : what === "checkpoints" ? "checkpoints until their stage ends" : what
      return `${name} ${memory(bytes)}`
    })
  const most = Math.max(0, ...written.filter(({ passing }) => passing).map(({ bytes }) => bytes))
  const stays = sum(written.filter(({ passing }) => !passing))
  return [`Disk: ~${memory(stays)} that stay, ~${memory(stays + most)} at most: ${parts.join(", ")}`]
}

/** The page: stages, memory, disk, hours, what does not fit, and what all of it rests on. */
export const page = (costed: Costed): ReadonlyArray<string> => {
  const { cards, engine, engineWhy, mfu, mfuGiven, reported, stages, world } = costed
  const misfits =
    engine === "wasm"
      ? stages.map(wasmUnfit)
      : cards.flatMap(({ card }) => stages.map((stage) => unfit(stage, card.name, card.gib * 2 ** 30)))
  const said = misfits.filter((line) => line !== undefined)
  const devices = `${world} device${world === 1 ? "" : "s"}`
  const most = Math.max(0, ...stages.map(({ weights }) => 12 * weights.trained))
  return [
    `What it will cost with ${engine}${engineWhy === undefined ? "" : ` (${engineWhy})`} on ${devices}; ~ is computed from published sizes or rests on a guess${stages.every(({ amount }) => amount.known) ? "" : ", ? is not known before its data is in the store"}`,
    ...stageTable(stages),
    "Memory of a device:",
    ...memoryLines(stages),
    `Memory of the host: ${memory(most)} at least while a checkpoint is saved`,
    ...diskLines(costed),
    ...(cards.length === 0
      ? ["Hours: none, this engine computes on no GPU"]
      : [
          `Hours, if a GPU reaches ${(100 * mfu).toFixed(0)} % of its peak in products, recomputed ones among them${mfuGiven ? "" : " (a guess: public runs of 2.65 to 8 billion weights report 33 to 62 %; --mfu says another)"}:`,
          ...cardTable(costed)
        ]),
    ...said,
    ...(reported === undefined ? [] : [reported]),
    "Counted from:",
    ...stages.map(({ amount, node, shapes }) => `  ${node.id}: ${amount.source}; ${shapes}`)
  ]
}
