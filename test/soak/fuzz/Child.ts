/**
 * The process that takes the inputs: `Child.ts KIND SEED FROM TO FOLDER`.
 *
 * Says which input it is at in FOLDER/at before it takes it, so that whoever watches knows what it crashed or hung on,
 * and sends tallies as JSON lines.
 */
import { openSync, writeSync } from "node:fs"
import { setPriority } from "node:os"
import { join } from "node:path"
import { emptyTally, kinds, runInput } from "./Run.ts"

const [name, seed, from, to, folder] = process.argv.slice(2) as [string, string, string, string, string]
const kind = kinds.find((one) => one.name === name)
if (kind === undefined) throw new Error(`there is no kind ${name}`)
setPriority(10)

const at = openSync(join(folder, "at"), "w")
const number = Buffer.alloc(8)
const fuzzer = await kind.load(folder)
const send = (tally: ReturnType<typeof emptyTally>): void => {
  writeSync(1, `${JSON.stringify(tally)}\n`)
}
let tally = emptyTally()
for (let index = Number(from); index < Number(to); index++) {
  number.writeDoubleLE(index)
  writeSync(at, number, 0, 8, 0)
  await runInput(kind, fuzzer, seed, index, tally)
  if (tally.inputs === 200 || tally.failures.length > 0) {
    send(tally)
    tally = emptyTally()
  }
}
send(tally)
