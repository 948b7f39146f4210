/**
 * What a card can do at most, as its maker states it: dense products, and memory.
 *
 * Not measured. A card that is not listed has no hours and no MFU: it is said, and never guessed.
 *
 * Units: FLOP/s; `bf16` with float32 sums, `f32` without TF32, which libtorch leaves off. Memory in GiB as drivers show
 * it.
 */

export interface Card {
  /** What `--gpu` takes. */
  readonly name: string
  /** Part of the name that a driver reports. */
  readonly pattern: RegExp
  readonly bf16: number
  readonly f32: number
  readonly gib: number
}

/** The first that fits counts. */
export const cards: ReadonlyArray<Card> = [
  { name: "B200", pattern: /\bB200\b/, bf16: 2250e12, f32: 75e12, gib: 179 },
  { name: "GH200", pattern: /\bGH200\b/, bf16: 989e12, f32: 67e12, gib: 94 },
  { name: "H200-NVL", pattern: /\bH200\b.*\bNVL\b/, bf16: 835e12, f32: 60e12, gib: 139 },
  { name: "H200", pattern: /\bH200\b/, bf16: 989e12, f32: 67e12, gib: 139 },
  { name: "H100-NVL", pattern: /\bH100\b.*\bNVL\b/, bf16: 835e12, f32: 60e12, gib: 93 },
  { name: "H100-PCIe", pattern: /\bH100\b.*\bPCIe\b/, bf16: 756e12, f32: 51e12, gib: 79 },
  { name: "H100", pattern: /\bH100\b/, bf16: 989e12, f32: 67e12, gib: 79 },
  { name: "H800", pattern: /\bH800\b/, bf16: 989e12, f32: 67e12, gib: 79 },
  { name: "A100-40GB", pattern: /\bA100\b.*\b40GB\b/, bf16: 312e12, f32: 19.5e12, gib: 39 },
  { name: "A100-80GB", pattern: /\bA100\b/, bf16: 312e12, f32: 19.5e12, gib: 79 },
  { name: "A800", pattern: /\bA800\b/, bf16: 312e12, f32: 19.5e12, gib: 79 },
  { name: "L40S", pattern: /\bL40S\b/, bf16: 362e12, f32: 91.6e12, gib: 44 },
  { name: "L4", pattern: /\bL4\b/, bf16: 121e12, f32: 30.3e12, gib: 22 },
  { name: "A10", pattern: /\bA10\b/, bf16: 125e12, f32: 31.2e12, gib: 22 }
]

/** The card that a driver's name means. */
export const cardOf = (name: string): Card | undefined => cards.find(({ pattern }) => pattern.test(name))

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "")

/** The card that was typed: `--gpu a100-40gb`, or a driver's name. */
export const cardCalled = (name: string): Card | undefined =>
  cards.find((card) => plain(card.name) === plain(name)) ?? cardOf(name)
