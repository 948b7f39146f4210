/**
 * One invocation of the command line: where it writes, what it has said, and how it is asked to stop.
 *
 * Not a service: one per process, made by `Main.ts` before anything is parsed, so that a signal or a failure at any
 * moment still ends with a last `run` event under `--json`.
 */
import { ended, running, type View } from "../run/Progress.ts"
import { tell } from "./ErrorLines.ts"
import { type Event, encodeEvent } from "./EventJson.ts"
import type { Output } from "./Output.ts"
import type { Terminal } from "./Terminal.ts"

type RunEvent = Extract<Event, { readonly event: "run" }>

export interface Session {
  readonly output: Output
  readonly json: boolean
  /** The command to type again after an interruption. */
  readonly resume: () => string
  /** Set while a run goes on: asks it to stop politely, and records why. */
  stop: ((why: string) => void) | undefined
  /** Set while a run goes on: gives up what is in flight, ends threads and closes the record. */
  giveUp: ((why: string) => void) | undefined
  terminal: Terminal | undefined
  /** Writes an event as a JSON line under `--json`; nothing after the last one. */
  readonly emit: (event: Event) => void
  /** The last event of a run that did not complete, from what is known. */
  readonly unfinished: (status: "failed" | "interrupted", error?: unknown) => RunEvent
}

/** What a polite stop waits for, in words. */
export const waitingFor = (view: View | undefined): string => {
  const nodes = view === undefined ? [] : running(view)
  if (nodes.length === 0) return "what is in flight"
  const what = (kind: string) =>
    kind === "fold"
      ? "a checkpoint"
      : kind === "sharded"
        ? "the shards in flight"
        : kind === "source"
          ? "its download"
          : "the node"
  return nodes.map((node) => `${node.id} (${what(node.kind)})`).join(", ")
}

/** A session that writes to `output`. */
export const makeSession = (options: {
  readonly output: Output
  readonly json: boolean
  /** That command, given the nodes that ran to their end. */
  readonly resume: (ran: ReadonlySet<string>) => string
}): Session => {
  let last = false
  const session: Session = {
    output: options.output,
    json: options.json,
    resume: () => {
      const nodes = [...(session.terminal?.view().nodes.values() ?? [])]
      return options.resume(new Set(nodes.filter((node) => node.end?.status === "ran").map((node) => node.id)))
    },
    stop: undefined,
    giveUp: undefined,
    terminal: undefined,
    emit: (event) => {
      if (!options.json || last) return
      last = event.event === "run"
      options.output.result(JSON.stringify(encodeEvent(event)))
    },
    unfinished: (status, error) => {
      const view = session.terminal?.view()
      return {
        event: "run",
        status,
        nodesRun: view === undefined ? 0 : ended(view, "ran"),
        nodesCached: view === undefined ? 0 : ended(view, "cached"),
        outputs: {},
        metrics: error === undefined ? null : { error: { ...tell(error) } }
      }
    }
  }
  return session
}
