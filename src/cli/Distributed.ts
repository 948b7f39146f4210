/**
 * Rank 0's run among other processes: starts them where no launcher does, and ends with the first rank that is lost.
 */
import { Clock, Effect } from "effect"
import { environment } from "../dag/Environment.ts"
import type { RankLost } from "../dag/ProcessGroup.ts"
import {
  type Coordinator,
  CurrentCoordinator,
  isSymptom,
  openCoordinator,
  type RankAddress
} from "../run/Coordinator.ts"
import { Events } from "../run/Events.ts"
import { NodeFailed } from "../run/Run.ts"
import { endLate, makeRankSpawner, shareMachine, spawnsRanks } from "./Ranks.ts"

/** A failed collective is a symptom: rank 0 waits so long for the report of the rank that caused it. */
const RANK_REPORT_TIMEOUT = "8 seconds"

/** `same`: what all ranks must agree on. */
export const runDistributed = <A, E, R>(running: Effect.Effect<A, E, R>, address: RankAddress, same: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const local = spawnsRanks(address)
      if (local) shareMachine(address, environment())
      const spawner = yield* makeRankSpawner
      const spawnRanks = (coordinator: Coordinator) => spawner.spawnRanks(address, coordinator, process, environment())
      const events = yield* Events
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const report = (message: string) =>
        void fork(Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "notice", at, message })))
      const coordinator = yield* openCoordinator(address, same, local ? spawnRanks : undefined, report)
      const led = running.pipe(
        Effect.provideService(CurrentCoordinator, coordinator),
        Effect.catch((error) =>
          error instanceof NodeFailed && isSymptom(error)
            ? Effect.andThen(
                Effect.timeoutOption(coordinator.lost, RANK_REPORT_TIMEOUT),
                Effect.fail<E | RankLost>(error)
              )
            : Effect.fail(error)
        )
      )
      return yield* Effect.raceFirst(led, Effect.tapError(coordinator.lost, endLate))
    })
  )
