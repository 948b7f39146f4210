/**
 * Draws the progress of a run: one live line a running node on a terminal, plain lines anywhere else.
 *
 * Not a reducer: what is known comes from `run/Progress.ts`. The live block is erased before anything permanent is
 * written and drawn again below it; the cursor is hidden while a block stands and shown again by `close`, which is safe
 * to call twice and from an exit handler. Off a terminal a node says at most one progress line every `plainEveryMs`.
 */
import { Clock, Effect, type Scope } from "effect"
import type { Event } from "../run/Events.ts"
import {
  attemptLine,
  clip,
  empty,
  endLine,
  liveLines,
  reduce,
  runningLine,
  startLine,
  type View
} from "../run/Progress.ts"
import { type Color, eraseRows, hideCursor, joined, type Painted, paint, plain, showCursor } from "./Paint.ts"
import { engineLine, planCounts } from "./Report.ts"

/** At most one plain progress line per node in this time. */
export const plainEveryMs = 10_000
/** Time between two drawings of the live block. */
export const redrawEveryMs = 125

/** What is drawn on. */
export interface Screen {
  readonly write: (text: Painted) => void
  readonly live: boolean
  readonly color: boolean
  readonly columns: () => number
  readonly rows: () => number
}

export interface Terminal {
  /** Takes the next event; writes what is permanent about it. */
  readonly event: (event: Event) => void
  /** Writes a permanent line. */
  readonly say: (line: string) => void
  /** Draws the live block as of `nowMs`; does nothing off a terminal. */
  readonly redraw: (nowMs: number) => void
  /** Erases the live block, lets somebody else write, and leaves the next drawing to `redraw`. */
  readonly aside: <A>(write: () => A) => A
  /** Erases the live block and shows the cursor. */
  readonly close: () => void
  readonly view: () => View
}

const statusColor: Readonly<Record<"ran" | "cached" | "failed" | "interrupted" | "skipped", Color>> = {
  skipped: "yellow",
  ran: "green",
  cached: "dim",
  failed: "red",
  interrupted: "yellow"
}

/** Permanent lines are cut here: a reason can hold a whole parameter list. */
const longest = 400

/**
 * A terminal on `screen`; `quiet` keeps the view up to date and writes nothing. Longer than a screen: drawing, erasing
 * and permanent lines share what is on the screen now.
 *
 * @example
 * const terminal = make({ write: (t) => process.stderr.write(t), live: false, color: false, columns: () => 80, rows: () => 24 })
 * terminal.event(event)
 */
export const make = (screen: Screen, options: { readonly quiet: boolean } = { quiet: false }): Terminal => {
  let view = empty
  let drawn: ReadonlyArray<string> = []
  let hidden = false
  let planned = false
  const said = new Map<string, number>()

  // Lines that were drawn for a wider window wrap when it shrinks, so rows are counted at today's width.
  const height = (lines: ReadonlyArray<string>): number => {
    const columns = Math.max(1, screen.columns())
    return lines.reduce((sum, line) => sum + Math.max(1, Math.ceil([...line].length / columns)), 0)
  }
  const erase = (): Painted => {
    if (drawn.length === 0) return plain("")
    const up = height(drawn)
    drawn = []
    return eraseRows(up)
  }
  const say = (line: string, color?: Color) => {
    if (options.quiet) return
    const text = clip(line, longest)
    screen.write(joined(erase(), color === undefined ? plain(text) : paint(screen.color, color, text), plain("\n")))
  }

  /** What stays on the screen after an event, if anything. */
  const permanent = (event: Event): readonly [line: string, color?: Color] | undefined => {
    switch (event.event) {
      case "start":
        return [
          `${event.pipeline}, preset ${event.preset}: ${event.nodes} node${event.nodes === 1 ? "" : "s"}, ` +
            `run ${event.run}`
        ]
      case "node-start": {
        said.set(event.node, event.at)
        const hasReason = event.because.length > 0 || (event.resumedAt ?? 0) > 0 || (event.shardsDone ?? 0) > 0
        // On a terminal the live line says that the node runs; only its reasons deserve a line that stays.
        return !screen.live || hasReason ? [startLine(event), "dim"] : undefined
      }
      case "node-progress": {
        const node = view.nodes.get(event.node)
        if (screen.live || node === undefined || node.end !== undefined) return undefined
        if (event.at - (said.get(event.node) ?? node.startedAt) < plainEveryMs) return undefined
        said.set(event.node, event.at)
        return [runningLine(node, event.at)]
      }
      case "attempt":
        return [attemptLine(event), "yellow"]
      case "node-end":
        return [endLine(event), statusColor[event.status]]
      case "notice":
        return [event.node === undefined ? event.message : `${event.node}: ${event.message}`, "yellow"]
      default:
        return undefined
    }
  }

  return {
    event: (event) => {
      // The scheduler publishes its whole plan before anything else.
      if (view.plan.length > 0 && !planned && event.event !== "plan") {
        planned = true
        say(planCounts(view.plan))
      }
      view = reduce(view, event)
      const line = permanent(event)
      if (line !== undefined) say(...line)
      const engine = event.event === "start" ? engineLine(event) : undefined
      if (engine !== undefined) say(engine)
    },
    say: (line) => say(line),
    redraw: (nowMs) => {
      if (!screen.live || options.quiet) return
      // One column stays free: writing the last one makes some terminals wrap at once.
      const lines = liveLines(view, nowMs, Math.max(10, screen.columns() - 1), Math.max(1, screen.rows() - 2))
      if (lines.length === 0 && drawn.length === 0) return
      const hide = hidden || lines.length === 0 ? plain("") : hideCursor
      hidden ||= lines.length > 0
      screen.write(joined(hide, erase(), plain(lines.map((line) => line + "\n").join(""))))
      drawn = lines
    },
    aside: (write) => {
      const text = erase()
      if (text !== "") screen.write(text)
      return write()
    },
    close: () => {
      const text = joined(erase(), hidden ? showCursor : plain(""))
      hidden = false
      if (text !== "") screen.write(text)
    },
    view: () => view
  }
}

/**
 * Redraws on the Effect clock until the scope closes, then closes the terminal; also when the process exits otherwise.
 */
export const animate = (terminal: Terminal): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const onExit = () => terminal.close()
    yield* Effect.acquireRelease(
      Effect.sync(() => process.once("exit", onExit)),
      () =>
        Effect.sync(() => {
          process.off("exit", onExit)
          terminal.close()
        })
    )
    const draw = Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sync(() => terminal.redraw(now)))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(redrawEveryMs), draw)))
  })
