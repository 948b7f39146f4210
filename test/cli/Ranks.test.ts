/** Which process of a run this one is: from the command line, from a launcher's environment, and what does not fit. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkDistributed, rankAddressOf, withoutNproc } from "../../src/cli/Ranks.ts"
import { isToken } from "../../src/run/Handshake.ts"

const token = "c2VjcmV0IG9mIGFsbCByYW5rcw"
const launched = { MILLRACE_RANKS: token, RANK: "2", WORLD_SIZE: "4", MASTER_ADDR: "node-0", MASTER_PORT: "29500" }

describe("a process's place", () => {
  it.effect("is nowhere in a run of one process", () =>
    Effect.gen(function* () {
      expect(yield* rankAddressOf(undefined, {})).toBe(undefined)
      expect(yield* rankAddressOf(1, {})).toBe(undefined)
      expect(yield* rankAddressOf(undefined, { WORLD_SIZE: "1" })).toBe(undefined)
    })
  )

  it.effect("under --nproc is rank 0, on this machine alone, with a word that others do not know", () =>
    Effect.gen(function* () {
      const address = yield* rankAddressOf(3, {})
      expect(address).toMatchObject({ rank: 0, world: 3, host: "127.0.0.1", port: 0, store: undefined })
      expect(isToken(address!.token)).toBe(true)
      expect(Buffer.from(address!.token, "base64url").length).toBe(32)
      expect((yield* rankAddressOf(3, {}))!.token).not.toBe(address!.token)
    })
  )

  it.effect("under a launcher is what it says; torchrun's agent keeps the port itself", () =>
    Effect.gen(function* () {
      const address = { rank: 2, world: 4, host: "node-0", port: 29_500, store: undefined, listen: undefined, token }
      expect(yield* rankAddressOf(undefined, launched)).toEqual(address)
      expect(yield* rankAddressOf(4, launched)).toEqual(address)
      expect(yield* rankAddressOf(undefined, { ...launched, TORCHELASTIC_USE_AGENT_STORE: "True" })).toEqual({
        ...address,
        port: 29_501,
        store: 29_500
      })
    })
  )

  const slurm = { SLURM_PROCID: "2", SLURM_NTASKS: "4", SLURM_LOCALID: "0", SLURM_STEP_ID: "0" }
  const meet = { MILLRACE_RANKS: token, MASTER_ADDR: "node-0", MASTER_PORT: "29500" }
  it.effect("under srun is what its variables say, where the ranks are told where to meet", () =>
    Effect.gen(function* () {
      const address = { rank: 2, world: 4, host: "node-0", port: 29_500, store: undefined, listen: undefined, token }
      expect(yield* rankAddressOf(undefined, { ...slurm, ...meet })).toEqual(address)
      expect(yield* rankAddressOf(undefined, { ...slurm, SLURM_STEP_ID: undefined, ...meet })).toEqual(address)
      expect(yield* rankAddressOf(undefined, { ...slurm, SLURM_PROCID: "0", ...meet })).toMatchObject({ rank: 0 })
      expect(yield* rankAddressOf(undefined, { ...slurm, ...launched, RANK: "3" })).toMatchObject({ rank: 3, world: 4 })
      const error = yield* Effect.flip(rankAddressOf(undefined, slurm))
      expect(error.message).toContain("srun started 4 processes")
      expect(error.hint).toContain("MASTER_PORT")
    })
  )

  it.effect("in a shell of sbatch or salloc is that of one process", () =>
    Effect.gen(function* () {
      expect(yield* rankAddressOf(undefined, { ...slurm, SLURM_STEP_ID: undefined })).toBe(undefined)
      expect(yield* rankAddressOf(undefined, { ...slurm, SLURM_STEP_ID: "4294967290" })).toBe(undefined)
      expect(yield* rankAddressOf(undefined, { ...slurm, SLURM_NTASKS: "1" })).toBe(undefined)
      expect(yield* rankAddressOf(2, { ...slurm, SLURM_STEP_ID: undefined })).toMatchObject({ rank: 0, world: 2 })
    })
  )

  for (const [name, world, env] of [
    ["srun without a port", undefined, { ...slurm, MASTER_ADDR: "node-0" }],
    ["a rank of srun that is none", undefined, { ...slurm, ...meet, SLURM_PROCID: "4" }],
    ["another number of processes", 2, launched],
    ["a rank that is none", undefined, { ...launched, RANK: "4" }],
    ["no rank", undefined, { ...launched, RANK: undefined }],
    ["no port", undefined, { ...launched, MASTER_PORT: "" }],
    ["no machine", undefined, { ...launched, MASTER_ADDR: undefined }],
    ["no token", undefined, { ...launched, MILLRACE_RANKS: undefined }],
    ["a token that can be guessed", undefined, { ...launched, MILLRACE_RANKS: "word" }],
    ["a name to listen at", undefined, { ...launched, MILLRACE_LISTEN: "node-0" }],
    ["a number that is none", undefined, { ...launched, WORLD_SIZE: "many" }]
  ] as const)
    it.effect(`is a usage error for ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(rankAddressOf(world, env))
        expect(error._tag).toBe("UsageError")
        expect(error.hint).not.toBe("")
      })
    )
})

it.effect("an engine without collectives is a usage error that names those with", () =>
  Effect.gen(function* () {
    const address = (yield* rankAddressOf(2, {}))!
    yield* checkDistributed(address, "torch", ["torch"])
    const error = yield* Effect.flip(checkDistributed(address, "wasm", ["torch"]))
    expect(error).toMatchObject({ _tag: "UsageError", message: "2 processes, and the engine wasm computes in one" })
    expect(error.hint).toContain("torch")
    expect((yield* Effect.flip(checkDistributed(address, "wasm")))._tag).toBe("UsageError")
  })
)

it("the others are started with the same words, without --nproc", () => {
  expect(withoutNproc(["--engine", "torch", "--nproc", "2", "--set", "a.b=1"])).toEqual([
    "--engine",
    "torch",
    "--set",
    "a.b=1"
  ])
  expect(withoutNproc(["--nproc=2", "--json"])).toEqual(["--json"])
})
