/**
 * Runs inputs of one kind in this process and counts what the reader said; a broken promise is kept with its number.
 *
 * Not a judge of hangs and crashes: those are seen by the process that started this one (`../fuzz.ts`).
 */
import { performance } from "node:perf_hooks"
import { arrowKind, imageKind, safetensorsKind, tarKind, zipKind } from "./FileKinds.ts"
import { demand, type Fuzzer, type Kind } from "./Kind.ts"
import { randomOf } from "./Random.ts"
import { htmlKind, jsonKind, tokenizerKind } from "./TextKinds.ts"
import { torchKind } from "./TorchKind.ts"

export const kinds: ReadonlyArray<Kind> = [
  jsonKind,
  htmlKind,
  tokenizerKind,
  zipKind,
  tarKind,
  imageKind,
  arrowKind,
  safetensorsKind,
  torchKind
]

export interface Failure {
  readonly index: number
  readonly message: string
}

/** What some inputs of a kind gave. Times in ms. */
export interface Tally {
  inputs: number
  said: Record<string, number>
  slowest: { ms: number; index: number }
  failures: Array<Failure>
}

export const emptyTally = (): Tally => ({ inputs: 0, said: {}, slowest: { ms: 0, index: 0 }, failures: [] })

export const addTally = (to: Tally, from: Tally): void => {
  to.inputs += from.inputs
  for (const [reason, count] of Object.entries(from.said)) to.said[reason] = (to.said[reason] ?? 0) + count
  if (from.slowest.ms > to.slowest.ms) to.slowest = from.slowest
  to.failures.push(...from.failures)
}

/** One input of a kind: always the same for the same seed and number. */
export const runInput = async (kind: Kind, fuzzer: Fuzzer<any>, seed: string, index: number, tally: Tally) => {
  const random = randomOf(seed, kind.name, index)
  const started = performance.now()
  try {
    const input: unknown = await fuzzer.input(random)
    const { output, said } = await fuzzer.check(input, random)
    const size = fuzzer.size(input)
    demand(output <= fuzzer.bound(size), `${output} bytes come out of ${size}`)
    tally.said[said] = (tally.said[said] ?? 0) + 1
  } catch (error) {
    tally.failures.push({ index, message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
  const ms = performance.now() - started
  if (ms > tally.slowest.ms) tally.slowest = { ms, index }
  tally.inputs++
}
