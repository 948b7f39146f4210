/** Images are found where rows have them, and whatever else may be media is refused by the name of its key. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { foreignMedia, imagesOf } from "../../src/text/RowMedia.ts"

const NONE: ReadonlySet<string> = new Set()

const media: ReadonlyArray<readonly [string, unknown]> = [
  ["video", "clip"],
  ["videos", ["a.mp4"]],
  ["audio", { path: null, bytes: new Uint8Array(3) }],
  ["frames", ["f0.png", "f1.png"]],
  ["image_2", "b.jpg"],
  ["depth", { file: "d.npy" }],
  ["picture", `data:image/png;base64,${"A".repeat(40)}`],
  ["encoded", "iVBORw0KGgo".repeat(90)],
  [
    "pixel_values",
    [
      [
        [0.1, 0.2],
        [0.3, 0.4]
      ]
    ]
  ],
  ["raw", new Uint8Array([255, 216])],
  ["screenshot", "https://example.org/shots/1.png?size=2"]
]
const words = Arbitrary.schema(
  Schema.Literals(["en", "a kettle. It is hot", "gpt-3.5-turbo", "https://example.org", "a@b.com", "", "12", "0.75"])
)
const numbers = Arbitrary.schema(Schema.Literals([0, 1, 0.5, -3, true, false]))
const facts = Arbitrary.array(Arbitrary.all([words, numbers]), { maxLength: 4 })

describe("foreignMedia", () => {
  it.prop("finds media under any key among facts, and facts alone are none", [facts], ([facts]) => {
    const row = Object.fromEntries(
      facts.map(([word, number], i) => [`note${i}`, [word, { word, box: [number, [number]] }]])
    )
    expect(foreignMedia(row, NONE)).toBe(undefined)
    for (const [key, value] of media) {
      expect(foreignMedia({ ...row, [key]: value }, NONE)).toBe(key)
      expect(foreignMedia({ ...row, [key]: value }, NONE, [key])).toBe(undefined)
      expect(foreignMedia({ ...row, [key]: value }, new Set([key]))).toBe(undefined)
    }
  })

  it("takes nothing for nothing, and facts of known names for facts", () => {
    const empty = { video: null, videos: [], audio: { bytes: null, path: null }, frames: [""], images_2: {} }
    expect(foreignMedia(empty, NONE)).toBe(undefined)
    const known = {
      source: "sharegpt.json",
      url: "https://example.org/a.png",
      data_source: "coco.zip",
      avatarUrl: "x.png"
    }
    expect(foreignMedia(known, NONE)).toBe(undefined)
  })
})

describe("imagesOf", () => {
  const one = Result.succeed([{ path: "a.jpg" }])
  const cases: ReadonlyArray<readonly [object, typeof one | ReadonlyArray<{ path: string | undefined }>]> = [
    [{}, []],
    [{ image: null, images: [] }, []],
    [{ image: "" }, []],
    [{ image: "a.jpg" }, one],
    [{ images: ["a.jpg"] }, one],
    [{ images: "a.jpg" }, one],
    [{ image: "a.jpg", images: ["a.jpg"] }, one],
    [{ image: { path: "a.jpg" } }, one],
    [{ images: [{ bytes: null, path: "a.jpg" }] }, one],
    [{ images: [{ path: null }] }, [{ path: undefined }]],
    [{ image: { bytes: null, path: null } }, []],
    [{ image: ["a.jpg", "b.jpg"] }, [{ path: "a.jpg" }, { path: "b.jpg" }]]
  ]
  for (const [row, expected] of cases)
    it(`reads ${JSON.stringify(row)}`, () => {
      expect(imagesOf(row as never)).toEqual(Array.isArray(expected) ? Result.succeed(expected) : expected)
    })

  for (const row of [
    { image: "https://example.org/a.jpg" },
    { image: "data:image/png;base64,AAAA" },
    { images: [{ bytes: "iVBOR", path: "a.jpg" }] },
    { image: { url: "a.jpg" } },
    { image: 7 },
    { image: "a.jpg", images: ["b.jpg"] }
  ])
    it(`does not read ${JSON.stringify(row)}`, () => {
      expect(Result.isFailure(imagesOf(row))).toBe(true)
    })
})
