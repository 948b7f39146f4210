/**
 * Phi-2's tokenizer on one thread, against native `tokenizers` given the very tokenizer.json that ours writes.
 *
 * Every round takes the next stretch of text, so neither side meets a text twice and both caches are as warm as in a
 * run. Native calls are one a batch of messages: what a call costs to cross from JavaScript is not what is compared.
 */
import { phi2 } from "../../src/text/Tokenizer.ts"
import { messages } from "../generate/ShareGpt.ts"
import { npmPeer } from "../Npm.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark } from "../Row.ts"

const ROUNDS = 6
const BATCH = 256

export const tokenizer: Benchmark = {
  name: "tokenizer",
  about: "Phi-2's tokenizer, one thread",
  unit: "MB/s",
  better: "more",
  goal: 3,
  peerName: "tokenizers (native)",
  run: async (context) => {
    // Read when the library first makes its threads: one, as ours.
    process.env["TOKENIZERS_PARALLELISM"] = "false"
    process.env["RAYON_NUM_THREADS"] = "1"
    const { Tokenizer } = await npmPeer("tokenizers", () => import("tokenizers"))
    const ours = phi2()
    const native = Tokenizer.fromString(ours.json())
    const bytes = context.size === "quick" ? 6e6 : 24e6
    const texts = messages(0, bytes)
    // A stretch for the round that warms up, and one for each that counts.
    const step = Math.floor(texts.length / (ROUNDS + 1))
    const stretch = (round: number) => texts.slice((round + 1) * step, (round + 2) * step)
    const megabytes = (round: number): number =>
      stretch(round).reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6
    const encodeNative = async (part: ReadonlyArray<string>): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
      const out: Array<ReadonlyArray<number>> = []
      for (let at = 0; at < part.length; at += BATCH) {
        const made = await native.encodeBatch(part.slice(at, at + BATCH), { addSpecialTokens: false })
        for (const encoding of made) out.push(encoding.getIds())
      }
      return out
    }
    const encodeOurs = (part: ReadonlyArray<string>): void => {
      for (const text of part) ours.encode(text)
    }
    const figures = await interleave(
      { rounds: ROUNDS, better: "more", repeat: false },
      async (round) => megabytes(round) / (await seconds(() => encodeOurs(stretch(round)))),
      async (round) => megabytes(round) / (await seconds(() => encodeNative(stretch(round))))
    )
    const theirs = await encodeNative(texts)
    const different = texts.filter((text, i) => {
      const [a, b] = [ours.encode(text), theirs[i]!]
      return a.length !== b.length || a.some((id, at) => id !== b[at])
    }).length
    const note = `${(bytes / 1e6).toFixed(0)} MB in ${texts.length} messages, ids equal`
    return { ...figures, note, wrong: different === 0 ? undefined : `ids of ${different} of ${texts.length} messages` }
  }
}
