/**
 * A config.json as text that Python reads with the right types.
 *
 * Why not `JSON.stringify`: JavaScript writes the float 1.0 as `1`, and transformers 5.x refuses an int where its class
 * says float. Keys are sorted, so equal configs give equal bytes.
 */

/** Fields that `transformers` declares as floats. */
const floats = new Set([
  "attention_dropout",
  "embd_pdrop",
  "initializer_factor",
  "initializer_range",
  "layer_norm_eps",
  "lora_dropout",
  "logit_scale_init_value",
  "partial_rotary_factor",
  "resid_pdrop",
  "rope_theta"
])

/** A number of a float field: 1 is `1.0`, 0.00001 is `1e-05`'s value in JavaScript's own form. */
const float = (x: number): string => (Number.isInteger(x) && Math.abs(x) < 1e21 ? `${x}.0` : String(x))

/**
 * The text of config.json, two spaces deep, keys sorted, ending in a newline.
 *
 * @example await writeFile("config.json", configText(llavaConfigJson(config)))
 */
export const configText = (config: Readonly<Record<string, unknown>>): string => `${render(config, "", undefined)}\n`

const render = (value: unknown, indent: string, key: string | undefined): string => {
  if (typeof value === "number" && key !== undefined && floats.has(key)) return float(value)
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const inner = `${indent}  `
  const lines = Array.isArray(value)
    ? value.map((item) => `${inner}${render(item, inner, undefined)}`)
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, item]) => `${inner}${JSON.stringify(name)}: ${render(item, inner, name)}`)
  const [open, close] = Array.isArray(value) ? "[]" : "{}"
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join(",\n")}\n${indent}${close}`
}
