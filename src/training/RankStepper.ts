/**
 * Steps of a process group, ZeRO-1 (`ShardedOptimizer.ts`): rank 0 runs the training loop, the other ranks follow it.
 *
 * Not processes and not collectives: the runner starts the former, the engine has the latter. Before each collective
 * part of its work rank 0 broadcasts a command (take step n, save, measure, end) and all ranks do it together. Whatever
 * fails on rank 0 between two commands, the others are let go when its scope closes.
 */
import { Effect, type Scope } from "effect"
import { ProcessGroup } from "../dag/ProcessGroup.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import { Collective, CollectiveFailed } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { splitStep } from "./BatchSharding.ts"
import type { Prefetch } from "./Prefetch.ts"
import { type ShardedOptimizer, shardOptimizer } from "./ShardedOptimizer.ts"
import { learningRateOf, type Stage } from "./Stage.ts"
import { freeState, type TrainState } from "./Step.ts"
import { heldOutLoss, prefetchStage, type Stepper, type StepperError, stepOptions } from "./Stepper.ts"

/** What rank 0 broadcasts, with the step that it is about. */
const commands = { end: 0, step: 1, save: 2, measure: 3 } as const
type Command = keyof typeof commands

/** How long the last command may take where something failed before. */
const END_TIMEOUT = "5 seconds"

/** The process group of the fold that runs; undefined where this process computes by itself. */
export const joinGroup: Effect.Effect<Collective["Service"] | undefined, CollectiveFailed, Tensors | Scope.Scope> =
  Effect.gen(function* () {
    const rendezvous = yield* ProcessGroup
    if (rendezvous === undefined) return undefined
    const { fingerprint, join } = yield* Tensors
    if (join !== undefined) return yield* join(rendezvous)
    return yield* new CollectiveFailed({
      rank: rendezvous.rank,
      world: rendezvous.world,
      operation: "join",
      message: `the engine ${fingerprint.engine} cannot compute in several processes`,
      hint: "Use --engine torch, or one process."
    })
  })

/** One step of all ranks, this rank's part of it. */
const stepTogether = <E, R>(
  stage: Stage<any>,
  optimizer: ShardedOptimizer,
  batches: Prefetch<TokenBatch, E, R>,
  group: Collective["Service"],
  lr: number,
  step: number
) =>
  Effect.andThen(
    batches.begin(step),
    optimizer.step(
      stage.model,
      stage.frozen,
      { cuts: splitStep(stage.plan.rows(step), stage.settings.microBatch, group.world), load: batches.load },
      stepOptions(stage, lr, step)
    )
  )

/** Broadcasts commands until one has failed or the end was said; `together` runs what all ranks do at a command. */
const commander = (group: Collective["Service"]) => {
  let over = false
  const say = (command: Command, step: number): Effect.Effect<void, CollectiveFailed> =>
    Effect.suspend(() => {
      if (over) return Effect.void
      over = command === "end"
      return group.tell([commands[command], step])
    })
  const together = <A, E, R>(command: Command, step: number, work: Effect.Effect<A, E, R>) =>
    Effect.andThen(say(command, step), work).pipe(
      // What failed here fails on the other ranks too, or the runner ends them.
      Effect.tapCause(() =>
        Effect.sync(() => {
          over = true
        })
      )
    )
  return { end: say("end", 0), together }
}

/**
 * Rank 0's stepper over `initial`, which it takes over: the state is broadcast, and the moments are cut over the ranks.
 *
 * @example const stepper = yield* rankStepper(stage, yield* initialState(weights), yield* joinGroup)
 */
export const rankStepper = <E, R>(
  stage: Stage<any>,
  initial: TrainState,
  group: Collective["Service"]
): Effect.Effect<Stepper<E, R>, TensorError | CollectiveFailed, Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const { end, together } = commander(group)
    const optimizer = yield* Effect.onError(Effect.provideService(shardOptimizer(initial), Collective, group), () =>
      freeState(initial)
    )
    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(end, END_TIMEOUT)))
    const learningRate = learningRateOf(stage)
    const batches = yield* prefetchStage<E, R>(stage, group)
    const weights = () => optimizer.train().weights
    return {
      weights,
      step: (step) => together("step", step, stepTogether(stage, optimizer, batches, group, learningRate(step), step)),
      save: (step) => together("save", step, optimizer.save),
      measure: (step) => together("measure", step, heldOutLoss<E, R>(stage, weights(), step, group)),
      close: end
    }
  })

/** What ranks other than 0 do: each command of rank 0, until it says the end. */
export const followRankZero = <E, R>(
  stage: Stage<any>,
  group: Collective["Service"]
): Effect.Effect<void, E | StepperError, R | Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const optimizer = yield* Effect.provideService(shardOptimizer(undefined), Collective, group)
    const learningRate = learningRateOf(stage)
    const batches = yield* prefetchStage<E, R>(stage, group)
    for (;;) {
      const [command, step] = yield* group.hear(2)
      if (command === commands.end) return
      if (command === commands.save) yield* optimizer.save
      else if (command === commands.measure) yield* heldOutLoss<E, R>(stage, optimizer.train().weights, step!, group)
      else yield* stepTogether(stage, optimizer, batches, group, learningRate(step!), step!)
    }
  })
