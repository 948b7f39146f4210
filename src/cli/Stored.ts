/**
 * The subcommands that look at a store: `runs`, `show`, `gc`, `quarantine`.
 *
 * Nothing runs here. With `--json` each gives one JSON object a line on stdout, and people read stderr. All but `gc`
 * open the store read-only, so they work while a run goes on and on a store that cannot be written.
 */
import { existsSync } from "node:fs"
import { join, sep } from "node:path"
import { Clock, Effect, Stream } from "effect"
import { columns } from "../dag/Describe.ts"
import { didYouMean } from "../dag/Nearest.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Pipeline } from "../dag/Pipeline.ts"
import { bytes, duration, number } from "../run/Progress.ts"
import { rowsReadByPort } from "../run/RowsRead.ts"
import { type RunRules, runRules } from "../store/Garbage.ts"
import * as Gc from "../store/Gc.ts"
import { type Manifest, rowsRefused } from "../store/Manifest.ts"
import * as RunLog from "../store/RunLog.ts"
import { Store, type StoredEntry, StoreError } from "../store/Store.ts"
import { nodeCalled, UsageError } from "./Choose.ts"
import { encodeEvent } from "./EventJson.ts"
import { makeEventSummary } from "./EventSummary.ts"
import { type Drop, dropsTable, quarantineText, rowsIn, viewQuarantine } from "./Quarantine.ts"
import { nodeTable, outputLines } from "./Report.ts"
import { pagePath, storeLayer } from "./RunRecorder.ts"
import type { Session } from "./Session.ts"

type Record_ = RunLog.RunRecord

/** `2026-11-22 20:52:10`, UTC. */
const when = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace("T", " ")

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined

const preset = (run: Record_): string => String(field(run.settings, "preset") ?? "-")

/** How the nodes ended; a source that was fetched or found is no node that ran. */
const nodeCounts = (run: Record_): string => {
  const statuses = Object.values(run.nodes).map((node) => {
    const status = field(node, "status")
    return field(node, "kind") === "source" && (status === "ran" || status === "cached") ? "source" : status
  })
  const parts = ["ran", "cached", "failed", "interrupted", "skipped"].flatMap((status) => {
    const count = statuses.filter((one) => one === status).length
    return count === 0 ? [] : [`${count} ${status}`]
  })
  return parts.join(", ") || "-"
}

/** How long a run took, or takes so far; unknown for one that was killed. */
const took = (run: Record_, now: number): string =>
  run.endedMs !== undefined
    ? duration(run.endedMs - run.startedMs)
    : run.status === "running"
      ? `${duration(now - run.startedMs)} so far`
      : "-"

/** Runs of a store as a table, newest first. */
export const runsTable = (runs: ReadonlyArray<Record_>, now: number): string =>
  columns([
    ["run", "pipeline", "preset", "status", "started (UTC)", "duration", "nodes"],
    ...runs.map((run) => [
      run.id,
      run.pipeline,
      preset(run),
      run.status,
      when(run.startedMs),
      took(run, now),
      nodeCounts(run)
    ])
  ])

/** `runs` */
export const listRuns = (root: string, session: Session) =>
  Effect.gen(function* () {
    const store = yield* Store
    const runs = yield* RunLog.list(store.root)
    if (session.json) for (const run of runs) session.output.result(JSON.stringify(run))
    session.output.people((runs.length === 0 ? "no run yet" : runsTable(runs, yield* Clock.currentTimeMillis)) + "\n")
  }).pipe(Effect.provide(storeLayer(root, { readOnly: true })))

/** Where each finished node came from: key, code, and what its inputs were made by. */
const lineage = Effect.fnUntraced(function* (run: Record_) {
  const store = yield* Store
  const keys = new Map<string, { readonly key: string; readonly code: string }>()
  const nameOf = new Map<string, string>()
  for (const [id, node] of Object.entries(run.nodes)) {
    const key = field(node, "key")
    if (typeof key !== "string") continue
    keys.set(id, { key, code: String(field(node, "code") ?? "") })
    nameOf.set(key, id)
  }
  const rows: Array<ReadonlyArray<string>> = []
  for (const [id, { code, key }] of keys) {
    const found = (yield* store.find(key, code)).find((one) => one.manifest.code.digest === code)
    if (found === undefined) {
      rows.push([id, key.slice(0, 12), "-", "not in the store any more"])
      continue
    }
    const { manifest } = found
    const begun = manifest.begunBy.map((one) => `, begun by code ${one.slice(0, 12)}`).join("")
    const accepted = (found.aliases ?? []).map((code) => `, accepted for code ${code.slice(0, 12)}`).join("")
    const from = Object.entries(manifest.parents).map(([port, parent]) =>
      parent === ""
        ? `${port}: source ${(manifest.parts.inputs[port] ?? "?").slice(0, 12)}`
        : `${port}: ${nameOf.get(parent) ?? "entry"} ${parent.slice(0, 12)}`
    )
    rows.push([
      id,
      key.slice(0, 12),
      `${manifest.parts.definition} ${manifest.parts.version}, ` +
        `code ${manifest.code.digest.slice(0, 12)}${manifest.code.weak ? " (weak)" : ""}${begun}${accepted}`,
      from.join(", ") || "-"
    ])
  }
  return rows
})

/**
 * Outputs where they lie in the store at `root`. A record has the paths of the store as it was named then, perhaps from
 * another folder, and it may have been moved since.
 */
export const inStore = <O extends { readonly path: string }>(
  root: string,
  outputs: Readonly<Record<string, O>>
): Readonly<Record<string, O>> =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => {
      const at = output.path.lastIndexOf(`${sep}entries${sep}`)
      return [name, { ...output, path: at < 0 ? output.path : join(root, output.path.slice(at + 1)) }]
    })
  )

/** The same for people, with what is gone said to be. */
const orGone = <O extends { readonly path: string }>(
  outputs: Readonly<Record<string, O>>
): Readonly<Record<string, O>> =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => [
      name,
      existsSync(output.path) ? output : { ...output, path: `${output.path} (not in the store any more)` }
    ])
  )

/** `show RUN`; `last` is the newest. */
export const showRun = (root: string, id: string, session: Session) =>
  Effect.gen(function* () {
    const store = yield* Store
    const wanted = id === "last" ? ((yield* RunLog.list(store.root))[0]?.id ?? id) : id
    const run = yield* RunLog.show(store.root, wanted).pipe(
      Effect.catchIf(
        (error) => error.reason === "missing",
        (error) =>
          Effect.flatMap(RunLog.list(store.root), (runs) => {
            const ids = runs.map((one) => one.id)
            return Effect.fail(new UsageError({ message: `${error.message}${didYouMean(id, ids)}`, hint: error.hint }))
          })
      )
    )
    const summary = makeEventSummary()
    // Of a million steps a dozen are printed: only with --json is each of them read.
    if (!session.json) yield* RunLog.eachLines(store.root, run.id, summary.lines)
    else
      yield* Stream.runForEach(RunLog.events(store.root, run.id), (json) =>
        Effect.sync(() => {
          const known = summary.event(json)
          const event = known?.event === "run" ? { ...known, outputs: inStore(store.root, known.outputs) } : known
          // What this version does not know is passed on as it was written.
          session.output.result(JSON.stringify(event === undefined ? json : encodeEvent(event)))
        })
      )
    const view = summary.view()
    const losses = summary.losses()
    const unknown = summary.unknown()
    const say = (text: string) => session.output.people(text + "\n")
    say(runsTable([run], yield* Clock.currentTimeMillis))
    say(`settings: ${JSON.stringify(run.settings)}`)
    say("")
    say(nodeTable(view))
    for (const node of view.nodes.values())
      if (node.end?.error !== undefined)
        say(`  ${node.id}: ${node.end.error.tag}: ${node.end.error.message.replaceAll("\n", " ")}`)
    if (losses.length > 0) say(["", "losses", ...losses].join("\n"))
    const built = yield* lineage(run)
    if (built.length > 0) say(`\n${columns([["made", "key", "by", "from"], ...built])}`)
    const outputs = outputLines(orGone(inStore(store.root, view.run?.outputs ?? {})))
    if (outputs.length > 0) say(`\n${outputs.join("\n")}`)
    const page = pagePath(store.root, run.id)
    if (existsSync(page)) say(`\nThis run as a page: ${page}`)
    if (unknown > 0) say(`${unknown} events are of another version and were left out`)
  }).pipe(Effect.provide(storeLayer(root, { readOnly: true })))

/** The entry whose key, and code after a slash, start so; a usage error when there is none or more than one. */
const entryCalled = Effect.fnUntraced(function* (called: string) {
  const store = yield* Store
  const [, prefix = "", code = ""] = /^([0-9a-f]{6,64})(?:\/([0-9a-f]{1,64}))?$/.exec(called) ?? []
  const keys = prefix === "" ? [] : [...(yield* store.keys)].filter((key) => key.startsWith(prefix))
  const entries: Array<StoredEntry> = []
  for (const key of keys)
    for (const found of yield* store.find(key, "")) if (found.manifest.code.digest.startsWith(code)) entries.push(found)
  if (entries.length === 1) return entries[0]!
  const names = entries.map(({ manifest }) => `${manifest.key.slice(0, 12)}/${manifest.code.digest.slice(0, 12)}`)
  return yield* new UsageError({
    message: names.length > 1 ? `${called} could be ${names.slice(0, 5).join(" or ")}` : `no entry is called ${called}`,
    hint:
      "Give at least 6 digits of a key, and of its code after a slash where there are several; " +
      "`show last` lists both."
  })
})

/** `1 thing`, `2 things`. */
const counted = (count: number, what: string): string => `${number(count)} ${what}${count === 1 ? "" : "s"}`

/** Flags of `gc`. */
export interface GcFlags {
  readonly collect: boolean
  readonly pin: ReadonlyArray<string>
  readonly unpin: ReadonlyArray<string>
  readonly runs: boolean
  readonly keepLast: number | undefined
  readonly keepDays: number | undefined
}

/** The rules for records of runs; undefined where none may go. A rule without `--runs` is a mistake. */
const rulesOf = ({ keepDays, keepLast, runs }: GcFlags): Effect.Effect<RunRules | undefined, UsageError> =>
  runs
    ? Effect.succeed({ keepLast: keepLast ?? runRules.keepLast, keepDays: keepDays ?? runRules.keepDays })
    : keepDays === undefined && keepLast === undefined
      ? Effect.undefined
      : new UsageError({
          message:
            `${keepLast === undefined ? "--keep-days" : "--keep-last"} says which records of runs stay, ` +
            "and without --runs all of them do",
          hint: "Add --runs, or leave it out."
        })

/** Records of runs that the rules let go, where nobody asked for that. */
const oldRunsLine = (count: number): string => {
  const { keepDays, keepLast } = runRules
  return (
    `${counted(count, "record")} of old runs could go too (older than ${keepDays} days, ` +
    `not among the ${keepLast} newest of a pipeline); gc --runs --collect removes ${count === 1 ? "it" : "them"}`
  )
}

/**
 * `gc`: what would go; `--collect` removes it, `--pin` and `--unpin` decide what stays, `--runs` adds records of runs.
 */
export const gc = (root: string, flags: GcFlags, session: Session) => {
  const writes = flags.collect || flags.pin.length > 0 || flags.unpin.length > 0
  const say = (text: string) => session.output.people(text + "\n")
  return Effect.gen(function* () {
    const runs = yield* rulesOf(flags)
    const store = yield* Store
    for (const pin of flags.pin) {
      const at = pin.lastIndexOf("=")
      const found = yield* entryCalled(pin.slice(at + 1))
      const name = at > 0 ? pin.slice(0, at) : found.manifest.key.slice(0, 12)
      yield* Gc.pin(store.root, name, found)
      say(`pinned ${found.manifest.parts.definition} ${found.manifest.key.slice(0, 12)} as ${name}`)
    }
    for (const name of flags.unpin) {
      if (!(yield* Gc.unpin(store.root, name))) {
        const names = (yield* Gc.pins(store.root)).map((one) => one.name)
        return yield* new UsageError({
          message: `no pin is called "${name}"${didYouMean(name, names)}`,
          hint: `Pins: ${names.join(", ") || "none"}`
        })
      }
      say(`unpinned ${name}`)
    }
    const plan = yield* Gc.plan(store.root, runs === undefined ? {} : { runs })
    if (session.json) for (const one of plan.garbage) session.output.result(JSON.stringify(one))
    if (plan.garbage.length > 0)
      say(
        columns([
          ["kind", "bytes", "what", "path"],
          ...plan.garbage.map((one) => [one.kind, bytes(one.bytes), one.what, one.path])
        ])
      )
    const pins = yield* Gc.pins(store.root)
    if (pins.length > 0) say(`pins: ${pins.map((pin) => `${pin.name} ${pin.key.slice(0, 12)}`).join(", ")}`)
    const halves = plan.resumable.filter((one) => one.kind === "download").length
    if (plan.resumable.length > halves)
      say(`${counted(plan.resumable.length - halves, "unfinished node")} can be resumed and stay`)
    if (halves > 0) say(`${counted(halves, "unfinished download")} can be resumed and stay`)
    const reached = plan.kept === 1 ? "1 entry is" : `${number(plan.kept)} entries are`
    say(`${reached} reached; ${counted(plan.garbage.length, "thing")} could go, ${bytes(plan.bytes)}`)
    if (runs === undefined && plan.oldRuns > 0) say(oldRunsLine(plan.oldRuns))
    if (flags.collect) say(`removed ${bytes(yield* Gc.collect(store.root, plan))}`)
    else if (plan.garbage.length > 0) say("Nothing was removed; --collect does.")
  }).pipe(Effect.provide(storeLayer(root, { readOnly: !writes })))
}

/** What a stored result refused, by reason, with the rows that it read. */
export const dropsOf = Effect.fnUntraced(function* (node: AnyNode, { refused, rowsIn, ...manifest }: Manifest) {
  const inputs = Object.values(node.inputs).filter((ref) => ref.artifact.kind === "rows")
  const several = node.spec.kind !== "sharded" && inputs.length > 1
  const rowsInByPort = several ? yield* rowsReadByPort(node, manifest) : undefined
  const read = several ? (rowsInByPort === undefined ? {} : { rowsInByPort }) : { rowsIn }
  return Object.entries(refused).map(([reason, rows]): Drop => ({ node: node.id, ...read, reason, rows }))
})

/** `quarantine`: rows that the latest stored results of all nodes refused, by node and reason. */
export const drops = (root: string, pipeline: Pipeline, session: Session) =>
  Effect.gen(function* () {
    const store = yield* Store
    const found: Array<Drop> = []
    for (const node of pipeline.nodes) {
      const last = yield* store.last(pipeline.name, node.id)
      const entry = last === undefined ? undefined : (yield* store.find(last.key, last.code))[0]
      if (entry === undefined) continue
      found.push(...(yield* dropsOf(node, entry.manifest)))
    }
    if (session.json) for (const drop of found) session.output.result(JSON.stringify(drop))
    session.output.people(dropsTable(found) + "\n")
  }).pipe(Effect.provide(storeLayer(root, { readOnly: true })))

/** `quarantine NODE`: counts by reason and the first rows that the node's latest stored result refused. */
export const quarantine = (root: string, pipeline: Pipeline, id: string, limit: number, session: Session) =>
  Effect.gen(function* () {
    const node = yield* nodeCalled(pipeline, id)
    const store = yield* Store
    const last = yield* store.last(pipeline.name, node.id)
    const found = last === undefined ? undefined : (yield* store.find(last.key, last.code))[0]
    if (found === undefined)
      return yield* new UsageError({
        message: `${node.id} has no stored result in ${store.root}`,
        hint: "Run it first, or give the store it ran in with --store."
      })
    const view = yield* viewQuarantine(store.refused(found), limit)
    const counted = rowsRefused(found.manifest)
    if (rowsIn(view) !== counted)
      return yield* new StoreError({
        reason: "damaged",
        path: found.folder,
        message: `its manifest counts ${counted} refused rows, its files hold ${rowsIn(view)}`,
        hint: `Delete ${found.folder} and run again: the node is made anew, its quarantine with it.`
      })
    if (session.json)
      for (const { refused, shard } of view.first)
        session.output.result(JSON.stringify({ node: node.id, shard, ...refused }))
    session.output.people(quarantineText(node.id, view) + "\n")
  }).pipe(Effect.provide(storeLayer(root, { readOnly: true })))
