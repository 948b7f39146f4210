/**
 * Talk with a model that a run has exported.
 *
 *     npx tsx pipelines/chat.ts --image FILE                        the newest checkpoint of .millrace
 *     npx tsx pipelines/chat.ts --model DIR_OR_RUN --image FILE     another one
 *     npx tsx pipelines/chat.ts --image FILE --prompt TEXT --json   for scripts
 *
 * Not a recipe: nothing is planned, stored or keyed. Right after `npx tsx pipelines/llava-phi.ts` it needs nothing
 * more.
 */
import { Effect } from "effect"
import { chat } from "../src/cli/chat/Start.ts"
import { type ChatError, openChatModel, type Picture } from "../src/nodes/ChatModel.ts"
import * as Engine from "../src/tensor/Engine.ts"
import type { EngineUnavailable } from "../src/tensor/Errors.ts"

chat<Picture, ChatError | EngineUnavailable>(import.meta, {
  name: "chat",
  engines: Engine.engineNames,
  resolveEngine: Engine.resolve,
  open: (folder, engine) => openChatModel(folder).pipe(Effect.provide(Engine.layer(engine)))
})
