/**
 * A run's page in a real browser: it fetches nothing, logs nothing, and shows all its parts.
 *
 * The small recipe runs as a process, Chromium opens the file it names. A machine without Chromium (Debian's package
 * `chromium`, or `MILLRACE_CHROMIUM` for another place) skips with that reason.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { type Browser, chromium, type Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Bench, completed, makeBench } from "./Bench.ts"

const executable = process.env["MILLRACE_CHROMIUM"] ?? "/usr/bin/chromium"
const noBrowser = `no browser: there is no ${executable} (apt-get install chromium)`
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

let browser: Browser | undefined
let bench: Bench
let file: string

const pageOf = (stderr: string): string => /^This run as a page: (.*)$/m.exec(stderr)?.[1] ?? "no page is named"

beforeAll(async () => {
  if (!existsSync(executable)) {
    // The reporter counts what is skipped and does not say why.
    process.stderr.write(`test/e2e/Page.test.ts is skipped: ${noBrowser}\n`)
    return
  }
  bench = await makeBench()
  const ran = await bench.run()
  completed(ran)
  file = pageOf(ran.stderr)
  browser = await chromium.launch({ executablePath: executable, args: flags })
}, 180_000)
afterAll(() => browser?.close())

interface Opened {
  readonly page: Page
  /** What the browser complained about, and what it asked for beside the file itself. */
  readonly faults: ReadonlyArray<string>
}

const open = async (at: string, width: number, colorScheme: "light" | "dark"): Promise<Opened> => {
  const page = await browser!.newPage({ viewport: { width, height: 900 }, colorScheme })
  const faults: Array<string> = []
  page.on("console", (message) => faults.push(`${message.type()}: ${message.text()}`))
  page.on("pageerror", (error) => faults.push(error.message))
  page.on("request", (request) => {
    if (request.url() !== pathToFileURL(at).href && !request.url().startsWith("data:")) faults.push(request.url())
  })
  await page.goto(pathToFileURL(at).href)
  return { page, faults }
}

/** Runs a script in the page: as text, because the DOM's types are no part of this project. */
const ask = <A>(page: Page, script: string): Promise<A> => page.evaluate(script)

/** Pairs of elements whose boxes overlap, by their texts. */
const overlaps = (page: Page, selector: string): Promise<ReadonlyArray<string>> =>
  ask(
    page,
    `(() => {
      const all = [...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => [one.textContent, one.getBoundingClientRect()])
      const out = []
      for (const [i, [text, a]] of all.entries())
        for (const [other, b] of all.slice(i + 1))
          if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) out.push(text + " and " + other)
      return out
    })()`
  )

/** Boxes of the graph whose name does not fit. */
const tooLong = `[...document.querySelectorAll("svg.graph .node")].flatMap((node) => {
  const box = node.querySelector("rect").getBoundingClientRect()
  const name = node.querySelector("text.name").getBoundingClientRect()
  return name.left < box.left || name.right > box.right ? [node.dataset.id] : []
})`

const widths = [
  [1280, "light"],
  [800, "light"],
  [1280, "dark"],
  [800, "dark"]
] as const

describe("a run's page", () => {
  test("opens without a fault, and holds graph, curves, pictures and answers", async ({ skip }) => {
    if (browser === undefined) skip(noBrowser)
    const { faults, page } = await open(file, 1280, "light")
    expect(await page.title()).toMatch(/^llava-phi 20/)
    expect(await page.locator("svg.graph .node").count()).toBe(40)
    expect(await page.locator("svg.graph .node.ran").count()).toBe(32)
    expect(await page.locator("svg.graph .node.source").count()).toBe(8)
    expect(await page.locator("svg.graph .edge").count()).toBeGreaterThan(50)
    expect(await page.locator("table.nodes tbody tr").count()).toBe(32)
    // Three stages: a loss from the stored report, and the rate from the run's events.
    expect(await page.locator("figure.curve:not(.small)").count()).toBe(3)
    expect(await page.locator("figure.curve.small").count()).toBe(3)
    const evaluation = await bench.start(["show", "last"], { plain: true }).ended
    const value = /^report +\S+ +(\S+)$/m.exec(evaluation.stdout)?.[1]
    const report = JSON.parse(readFileSync(value!, "utf8")) as {
      readonly samples: ReadonlyArray<{ readonly id: string; readonly answer: string; readonly truth: string }>
    }
    const scenes = new Set(report.samples.map(({ id }) => id.slice(0, id.lastIndexOf("/"))))
    const plain = (text: string) => text.trim().toLowerCase().replace(/\.$/, "")
    const wrong = report.samples.filter((one) => plain(one.answer) !== plain(one.truth)).length
    expect(await page.locator(".card").count()).toBe(scenes.size)
    expect(await page.locator('.card td[data-column="answer"]').count()).toBe(report.samples.length)
    expect(await page.locator('.card td[data-column="answer"].wrong').count()).toBe(wrong)
    const pictures = await ask(
      page,
      `[...document.querySelectorAll(".card img")].map((one) => [one.naturalWidth, one.getBoundingClientRect().width])`
    )
    expect(pictures).toEqual([...scenes].map(() => [28, 112]))
    expect(faults).toEqual([])
    await page.close()
  })

  test("lights up what a box reads and is read by", async ({ skip }) => {
    if (browser === undefined) skip(noBrowser)
    const { faults, page } = await open(file, 1280, "light")
    await page.locator('svg.graph [data-id="keepFormat"]').hover()
    const lit = await page
      .locator("svg.graph .node.on")
      .evaluateAll((all) => all.map((one) => one.getAttribute("data-id")))
    expect(lit.sort()).toEqual(["keepFormat", "sft/tokenizeConversations", "splitConversations"])
    expect(await page.locator("svg.graph .edge.on").count()).toBe(2)
    expect(await page.locator('svg.graph [data-id="keepFormat"] title').textContent()).toMatch(
      /rows in[\s\S]*key [0-9a-f]{12}/
    )
    await page.mouse.move(0, 0)
    expect(await page.locator("svg.graph.lit").count()).toBe(0)
    expect(faults).toEqual([])
    await page.close()
  })

  for (const [width, scheme] of widths)
    test(`fits ${width} pixels in ${scheme}: nothing overlaps, nothing sticks out`, async ({ skip }) => {
      if (browser === undefined) skip(noBrowser)
      const { faults, page } = await open(file, width, scheme)
      const [wide, graph] = await ask<[number, number]>(
        page,
        `[document.documentElement.scrollWidth, document.querySelector("svg.graph").getBoundingClientRect().right]`
      )
      expect(wide).toBeLessThanOrEqual(width)
      expect(graph).toBeLessThanOrEqual(width)
      // What is wider than the page could be scrolled; here nothing is.
      expect(
        await ask(page, `[...document.querySelectorAll(".scroll")].map((one) => one.scrollWidth - one.clientWidth)`)
      ).toEqual(await ask(page, `[...document.querySelectorAll(".scroll")].map(() => 0)`))
      for (const selector of ["svg.graph .node", "svg.graph text", "section", ".card", "figure.curve", "nav a"])
        expect(await overlaps(page, selector), selector).toEqual([])
      expect(await ask(page, tooLong)).toEqual([])
      const [text, back] = await ask<[string, string]>(
        page,
        `[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]`
      )
      const light = (colour: string) =>
        colour
          .match(/\d+/g)!
          .slice(0, 3)
          .reduce((sum, one) => sum + Number(one), 0) / 765
      expect(light(text) > light(back)).toBe(scheme === "dark")
      const pictures = process.env["MILLRACE_SCREENSHOTS"]
      if (pictures !== undefined) {
        mkdirSync(pictures, { recursive: true })
        await page.screenshot({ path: join(pictures, `page-${scheme}-${width}.png`), fullPage: true })
      }
      expect(faults).toEqual([])
      await page.close()
    })
})
