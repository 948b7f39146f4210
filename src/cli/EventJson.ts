/** Events as JSON and back, for `--json` and for a run's record. */
import { Schema } from "effect"
import { Event } from "../run/Events.ts"

export type { Event } from "../run/Events.ts"

const codec = Schema.toCodecJson(Event)

/** An event as plain JSON. */
export const encodeEvent = Schema.encodeUnknownSync(codec) as (event: Event) => Schema.Json

/** An event read back; none for one that this version does not know. */
export const decodeEvent = Schema.decodeUnknownOption(codec)
