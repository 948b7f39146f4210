/** The process that one bomb goes off in: `BombChild.ts NAME`; says what the reader answered. */
import { bombs } from "./Bombs.ts"

const bomb = bombs.find(({ name }) => name === process.argv[2])
if (bomb === undefined) throw new Error(`there is no bomb ${process.argv[2]}`)
console.log(await bomb.run())
