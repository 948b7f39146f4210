/** Every known naming of the weights loads to the same model, and tensors that do not fit are named. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { clipName, clipShapes } from "../../src/model/clip/Names.ts"
import { decodeLlavaConfig, LlavaConfig, llavaConfigJson } from "../../src/model/llava/Config.ts"
import { llavaFileName, llavaSources } from "../../src/model/llava/Names.ts"
import { decodePhiConfig, phiConfigJson, rotaryDim } from "../../src/model/phi/Config.ts"
import { phiName, phiShapes, phiSources } from "../../src/model/phi/Names.ts"
import { projectorName } from "../../src/model/projector/Names.ts"
import { openSafetensors, writeSafetensors } from "../../src/model/Safetensors.ts"
import { initialWeights, type WeightSource } from "../../src/model/Weights.ts"
import { llavaShapes, tinyLlava, tinyPhi } from "./support.ts"

const file = (
  tensors: ReadonlyArray<{
    readonly name: string
    readonly shape: ReadonlyArray<number>
    readonly values: Float32Array
  }>
) =>
  Effect.gen(function* () {
    const dir = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "names-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const path = join(dir, "model.safetensors")
    yield* writeSafetensors(
      path,
      tensors.map(({ name, shape, values }) => ({
        name,
        shape,
        dtype: "F32" as const,
        bytes: Effect.succeed(new Uint8Array(values.buffer))
      }))
    )
    return yield* openSafetensors(path)
  })

const readAll = <E>(sources: ReadonlyArray<WeightSource<E>>) =>
  Effect.map(
    Effect.forEach(sources, (s) => Effect.map(s.read, (values) => [s.name, values] as const)),
    Object.fromEntries<Float32Array>
  )

const withValues = Effect.forEach(initialWeights(llavaShapes(tinyLlava), 3, 0.02), (s) =>
  Effect.map(s.read, (values) => ({ name: s.name, shape: s.shape, values }))
)

describe("Names", () => {
  const spellings: Readonly<Record<string, (name: string) => string>> = {
    "transformers 4.57 and 5.x on disk": llavaFileName,
    "without vision_model": (name) => llavaFileName(name).replace("vision_model.", ""),
    "as in memory of 5.x": (name) =>
      name
        .replace(/^vision\./, "model.vision_tower.")
        .replace(/^projector\./, "model.multi_modal_projector.")
        .replace(/^language\.model\./, "model.language_model.")
        .replace(/^language\.lm_head/, "lm_head")
  }
  for (const [name, spell] of Object.entries(spellings))
    it.effect(`a LLaVA spelled ${name} loads every weight`, () =>
      Effect.gen(function* () {
        const tensors = yield* withValues
        const noise = { name: "text_model.encoder.layers.0.layer_norm1.weight", shape: [1], values: Float32Array.of(9) }
        const checkpoint = yield* file([...tensors.map((t) => ({ ...t, name: spell(t.name) })), noise])
        const read = yield* readAll(yield* llavaSources(checkpoint, tinyLlava))
        expect(read).toEqual(Object.fromEntries(tensors.map((t) => [t.name, t.values])))
      })
    )

  it.effect("fused query_key_value, interleaved by head, is taken apart", () =>
    Effect.gen(function* () {
      const { hiddenSize: d, heads } = tinyPhi
      const rows = d / heads
      const tensors = yield* Effect.forEach(initialWeights(phiShapes(tinyPhi), 5, 0.02), (s) =>
        Effect.map(s.read, (values) => ({ name: s.name, shape: s.shape, values: values.map((x, i) => x + i) }))
      )
      const expected = Object.fromEntries(tensors.map((t) => [t.name, t.values]))
      const fused = [0, 1].flatMap((layer) =>
        (["weight", "bias"] as const).map((kind) => {
          const columns = kind === "weight" ? d : 1
          const values = new Float32Array(3 * d * columns)
          for (let head = 0; head < heads; head++)
            for (const [part, letter] of ["q", "k", "v"].entries())
              for (let r = 0; r < rows; r++)
                values.set(
                  expected[`model.layers.${layer}.self_attn.${letter}_proj.${kind}`]!.subarray(
                    (head * rows + r) * columns,
                    (head * rows + r + 1) * columns
                  ),
                  ((head * 3 + part) * rows + r) * columns
                )
          const shape = kind === "weight" ? [3 * d, d] : [3 * d]
          return { name: `model.layers.${layer}.self_attn.query_key_value.${kind}`, shape, values }
        })
      )
      const checkpoint = yield* file([...tensors.filter((t) => !/[qkv]_proj/.test(t.name)), ...fused])
      expect(yield* readAll(yield* phiSources(checkpoint, tinyPhi))).toEqual(expected)
    })
  )

  it.effect("missing, unexpected and misshapen tensors are one error, with all names in it", () =>
    Effect.gen(function* () {
      const tensors = (yield* withValues).flatMap((t) =>
        t.name.startsWith("language.") ? [{ ...t, name: t.name.slice(9) }] : []
      )
      const config = { ...tinyPhi, headBias: false }
      const extra = (name: string) => ({ name, shape: [1], values: Float32Array.of(0) })
      const wrong = yield* file([
        ...tensors.filter((t) => !/lm_head|final_layernorm/.test(t.name)),
        ...["model.layers.2.mlp.fc1.bias", "adapter.scale", "model.norm.weight"].map(extra)
      ])
      const error = yield* Effect.flip(phiSources(wrong, { ...config, vocabSize: 62 }))
      expect(error).toMatchObject({
        _tag: "CheckpointMismatch",
        missing: ["model.final_layernorm.weight", "model.final_layernorm.bias", "lm_head.weight"],
        misshapen: [{ tensor: "model.embed_tokens.weight", shape: [61, 24], expected: [62, 24] }]
      })
      if (error._tag !== "CheckpointMismatch") throw error
      expect([...error.unexpected].sort()).toEqual([
        "adapter.scale",
        "model.layers.2.mlp.fc1.bias",
        "model.norm.weight"
      ])
      for (const name of [...error.missing, ...error.unexpected, "is [61, 24], not [62, 24]"])
        expect(error.message).toContain(name)

      const none = yield* Effect.flip(phiSources(yield* file([extra("a")]), config))
      expect(none.message).toMatch(/^32 missing: .*, and 22 more; 1 unexpected: a \(of 1 tensors\)$/)
      expect(none._tag === "CheckpointMismatch" ? none.missing.length : 0).toBe(32)
    })
  )

  it.effect("what files are known to hold beside the weights is no error", () =>
    Effect.gen(function* () {
      const tensors = (yield* withValues).flatMap((t) =>
        t.name.startsWith("language.") ? [{ ...t, name: t.name.slice(9) }] : []
      )
      const beside = [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.0.self_attn.masked_bias",
        "model.layers.0.self_attn.bias",
        "vision_tower.vision_model.embeddings.position_ids",
        "vision_tower.vision_model.post_layernorm.weight",
        "multi_modal_projector.linear_1.weight",
        "lm_head.bias"
      ].map((name) => ({ name, shape: [1], values: Float32Array.of(0) }))
      const config = { ...tinyPhi, headBias: false }
      const checkpoint = yield* file([...tensors, ...beside])
      expect((yield* phiSources(checkpoint, config)).length).toBe(tensors.length)
      // Without its prefix too, as the base model alone is saved.
      const bare = yield* file(tensors.map((t) => ({ ...t, name: t.name.replace(/^model\./, "") })))
      expect((yield* phiSources(bare, config)).length).toBe(tensors.length)
      // Where all of a LLaVA is asked for, nothing of its parts is beside it.
      const odd = { name: "vision_tower.vision_model.other.weight", shape: [1], values: Float32Array.of(0) }
      const spelled = (yield* withValues).map((t) => ({ ...t, name: llavaFileName(t.name) }))
      expect(yield* Effect.flip(llavaSources(yield* file([...spelled, odd]), tinyLlava))).toMatchObject({
        missing: [],
        unexpected: [odd.name],
        misshapen: []
      })
    })
  )

  it("names of other parts are not taken for one's own", () => {
    expect(phiName("model.vision_tower.encoder.layers.0.mlp.fc1.weight")).toBeUndefined()
    expect(phiName("vision_model.encoder.layers.0.mlp.fc1.weight")).toBeUndefined()
    expect(phiName("multi_modal_projector.linear_1.weight")).toBeUndefined()
    expect(clipName("language_model.model.layers.0.mlp.fc1.weight")).toBeUndefined()
    expect(clipName("text_model.encoder.layers.0.mlp.fc1.weight")).toBeUndefined()
    expect(clipName("vision_model.embeddings.position_ids")).toBeUndefined()
    expect(projectorName("lm_head.weight")).toBeUndefined()
  })

  it("Phi-2, CLIP-L/14-336 and their projector have the parameter counts that are published", () => {
    const count = (shapes: Readonly<Record<string, ReadonlyArray<number>>>) =>
      Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((n, x) => n * x, 1), 0)
    const phi2 = { ...tinyPhi, vocabSize: 51200, hiddenSize: 2560, intermediateSize: 10240, layers: 32, heads: 32 }
    const clip = {
      ...tinyLlava.vision,
      hiddenSize: 1024,
      intermediateSize: 4096,
      layers: 24,
      heads: 16,
      imageSize: 336,
      patchSize: 14
    }
    expect(count(phiShapes(phi2))).toBe(2_779_683_840)
    expect(count(clipShapes(clip))).toBe(303_507_456)
    expect(rotaryDim({ ...phi2, partialRotaryFactor: 0.4 })).toBe(32)
  })
})

describe("Config", () => {
  it.effect("rope settings of 4.x and of 5.x give the same model", () =>
    Effect.gen(function* () {
      const json = phiConfigJson({ ...tinyPhi, partialRotaryFactor: 0.4, hiddenSize: 40, ropeTheta: 5000 })
      const { rope_parameters: _, ...old } = json
      const { rope_theta: __, partial_rotary_factor: ___, ...recent } = json
      const a = yield* decodePhiConfig(old, { headBias: true })
      const b = yield* decodePhiConfig(recent, { headBias: true })
      expect(a).toEqual(b)
      expect([a.ropeTheta, rotaryDim(a)]).toEqual([5000, 8])
    })
  )

  it.effect("what is written is read back", () =>
    Effect.gen(function* () {
      expect(yield* decodeLlavaConfig(llavaConfigJson(tinyLlava), { headBias: false })).toEqual(tinyLlava)
      expect(yield* Schema.decodeUnknownEffect(LlavaConfig)(JSON.parse(JSON.stringify(tinyLlava)))).toEqual(tinyLlava)
    })
  )

  const json = phiConfigJson(tinyPhi)
  for (const [field, value] of [
    ["num_key_value_heads", 1],
    ["qk_layernorm", true],
    ["tie_word_embeddings", true],
    ["hidden_act", "swish"],
    ["rope_parameters", { rope_type: "yarn" }],
    ["vocab_size", undefined]
  ] as const)
    it.effect(`a config with ${field} = ${JSON.stringify(value)} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(decodePhiConfig({ ...json, [field]: value }, { headBias: true }))
        expect(error._tag).toBe("ConfigError")
        expect(error.hint.length).toBeGreaterThan(5)
      })
    )
})
