/**
 * The network: undici over Node's sockets, through the proxies that the environment names (`HTTPS_PROXY`, `NO_PROXY`).
 *
 * Loaded when the first download starts, so that a run of local files pays nothing for it. Whoever provides an
 * `HttpClient` to the store's layer replaces it.
 */
import { Effect, Layer } from "effect"
import type { HttpClient } from "effect/http"

/** An `HttpClient` that follows no redirects and decodes no bodies: `Http.ts` does the first and refuses the second. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.unwrap(
  Effect.map(
    Effect.promise(() =>
      Promise.all([import("@effect/platform-node/NodeHttpClient"), import("@effect/platform-node/Undici")])
    ),
    ([{ Dispatcher, layerUndiciNoDispatcher }, { EnvHttpProxyAgent }]) =>
      Layer.provide(
        layerUndiciNoDispatcher,
        Layer.effect(
          Dispatcher,
          Effect.acquireRelease(
            Effect.sync(() => new EnvHttpProxyAgent()),
            (agent) => Effect.promise(() => agent.destroy())
          )
        )
      )
  )
)
