/** Cells run in a real kernel; all their output arrives, and the end of a kernel is reported. */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { startKernel } from "../../../scripts/jupyter/Kernel.ts"
import { outputsOf } from "../../../scripts/jupyter/Notebook.ts"

const cwd = fileURLToPath(new URL("../../../docs/notebooks", import.meta.url))

it.live(
  "a cell's prints, displays and result arrive with it, whenever the kernel publishes them",
  () =>
    Effect.gen(function* () {
      const kernel = yield* startKernel({ cwd, env: { KERNEL_TEST: "given" } })
      expect(kernel.info["implementation"]).toBe("Deno kernel")
      const display = `await Deno.jupyter.display({ "text/plain": "shown" }, { raw: true })`
      for (let round = 0; round < 25; round++) {
        const { reply, shown } = yield* kernel.execute(`console.log("a"); console.log("b"); ${display}; ${round}`)
        expect(reply.content["status"]).toBe("ok")
        const outputs = outputsOf(shown)
        // Prints go another way than displays and results: their order among each other is not the kernel's promise.
        expect(outputs.filter((one) => one.output_type === "stream")).toEqual([
          { output_type: "stream", name: "stdout", text: ["a\n", "b\n"] }
        ])
        expect(outputs.filter((one) => one.output_type !== "stream")).toEqual([
          { output_type: "display_data", data: { "text/plain": ["shown"] }, metadata: {} },
          {
            output_type: "execute_result",
            data: { "text/plain": [`${round}`] },
            metadata: {},
            execution_count: round + 1
          }
        ])
      }
      const { shown } = yield* kernel.execute("process.env.KERNEL_TEST")
      expect(shown.map((one) => one.content["data"])).toEqual([{ "text/plain": '"given"' }])
    }).pipe(Effect.scoped),
  120_000
)

it.live(
  "names stay from cell to cell, sources are imported as they are, and an exception is an answer",
  () =>
    Effect.gen(function* () {
      const kernel = yield* startKernel({ cwd })
      yield* kernel.execute(
        'import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"\nconst id: string = cleanShareGpt.spec.id'
      )
      const named = yield* kernel.execute("id")
      expect(named.shown.map((one) => one.content["data"])).toEqual([{ "text/plain": '"cleanShareGpt"' }])
      const thrown = yield* kernel.execute('throw new RangeError("too far")')
      expect([thrown.reply.content["status"], thrown.reply.content["ename"]]).toEqual(["error", "RangeError"])
      expect(thrown.shown.map((one) => one.type)).toEqual(["error"])
      expect((yield* kernel.execute("void 0")).shown).toEqual([])
    }).pipe(Effect.scoped),
  120_000
)

it.live(
  "a kernel that ends is told at once, with what it said",
  () =>
    Effect.gen(function* () {
      const kernel = yield* startKernel({ cwd })
      const ended = yield* Effect.flip(kernel.execute('console.error("bye"); Deno.exit(3)'))
      expect([ended._tag, ended.reason]).toEqual(["KernelError", "ended"])
      expect(ended.message).toContain("exit code 3")
      const after = yield* Effect.flip(kernel.execute("1"))
      expect(after.reason).toBe("ended")
      const nowhere = yield* Effect.flip(startKernel({ cwd: `${cwd}/nowhere` }))
      expect([existsSync(`${cwd}/nowhere`), nowhere.reason]).toEqual([false, "ended"])
    }).pipe(Effect.scoped),
  120_000
)
