/** Models come from the hub: listed at a commit, resumed, held to its digests, and opened as a folder on disk is. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger } from "effect"
import { afterAll, afterEach } from "vitest"
import llavaPhi from "../../pipelines/llava-phi.ts"
import { openClip, openPhi } from "../../src/nodes/ModelFiles.ts"
import { build } from "../../src/run/Recipe.ts"
import * as LocalStore from "../../src/store/LocalStore.ts"
import { Store } from "../../src/store/Store.ts"
import { digestOf, type Fault, type File, type Served, serve } from "../store/remote/Server.ts"
import { temporaryFolder } from "../store/Support.ts"

const commit = "c".repeat(40)
const folderOf = (name: string): string => fileURLToPath(new URL(`../model/pickle/fixtures/${name}`, import.meta.url))
const servers: Array<Served> = []
afterAll(() => Promise.all(servers.map((one) => one.close())))

/** A hub with one repository: a fixture's folder, with LFS digests for the weights. */
const hub = (repo: string, fixture: string, faults: Readonly<Record<string, Array<Fault>>> = {}) =>
  Effect.promise(async () => {
    const files = Object.fromEntries(
      [...readdirSync(folderOf(fixture)), "README.md"].map((name) => [
        name,
        name === "README.md" ? Buffer.from("# not asked for") : readFileSync(join(folderOf(fixture), name))
      ])
    )
    const siblings = Object.entries(files).map(([rfilename, body]) => ({
      rfilename,
      size: body.length,
      ...(rfilename.endsWith(".bin") ? { lfs: { sha256: digestOf(body), size: body.length } } : {})
    }))
    const served: Record<string, File> = {
      [`/api/models/${repo}/revision/${commit}?blobs=true`]: {
        body: Buffer.from(JSON.stringify({ sha: commit, siblings }))
      }
    }
    for (const [name, body] of Object.entries(files))
      served[`/${repo}/resolve/${commit}/${name}`] = { body, ...(faults[name] ? { faults: faults[name] } : {}) }
    const server = await serve(served)
    servers.push(server)
    return server
  })

const fetched = (server: Served, location: string, files: ReadonlyArray<string>) =>
  Effect.flatMap(Store, (store) => store.fetchSource({ node: "n", location, files }, { pipeline: "p" })).pipe(
    Effect.provide(
      Layer.provideMerge(
        LocalStore.layer({
          root: temporaryFolder(),
          downloads: { backoffMs: 1, attempts: 2, endpoint: server.origin }
        }),
        Layer.merge(NodeFileSystem.layer, Logger.layer([]))
      )
    )
  )

describe("models from the hub", () => {
  it.live("a sharded Phi whose second shard was cut goes on where it was, and is the folder that the hub has", () =>
    Effect.gen(function* () {
      const second = "pytorch_model-00002-of-00003.bin"
      const server = yield* hub("microsoft/phi-2", "phi", { [second]: [{ cutAfter: 4000 }] })
      const patterns = ["config.json", "*.bin", "pytorch_model.bin.index.json"]
      const { path } = yield* fetched(server, `hf://microsoft/phi-2@${commit}/`, patterns)
      const asked = server.asked.filter((one) => one.path.endsWith(second))
      assert.deepStrictEqual(
        asked.map((one) => one.headers.range),
        [undefined, "bytes=4000-"]
      )
      assert.deepStrictEqual(readdirSync(path).sort(), readdirSync(folderOf("phi")).sort())
      const [here, there] = [yield* openPhi({ path }, "keep"), yield* openPhi({ path: folderOf("phi") }, "keep")]
      assert.deepStrictEqual(here.config, there.config)
      for (const [i, source] of here.sources.entries())
        assert.deepStrictEqual(yield* source.read, yield* there.sources[i]!.read, source.name)
    })
  )

  it.live("a CLIP that is only there as pytorch_model.bin opens; one that never has the hub's digest is not seen", () =>
    Effect.gen(function* () {
      const repo = "openai/clip-vit-large-patch14-336"
      const files = ["config.json", "pytorch_model.bin"]
      const good = yield* hub(repo, "clip")
      const { path } = yield* fetched(good, `hf://${repo}@${commit}`, files)
      assert.lengthOf((yield* openClip({ path })).sources, 39)
      const bad = yield* hub(repo, "clip", {
        "pytorch_model.bin": Array.from({ length: 9 }, () => ({ corrupt: true }))
      })
      const exit = yield* Effect.exit(fetched(bad, `hf://${repo}@${commit}`, files))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})

describe("MILLRACE_PHI2 and MILLRACE_CLIP", () => {
  afterEach(() => {
    for (const name of ["PHI2", "CLIP"]) delete process.env[`MILLRACE_${name}`]
  })

  const models = () => {
    const { nodes } = build(llavaPhi, { preset: "paper", settings: [], engine: "wasm" })
    return Object.fromEntries(
      nodes.flatMap(({ files, id, location }) =>
        location !== undefined && /tokenizer|phi-2|clip/.test(id) ? [[id, [location, files]]] : []
      )
    )
  }

  it("are the folders of the models, or addresses of which the weights alone are fetched", () => {
    const lies = models()
    assert.match(String(lies["sources/phi-2"]![0]), /data\/phi-2$/)
    process.env["MILLRACE_PHI2"] = "hf://microsoft/phi-2@main/"
    process.env["MILLRACE_CLIP"] = "/models/clip"
    assert.deepStrictEqual(models(), {
      "sources/tokenizer": ["hf://microsoft/phi-2@main/", ["tokenizer.json"]],
      "sources/phi-2": ["hf://microsoft/phi-2@main/", ["config.json", "*.safetensors", "model.safetensors.index.json"]],
      "sources/clip": ["/models/clip", undefined]
    })
  })
})
