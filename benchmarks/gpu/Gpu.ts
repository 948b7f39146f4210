/**
 * What the rows of `bench -- gpu` share: the device that was asked for, the peer's process, and engines that fit.
 *
 * Not a row. `cuda` without a card is a row that failed, and never a quiet run on the CPU.
 */
import { spawnSync } from "node:child_process"
import { availableParallelism } from "node:os"
import { OutOfMemory } from "../../src/tensor/Errors.ts"
import { deviceType } from "../../src/tensor/torch/Addon.ts"
import { type PythonPeer, withPython } from "../Python.ts"
import { type Benchmark, type Context, PeerMissing } from "../Row.ts"
import { cardText, peakOf } from "./Card.ts"
import { paper, type Sizes, tiny } from "./Sizes.ts"

export type Device = "cpu" | "cuda"

/** A run of the suite. */
export interface Gpu {
  readonly device: Device
  readonly sizes: Sizes
  /** Goals are for the paper's sizes on a GPU; otherwise figures are printed without a verdict. */
  readonly judged: boolean
  /** The card's name and most FLOP/s, asked once. */
  readonly card: (context: Context) => Promise<Card>
}

export interface Card {
  readonly text: string
  readonly name: string | null
  readonly peak: number | undefined
}

/** Threads of the CPU for either side. */
export const threads = (): number => availableParallelism()

/** Runs `use` beside the peer's process. */
export const withPeer = <A>(context: Context, use: (peer: PythonPeer) => Promise<A>): Promise<A> =>
  withPython(context.python, "../peer_pytorch.py", use, "torch and transformers")

/** Runs `make` once; the rows that need its result share it, and its failure. */
export const once = <A>(make: (context: Context) => Promise<A>): ((context: Context) => Promise<A>) => {
  let made: Promise<A> | undefined
  return (context) => {
    made ??= make(context)
    return made
  }
}

const cardOf = (name: string | null, bytes: number): Card => ({
  name,
  text: cardText(name, bytes),
  peak: peakOf(name)
})

/** Without a peer the driver knows the name as well. */
const fromDriver = (): Card => {
  const query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
  const { stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8" })
  const [name, mebibytes] = stdout?.split("\n")[0]?.split(", ") ?? []
  return name ? cardOf(name, Number(mebibytes) * 2 ** 20) : cardOf(null, 0)
}

export const openGpu = (device: Device, size: "tiny" | "paper"): Gpu => {
  // Known to libtorch and to the peer: nothing of either touches a card.
  if (device === "cpu") process.env["CUDA_VISIBLE_DEVICES"] = ""
  return {
    device,
    sizes: size === "tiny" ? tiny : paper,
    judged: device === "cuda" && size === "paper",
    card: once(async (context) => {
      if (device === "cpu") return cardOf(null, 0)
      return await withPeer(context, async (peer) => {
        const { bytes, name } = await peer.ask({ do: "card" })
        return cardOf(typeof name === "string" ? name : null, Number(bytes))
      }).catch(fromDriver)
    })
  }
}

/** A row that needs the device it was asked for. */
export const onDevice = (gpu: Gpu, row: Benchmark): Benchmark => ({
  ...row,
  run: async (context) => {
    if (gpu.device === "cuda" && deviceType() !== "cuda")
      throw new PeerMissing({
        what: "a GPU that libtorch computes on",
        message: "the addon is built over a libtorch without CUDA, or there is no driver",
        hint: "Build the addon over a libtorch with CUDA (`npm run build:torch`), or walk through it with --device cpu --size tiny."
      })
    return await row.run(context)
  }
})

/** The first attempt that does not run out of memory, with what it gave. */
export const firstThatFits = async <T, A>(
  { say }: Pick<Context, "say">,
  attempts: ReadonlyArray<T>,
  run: (attempt: T) => Promise<A>
): Promise<readonly [T, A]> => {
  let last: unknown
  for (const attempt of attempts) {
    try {
      return [attempt, await run(attempt)]
    } catch (cause) {
      if (!(cause instanceof OutOfMemory)) throw cause
      say(`${JSON.stringify(attempt)} does not fit the memory`)
      last = cause
    }
  }
  throw last
}
