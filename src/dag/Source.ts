/**
 * Sources: files from outside the graph, known by their content.
 *
 * A source is a location, never a keyed parameter: moving or renaming the files changes no key, changing a byte does.
 */
import { isAbsolute, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import type { TreeArtifact } from "./Artifact.ts"
import { instanceId, nameFault } from "./InstanceScope.ts"
import { type AnyNode, type Applied, outputsOf, WiringError } from "./Node.ts"
import { callerLocation, showSourceLocation } from "./SourceLocation.ts"
import { otherLocation } from "./SourceOverrides.ts"

/** True for a location that is an address, to be fetched: `http://`, `https://`, `hf://`. */
export const isRemote = (location: string): boolean => /^(?:https?|hf):\/\//i.test(location)

/** A location for people: an address loses its query, which may hold a signature. */
export const showLocation = (location: string): string =>
  isRemote(location) ? location.replace(/[?#].*$/, "?...") : location

const located = (location: string | URL): string => {
  const text = String(location)
  if (isRemote(text)) return text
  return text.startsWith("file://") ? fileURLToPath(text) : isAbsolute(text) ? text : resolve(text)
}

/**
 * A file or folder as the `files` output of a node of its own.
 *
 * `location` is a path, or an address: `https://HOST/PATH`, `hf://datasets/OWNER/NAME@REVISION/PATH`, or
 * `hf://OWNER/NAME@REVISION/PATH` for a model's repository; one that ends in a slash is a folder, of which `files`
 * names some (`*` for any letters but a slash). An address is fetched by the first run that needs it, never by a plan.
 * Of a local folder, `files` names some as well; what is hidden or left behind by a program (`.DS_Store`, `Thumbs.db`)
 * is no part of a source unless `files` names it (`**` alone: all that is there).
 *
 * `sha256`, when given, is what the content must have; a mismatch fails the plan, or the download. So does a wrong
 * `bytes` of a download. Missing files fail the plan too, and `hint` says what to do then.
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
    /** Size, of an address: shown by a plan, and checked. */
    readonly bytes?: number | undefined
    /** Of a folder, here or at an address: names below it, `*` for any letters but a slash, `**` for any. */
    readonly files?: ReadonlyArray<string>
    readonly about?: string
    readonly hint?: string
  }
): Applied<{ readonly files: A }, never, never> => {
  const at = callerLocation()
  const wrongName = nameFault("node", instanceId(options.id))
  if (wrongName !== undefined)
    throw new WiringError({ node: String(options.id), sourceLocation: showSourceLocation(at), ...wrongName })
  const other = otherLocation(instanceId(options.id))
  const location = located(other ?? options.location)
  // What was stated of the files that the recipe names does not hold for others.
  const { bytes, sha256 } = other === undefined ? options : { bytes: undefined, sha256: undefined }
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
      sourceLocation: at
    },
    params: sha256 === undefined ? {} : { sha256 },
    inputs: {},
    out: {},
    sourceLocation: at,
    location,
    ...(bytes === undefined ? {} : { bytes }),
    ...(options.files === undefined ? {} : { files: options.files }),
    ...(options.hint === undefined ? {} : { hint: options.hint })
  }
  self.out = outputsOf(self, outputs)
  return self as unknown as Applied<{ readonly files: A }, never, never>
}
