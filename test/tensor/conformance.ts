/**
 * Runs TF.js's own test suite on an engine, and fails when a spec fails that has no reason to.
 *
 *     npm run conformance                      our wasm kernels against the stock backend: what stock passes, ours passes
 *     npm run conformance -- --engine torch    the torch engine; kernels that are left out fail for their reason
 *     npm run conformance -- --only '^gather'  specs whose names match
 *
 * Not part of `npm test`, which runs the specs of what models use: it changes only with the kernels or the packages.
 */
import { parseArgs } from "node:util"
import { absent } from "../../src/tensor/torch/Absent.ts"
import { runSuite, type Specs } from "./conformanceSuite.ts"
import { knownOnTorch, reasonOnTorch } from "./torch/knownFailures.ts"

const { values } = parseArgs({
  options: { engine: { type: "string", default: "wasm" }, only: { type: "string", default: ".*" } }
})
const only = new RegExp(values.only)
const count = (n: number): string => n.toLocaleString("en")
const having = (specs: Specs, status: string): number =>
  Object.values(specs).filter((spec) => spec.status === status).length

const onWasm = async (): Promise<number> => {
  const { stock, wasm } = await runSuite(["stock", "wasm"], only)
  const names = Object.keys(wasm)
  const lost = names.filter((name) => wasm[name]!.status === "failed" && stock[name]?.status === "passed")
  const won = names.filter((name) => wasm[name]!.status === "passed" && stock[name]?.status === "failed")
  for (const name of lost) console.log(`LOST ${name}: ${wasm[name]!.message}`)
  console.log(
    `${count(names.length)} specs: stock passes ${count(having(stock, "passed"))}, ours ${count(having(wasm, "passed"))}; ours alone ${count(won.length)}, stock alone ${count(lost.length)}`
  )
  return lost.length
}

const onTorch = async (): Promise<number> => {
  const { torch } = await runSuite(["torch"], only)
  const reasons = new Map<string, number>()
  let unknown = 0
  for (const [name, { message, status }] of Object.entries(torch)) {
    if (status !== "failed") continue
    const reason = reasonOnTorch(name, message ?? "")
    if (reason === undefined) {
      unknown++
      console.log(`FAILED ${name}: ${message}`)
    } else reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  for (const [reason, n] of [...reasons].toSorted(([, a], [, b]) => b - a)) console.log(`${count(n)} fail: ${reason}`)
  for (const name of Object.keys(knownOnTorch))
    if (torch[name]?.status === "passed") console.log(`${name} passes: take it off the list`)
  const kernels = absent.reduce((sum, one) => sum + one.kernels.length, 0)
  const known = having(torch, "failed") - unknown
  console.log(
    `${count(Object.keys(torch).length)} specs: ${count(having(torch, "passed"))} pass, ${count(known)} fail for ${reasons.size} stated reasons (${kernels} kernels are left out), ${count(having(torch, "pending"))} are pending, ${count(unknown)} fail`
  )
  return unknown
}

const engines: Readonly<Record<string, () => Promise<number>>> = { wasm: onWasm, torch: onTorch }
const run = engines[values.engine]
if (run === undefined) {
  console.error(`there is no suite for ${values.engine}: --engine is ${Object.keys(engines).join(" or ")}`)
  process.exitCode = 2
} else if ((await run()) > 0) process.exitCode = 1
