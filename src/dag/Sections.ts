/**
 * What a recipe adds to a run's report: figures, tables, cards with pictures, and losses, as plain data.
 *
 * Not HTML and not a template: who draws the page decides how it looks. Nodes and recipes make these values without
 * importing the command line.
 */
import type { Effect, Scope } from "effect"
import type { Artifact, Handle, InputUnavailable } from "./Artifact.ts"

/** Whether an answer is what it should be. */
export type Mark = "right" | "wrong"

/** One cell of a table. `share` (0 to 1) is drawn as a bar beside the text. */
export interface Cell {
  readonly text: string
  readonly share?: number
  readonly mark?: Mark
}

/** A column; figures stand at the right. */
export interface Column {
  readonly name: string
  readonly figures?: boolean
}

export interface Table {
  readonly columns: ReadonlyArray<Column>
  /** As many cells a row as there are columns. */
  readonly rows: ReadonlyArray<ReadonlyArray<string | Cell>>
}

/** A small picture: `width` x `height` x 3 uint8, rows from the top. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly pixels_HWC: Uint8Array
}

/** A picture and what is said about it. */
export interface Card extends Table {
  readonly title: string
  readonly picture?: Picture
}

/** A part of the page under a heading of its own; `about` is a sentence or two below it. */
export type Section =
  | ({ readonly kind: "table"; readonly title: string; readonly about?: string } & Table)
  | { readonly kind: "cards"; readonly title: string; readonly about?: string; readonly cards: ReadonlyArray<Card> }

/** Stored losses of a training node, one a step from the first; they stand in for what the run's events left out. */
export interface Losses {
  /** Instance id. */
  readonly node: string
  readonly losses: ReadonlyArray<number>
  /** Mean over held-out rows; null when nothing was held out. */
  readonly heldOut: number | null
  /** The same on the way, after some of the steps. */
  readonly evaluations?: ReadonlyArray<{ readonly step: number; readonly loss: number }>
  /** The step whose weights were kept, where one was chosen. */
  readonly keptStep?: number
}

/** A recipe's part of the report. */
export interface Part {
  /** The few figures that stand at the top. */
  readonly figures: ReadonlyArray<{ readonly name: string; readonly text: string }>
  readonly losses: ReadonlyArray<Losses>
  readonly sections: ReadonlyArray<Section>
}

/** A stored artifact and the node that made it. */
export interface Made<A> {
  readonly node: string
  readonly value: Handle<A>
}

/**
 * What a run left in the store, as far as it got: all of it may be absent.
 *
 * Reads by wiring and not by node id, so that it holds for a recipe whose data or stages were swapped.
 */
export interface Finished {
  /** Names of the targets that are such an artifact, in the pipeline's order. */
  readonly targets: (artifact: Artifact) => ReadonlyArray<string>
  /** A target's value. */
  readonly output: <A extends Artifact>(
    target: string,
    artifact: A
  ) => Effect.Effect<Made<A> | undefined, InputUnavailable, Scope.Scope>
  /** What the node behind a target reads at one of its inputs, whether or not that node ran. */
  readonly input: <A extends Artifact>(
    target: string,
    port: string,
    artifact: A
  ) => Effect.Effect<Made<A> | undefined, InputUnavailable, Scope.Scope>
}
