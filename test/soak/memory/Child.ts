/** One half of a row in a process of its own: `Child.ts NAME make|read FOLDER BYTES`; says what was read. */
import { memoryRows } from "./Rows.ts"

const [name, what, folder, bytes] = process.argv.slice(2) as [string, string, string, string]
const row = memoryRows.find((one) => one.name === name)
if (row === undefined) throw new Error(`there is no row ${name}`)
if (what === "make") await row.make(folder, Number(bytes))
else console.log(JSON.stringify(await row.read(folder)))
