/**
 * One figure over steps as inline SVG: every point faint, a running mean on top, the held-out value as a dashed line,
 * held-out values on the way as dots.
 *
 * Not a chart library: one linear axis each way, nothing interactive. Many points are drawn as the lowest and highest
 * of each column of pixels, so a peak is never lost.
 *
 * Units: steps on x, the figure on y; pixels in the drawing.
 */

import type { Point } from "../../run/History.ts"
import { figure, number } from "../../run/Progress.ts"
import { escape } from "./Html.ts"

const width = 380
const heights = { large: 190, small: 104 }
/** Columns that points are gathered in. */
const columns = 160

/** Round numbers that span `low` to `high`, about `count` of them. */
export const ticks = (low: number, high: number, count: number): ReadonlyArray<number> => {
  const span = high - low
  if (!(span > 0) || !Number.isFinite(span)) return Number.isFinite(low) ? [low] : []
  const rough = span / count
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((n) => n * unit).find((one) => one >= rough) ?? 10 * unit
  const out: Array<number> = []
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    out.push(Number((i * step).toPrecision(12)))
  return out
}

/** Lowest and highest point of each column, in the order of steps. */
export const thin = (points: ReadonlyArray<Point>, count: number = columns): ReadonlyArray<Point> => {
  if (points.length <= 2 * count) return points
  const out: Array<Point> = []
  for (let column = 0; column < count; column++) {
    const from = Math.floor((column * points.length) / count)
    const to = Math.floor(((column + 1) * points.length) / count)
    let low = points[from]!
    let high = low
    for (const point of points.slice(from, to)) {
      if (point.value < low.value) low = point
      if (point.value > high.value) high = point
    }
    out.push(...(low.step === high.step ? [low] : low.step < high.step ? [low, high] : [high, low]))
  }
  return out
}

/** The mean over a window of a twentieth of the points around each, cut off at both ends; sums are taken once. */
export const smooth = (points: ReadonlyArray<Point>): ReadonlyArray<Point> => {
  const reach = Math.floor(points.length / 40)
  const sums = [0]
  for (const { value } of points) sums.push(sums[sums.length - 1]! + value)
  return points.map(({ step }, i) => {
    const from = Math.max(0, i - reach)
    const to = Math.min(points.length, i + reach + 1)
    return { step, value: (sums[to]! - sums[from]!) / (to - from) }
  })
}

export interface CurveOptions {
  readonly title: string
  /** Behind the title: what is special about this curve. */
  readonly note?: string
  readonly heldOut?: number | null
  /** Held-out values on the way: dots joined by a line. Steps are those of the points. */
  readonly measured?: ReadonlyArray<Point>
  /** The step of them whose weights were kept: its dot is larger. */
  readonly kept?: number
  /** Draws a running mean on top, for figures that are noisy. */
  readonly smooth?: boolean
  readonly small?: boolean
}

/** A figure with its caption. Points that are not finite are left out; without any, the caption says so. */
export const curveSvg = (all: ReadonlyArray<Point>, options: CurveOptions): string => {
  const { heldOut, kept, note, small = false, title } = options
  const height = small ? heights.small : heights.large
  const plot = { left: 46, right: width - 12, top: 12, bottom: height - 26 }
  const points = all.filter(({ step, value }) => Number.isFinite(value) && Number.isFinite(step))
  const first = points[0]
  const last = points[points.length - 1]
  if (first === undefined || last === undefined)
    return `<figure class="curve"><figcaption><b>${escape(title)}</b> no step was measured</figcaption></figure>`
  const held = heldOut ?? undefined
  const measured = (options.measured ?? []).filter(({ step, value }) => Number.isFinite(value) && Number.isFinite(step))
  const shown = [...thin(points), ...thin(measured)].map((one) => one.value)
  let low = Math.min(...shown, held ?? first.value)
  let high = Math.max(...shown, held ?? first.value)
  if (low === high) {
    low -= Math.abs(low) / 2 || 0.5
    high += Math.abs(high) / 2 || 0.5
  }
  // Losses are read against zero where that is not far.
  if (low > 0 && low < high / 2) low = 0
  const x = (step: number) =>
    plot.left + ((step - first.step) / Math.max(1, last.step - first.step)) * (plot.right - plot.left)
  const y = (value: number) => plot.bottom - ((value - low) / (high - low)) * (plot.bottom - plot.top)
  const path = (some: ReadonlyArray<Point>) =>
    some.map(({ step, value }, i) => `${i === 0 ? "M" : "L"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("")
  const mean = options.smooth === true && points.length > 40 ? smooth(points) : undefined
  const ends = mean ?? points
  const rows = ticks(low, high, small ? 2 : 4).map((value) => {
    const at = y(value).toFixed(1)
    return (
      `<path class="grid" d="M${plot.left} ${at}H${plot.right}"/><text class="tick end" x="${plot.left - 6}" ` +
      `y="${at}" dy="0.32em">${escape(figure(value))}</text>`
    )
  })
  const steps = ticks(first.step, last.step, 4)
    .filter((step) => Number.isInteger(step))
    .map((step) => `<text class="tick middle" x="${x(step).toFixed(1)}" y="${plot.bottom + 16}">${number(step)}</text>`)
  const dashed = held === undefined ? "" : `<path class="held" d="M${plot.left} ${y(held).toFixed(1)}H${plot.right}"/>`
  const dots = thin(measured).map(
    ({ step, value }) =>
      `<circle class="measured" cx="${x(step).toFixed(1)}" cy="${y(value).toFixed(1)}" r="${step === kept ? 4 : 2}"/>`
  )
  const said = [
    `${figure(ends[0]!.value)} to ${figure(ends[ends.length - 1]!.value)}`,
    `${number(last.step - first.step + 1)} steps`,
    ...(held === undefined ? [] : [`held out ${figure(held)} (dashed)`]),
    ...(measured.length === 0 ? [] : [`measured ${number(measured.length)} times (dots)`]),
    ...(kept === undefined ? [] : [`weights of step ${number(kept)} kept`]),
    ...(note === undefined ? [] : [note])
  ]
  return [
    `<figure class="curve${small ? " small" : ""}" ` +
      `data-points="${points.length}"><figcaption><b>${escape(title)}</b> ${escape(said.join(", "))}</figcaption>`,
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(title)}">`,
    ...rows,
    ...steps,
    `<path class="raw${mean === undefined ? " alone" : ""}" d="${path(thin(points))}"/>`,
    mean === undefined ? "" : `<path class="mean" d="${path(thin(mean))}"/>`,
    dashed,
    measured.length < 2 ? "" : `<path class="measured" d="${path(thin(measured))}"/>`,
    ...dots,
    "</svg></figure>"
  ].join("")
}
