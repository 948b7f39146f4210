/** Peers from npm: development dependencies. A row whose package does not load fails and says so. */
import { PeerMissing } from "./Row.ts"

/** Imports a peer. Fails with `PeerMissing` where it is not installed or has no build for this machine. */
export const npmPeer = async <A>(name: string, load: () => Promise<A>): Promise<A> => {
  try {
    return await load()
  } catch (cause) {
    throw new PeerMissing({
      what: `npm package ${name}`,
      message: cause instanceof Error ? cause.message : String(cause),
      hint: "Run npm ci with its development dependencies."
    })
  }
}
