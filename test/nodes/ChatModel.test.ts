/**
 * An exported folder answers as the models inside it do, sees images as training did, and refuses what it cannot use.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { decodeImage, fitImage } from "../../src/data/Images.ts"
import { openLlava } from "../../src/model/Folder.ts"
import { greedyLlava } from "../../src/model/Generate.ts"
import { segmentsOfLengths } from "../../src/model/TokenBatch.ts"
import { type AnswerOptions, type ChatModel, openChatModel, type Picture } from "../../src/nodes/ChatModel.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { controlIds, loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { loadWeights } from "../../src/nodes/ModelFiles.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { promptFor } from "../../src/text/Template.ts"
import { initialProjector, PATCHES, tinyModels } from "./support.ts"

const landscape = fileURLToPath(new URL("../golden/images-0/landscape.jpg", import.meta.url))

/** An exported model with fresh weights: what it says means nothing, and is always the same. */
const exported = Effect.gen(function* () {
  const { into, ...models } = yield* tinyModels()
  const { out } = yield* Node.run(
    exportCheckpoint,
    { ...models, projector: yield* initialProjector(into) },
    { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "Tiny" },
    { into: join(into, "out") }
  )
  return { folder: out.model, language: models.model }
})

const question = (value: string) => [{ from: "human" as const, value }]
const answer = (model: ChatModel, value: string, picture: Picture | undefined, options: AnswerOptions) =>
  Effect.map(Stream.runCollect(model.ask(question(value), picture, options)), (pieces) => ({
    text: pieces.map((piece) => piece.text).join(""),
    tokens: pieces.length,
    stopped: pieces.at(-1)?.stopped,
    early: pieces.slice(0, -1).filter((piece) => piece.stopped !== undefined).length
  }))

describe("openChatModel", () => {
  it.effect("answers greedily with the tokens of the model inside, about an image and without one; nothing leaks", () =>
    Effect.gen(function* () {
      const { folder } = yield* exported
      const tensors = yield* Tensors
      const compare = Effect.scoped(
        Effect.gen(function* () {
          const model = yield* openChatModel(folder)
          const tokenizer = yield* loadTokenizer({ path: folder })
          const { eosId, imageId } = yield* controlIds(tokenizer, folder)
          const { config, sources } = yield* openLlava(folder)
          const weights = yield* loadWeights(sources)
          for (const picture of [undefined, yield* model.picture(landscape)]) {
            const { ids } = yield* Effect.fromResult(
              promptFor(
                tokenizer,
                { turns: question("What colour?"), image: picture !== undefined },
                { template: "v1", imageTokens: PATCHES, imageTokenId: imageId, eosId }
              )
            )
            const [made] = yield* greedyLlava(
              weights,
              config,
              {
                rows: 1,
                time: ids.length,
                ids_BT: ids,
                segments_BT: segmentsOfLengths([ids.length], ids.length),
                labels_BT: new Int32Array(ids.length).fill(-100),
                images: picture === undefined ? 0 : 1,
                pixels: picture?.pixels_HWC ?? new Uint8Array(0)
              },
              [ids.length],
              { maxNewTokens: 12, endToken: eosId }
            )
            const said = yield* answer(model, "What colour?", picture, { maxNewTokens: 12 })
            expect(said.text).toBe(tokenizer.decode(made!, { skipSpecial: true }).trimStart())
            expect([said.tokens, said.early]).toEqual([made!.length, 0])
            expect(said.stopped).toBe(made!.at(-1) === eosId ? "end" : "length")
          }
        })
      )
      // The first time leaves a table of rotary angles, which the engine keeps for all.
      yield* compare
      const before = (yield* tensors.memory).tensors
      yield* compare
      expect((yield* tensors.memory).tensors).toBe(before)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("draws are named by seed and number, and an answer ends before a stop text", () =>
    Effect.gen(function* () {
      const model = yield* openChatModel((yield* exported).folder)
      const options = { maxNewTokens: 20, temperature: 1, seed: 3 }
      const said = yield* answer(model, "Hi", undefined, options)
      expect(yield* answer(model, "Hi", undefined, options)).toEqual(said)
      expect((yield* answer(model, "Hi", undefined, { ...options, number: 1 })).text).not.toBe(said.text)
      const stop = said.text.slice(6, 9)
      const cut = yield* answer(model, "Hi", undefined, { ...options, stopText: [stop] })
      expect(cut.stopped).toBe("text")
      expect(said.text.startsWith(cut.text)).toBe(true)
      expect(cut.text).toBe(said.text.slice(0, said.text.indexOf(stop)))
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("an answer ends where the context does, and a conversation that fills it is a typed error", () =>
    Effect.gen(function* () {
      const model = yield* openChatModel((yield* exported).folder)
      expect(model.contextLength).toBe(256)
      const drawn = { maxNewTokens: 1000, temperature: 5, seed: 1 }
      const said = yield* answer(model, "Hi", undefined, drawn)
      expect(said.stopped).toBe("context")
      expect(said.tokens).toBeLessThan(256)
      const full = yield* Effect.flip(answer(model, "Why? ".repeat(300), undefined, { maxNewTokens: 1 }))
      expect(full).toMatchObject({ _tag: "ContextFull", contextLength: 256, hint: expect.stringContaining("/reset") })
      expect((yield* Effect.flip(answer(model, "Hi", undefined, { ...drawn, topP: 2 })))._tag).toBe("BadSampling")
      expect((yield* Effect.flip(Stream.runDrain(model.ask([], undefined, drawn))))._tag).toBe("BadExample")
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("pictures are padded or cropped as the folder's processor says, whichever file says it", () =>
    Effect.gen(function* () {
      const { folder } = yield* exported
      const photo = yield* decodeImage(readFileSync(landscape))
      const seen = Effect.scoped(
        Effect.gen(function* () {
          return (yield* (yield* openChatModel(folder)).picture(landscape)).pixels_HWC
        })
      )
      const as = (fit: "crop" | "pad") => fitImage(photo, { size: 28, fit }).pixels_HWC
      expect(yield* seen).toEqual(as("pad"))
      const file = join(folder, "preprocessor_config.json")
      const processor = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<string, unknown>>
      writeFileSync(file, JSON.stringify({ ...processor, do_pad: false }))
      expect(yield* seen).toEqual(as("crop"))
      rmSync(file)
      writeFileSync(join(folder, "processor_config.json"), JSON.stringify({ image_processor: processor }))
      expect(yield* seen).toEqual(as("pad"))
      writeFileSync(file, JSON.stringify({ ...processor, image_mean: [0.5, 0.5, 0.5] }))
      expect(yield* Effect.flip(seen)).toMatchObject({ _tag: "ModelFileError", path: file })
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("folders of other models, and pictures that are none, are typed errors with a hint", () =>
    Effect.gen(function* () {
      const { folder, language } = yield* exported
      const failed = (path: string) => Effect.flip(Effect.scoped(openChatModel(path)))
      expect(yield* failed(language)).toMatchObject({ _tag: "NotLlava", message: "it is a phi model" })
      expect(yield* failed(join(folder, "nowhere"))).toMatchObject({ _tag: "ModelFileError" })
      const model = yield* openChatModel(folder)
      const bad = yield* Effect.flip(model.picture(join(folder, "config.json")))
      expect(bad).toMatchObject({ _tag: "BadImage", reason: "not-an-image" })
      expect(yield* Effect.flip(model.picture(join(folder, "no.png")))).toMatchObject({ _tag: "ModelFileError" })
      for (const name of ["tokenizer.json", "preprocessor_config.json", "model.safetensors"]) {
        const broken = join(folder, "..", `without-${name}`)
        cpSync(folder, broken, { recursive: true })
        rmSync(join(broken, name))
        if (name === "preprocessor_config.json") rmSync(join(broken, "processor_config.json"))
        expect(((yield* failed(broken)) as { readonly hint: string }).hint, name).not.toBe("")
      }
    }).pipe(Effect.provide(Engine.wasm))
  )
})
