/**
 * Sources: files from outside the graph, known by their content.
 *
 * A source is a location, never a keyed parameter: moving or renaming the files changes no key, changing a byte does.
 */
import { isAbsolute, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import type { TreeArtifact } from "./Artifact.ts"
import { instanceId } from "./Naming.ts"
import { type AnyNode, type Applied, outputsOf } from "./Node.ts"
import { place } from "./Place.ts"

/**
 * A file or folder as the `files` output of a node of its own.
 *
 * `sha256`, when given, is what the file must have; a mismatch fails the plan. Missing files fail the plan too, and
 * `hint` says what to do then.
 *
 * @example
 * const raw = source(ShareGptFile, { id: "sharegpt", location: new URL("./sharegpt.json", import.meta.url) })
 * readShareGpt({ file: raw.out.files }, { shardRows: 512 })
 */
export const source = <A extends TreeArtifact<string>>(
  artifact: A,
  options: {
    readonly id: string
    readonly location: string | URL
    readonly sha256?: string
    readonly about?: string
    readonly hint?: string
  }
): Applied<{ readonly files: A }, never, never> => {
  const at = place()
  const location =
    options.location instanceof URL || options.location.startsWith("file://")
      ? fileURLToPath(options.location)
      : isAbsolute(options.location)
        ? options.location
        : resolve(options.location)
  const outputs = { files: artifact }
  const self: { -readonly [K in keyof AnyNode]: AnyNode[K] } = {
    id: instanceId(options.id),
    spec: {
      id: "source",
      version: "1",
      kind: "source",
      ...(options.about === undefined ? {} : { about: options.about }),
      params: Schema.Struct({ sha256: Schema.optional(Schema.String) }),
      inputs: {},
      outputs,
      run: undefined,
      place: at
    },
    params: options.sha256 === undefined ? {} : { sha256: options.sha256 },
    inputs: {},
    out: {},
    place: at,
    location,
    ...(options.hint === undefined ? {} : { hint: options.hint })
  }
  self.out = outputsOf(self, outputs)
  return self as unknown as Applied<{ readonly files: A }, never, never>
}
