/** config.json keeps Python's types: floats stay floats, integers stay integers, and equal configs give equal bytes. */
import { expect, it } from "@effect/vitest"
import { configText } from "../../src/model/ConfigText.ts"
import { llavaConfigJson } from "../../src/model/llava/Config.ts"
import { tinyLlava } from "./support.ts"

it("whole numbers in float fields are written with a point, others without", () => {
  const text = configText({
    rope_theta: 10000,
    hidden_size: 64,
    layer_norm_eps: 1e-5,
    rope_parameters: { rope_theta: 5 }
  })
  expect(text).toBe(
    '{\n  "hidden_size": 64,\n  "layer_norm_eps": 0.00001,\n  "rope_parameters": {\n    "rope_theta": 5.0\n  },\n  "rope_theta": 10000.0\n}\n'
  )
})

it("the text parses to the same config, whatever the order of its fields", () => {
  const json = llavaConfigJson(tinyLlava)
  expect(JSON.parse(configText(json))).toEqual(JSON.parse(JSON.stringify(json)))
  expect(configText(Object.fromEntries(Object.entries(json).toReversed()))).toBe(configText(json))
  expect(configText(json)).toContain('"rope_theta": 10000.0')
  expect(configText({ a: [], b: {}, c: [1, "x"] })).toBe(
    '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    "x"\n  ]\n}\n'
  )
})

it("a head with a bias names the custom class, one without the stock class", () => {
  expect(llavaConfigJson(tinyLlava)["architectures"]).toEqual(["LlavaForConditionalGeneration"])
  const kept = llavaConfigJson({ ...tinyLlava, text: { ...tinyLlava.text, headBias: true } })
  expect(kept["auto_map"]).toBeDefined()
})
