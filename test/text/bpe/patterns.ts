/** Patterns of published tokenizers, as their files have them. */
const upper = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
const lower = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
const tail = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const endings = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

export const published = {
  "GPT-2, Phi-2": "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "Llama 3, Qwen 2": `${endings}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  "cl100k, possessive": `${endings}|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s`,
  "o200k, Phi-4": `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+${endings}?|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*${endings}?|\\p{N}{1,3}|${tail}`,
  "Mistral Tekken": `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*|\\p{N}|${tail}`,
  "DeepSeek 3": `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  "DeepSeek 3, Han": "[一-龥぀-ゟ゠-ヿ]+",
  "digits by three": "\\d{1,3}(?=(?:\\d{3})*\\b)",
  "digits by three, with numbers of all scripts": "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?:\\P{N}|$))"
} as const
