/**
 * Bad files, bad disks and bad company end in a typed error with a hint or in quarantined rows with a reason, and never
 * in lost or half-visible output: a good run on the same store ends with the digests of an undisturbed one.
 *
 * Real processes and real files. What a machine cannot give (mount rights for a full disk, another user for a store
 * that may not be written) is skipped with its reason.
 */
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { deflateRawSync } from "node:zlib"
import { Schema } from "effect"
import { beforeAll, describe, expect, test } from "vitest"
import ledger from "../../datasets/sample/ledger.json" with { type: "json" }
import { type ZipEntry, zipBytes } from "../../src/bytes/ZipWriter.ts"
import { Event } from "../../src/run/Events.ts"
import {
  type Bench,
  completed,
  digestsOf,
  type Ended,
  expectTidy,
  expectTidyAfterKills,
  failed,
  freshFolder,
  lastOf,
  makeBench,
  nodes,
  nodesThat,
  small
} from "./Bench.ts"
import { entriesOf, smallFiles, writeSources } from "./Sources.ts"

let undisturbed: Readonly<Record<string, string>>
/** A store that holds a whole run; tests on it may add to it, and must leave its results alone. */
let whole: Bench

beforeAll(async () => {
  whole = await makeBench()
  undisturbed = digestsOf(completed(await whole.run()))
}, 120_000)

const text = async (name: string): Promise<string> => String((await smallFiles())[name])
const bytes = async (name: string): Promise<Uint8Array> => Buffer.from((await smallFiles())[name]!)

/** Runs on `whole`'s store with some source files replaced. */
const runWith = async (changed: Readonly<Record<string, string | Uint8Array | undefined>>, ...args: Array<string>) => {
  const sources = await writeSources(join(freshFolder(), "sources"), changed)
  return whole.run(args, { env: { E2E_SOURCES: sources } })
}

const refusedBy = ({ events }: Ended, node: string): Readonly<Record<string, number>> | undefined => {
  const end = events.find((event) => event.event === "node-end" && event.node === node)
  return end?.event === "node-end" ? end.refusedBy : undefined
}

describe("a source that cannot be read", () => {
  test("fails with file, place and what to do, and leaves a store that a good run completes", async () => {
    const bench = await makeBench()
    const conversations = await text("sharegpt.json")
    const id = (JSON.parse(conversations) as ReadonlyArray<{ readonly id: string }>)[35]!.id
    const insideRow35 = conversations.indexOf(JSON.stringify(id)) + 40
    const zip = await bytes("images.zip")
    const cases: ReadonlyArray<{
      readonly file: string
      readonly data: string | Uint8Array | undefined
      readonly until: string
      readonly says: RegExp
    }> = [
      {
        file: "sharegpt.json",
        data: conversations.slice(0, insideRow35),
        until: "readShareGpt",
        says: /ends inside.*row 35/
      },
      { file: "sharegpt.json", data: '{"a":1}', until: "readShareGpt", says: /does not start with/ },
      { file: "sharegpt.json", data: "", until: "readShareGpt", says: /is empty/ },
      { file: "instruct.json", data: "not json at all", until: "readInstructions", says: /does not start with/ },
      { file: "chat.json", data: undefined, until: "readCaptions", says: /does not exist/ },
      { file: "images.zip", data: undefined, until: "pretrain/tokenizeImages", says: /does not exist/ },
      { file: "images.zip", data: zip.slice(0, 40_000), until: "pretrain/tokenizeImages", says: /no end record/ },
      { file: "images.zip", data: Buffer.alloc(5000, 7), until: "pretrain/tokenizeImages", says: /no end record/ },
      { file: "tokenizer.json", data: '{"model":{}}', until: "splitConversations", says: /tokenizer\.json/ }
    ]
    for (const { data, file, says, until } of cases) {
      const sources = await writeSources(join(freshFolder(), "sources"), { [file]: data })
      if (data === undefined) rmSync(join(sources, file), { force: true })
      const error = failed(await bench.run(["--until", until], { env: { E2E_SOURCES: sources } }))
      expect(error.message).toMatch(says)
      expect(error.message).toContain(join(sources, file))
    }
    const good = await bench.run()
    expect(digestsOf(completed(good))).toEqual(undisturbed)

    // What failed under other keys stays until it is collected, and nothing else goes with it.
    await expectTidyAfterKills(bench)
    expect(completed(await bench.run())).toMatchObject({ nodesRun: 0, outputs: lastOf(good).outputs })
  }, 120_000)
})

describe("rows that cannot be used", () => {
  test("of wrong types are quarantined, and the others give what they give without them", async () => {
    const rows = JSON.parse(await text("sharegpt.json")) as ReadonlyArray<unknown>
    const bad = [
      1,
      null,
      "text",
      [],
      { id: 5 },
      { id: "a", conversations: "none" },
      { id: "b", conversations: [{ from: "human" }] },
      { id: "c", conversations: [{ from: "human", value: { not: "text" } }] }
    ]
    const mixed = [...rows.slice(0, 20), ...bad.slice(0, 4), ...rows.slice(20), ...bad.slice(4)]
    const ended = await runWith({ "sharegpt.json": JSON.stringify(mixed) })
    expect(digestsOf(completed(ended))).toEqual(undisturbed)
    expect(nodesThat("ran", ended)).toEqual(["readShareGpt"])
    const counts = Object.values(refusedBy(ended, "readShareGpt") ?? {})
    const { "missing-conversations": missing, "value-not-text": empty } = ledger.sharegpt
    const own = rows.filter((row) => [...missing, ...empty].includes((row as { readonly id: string }).id))
    expect(counts.reduce((sum, one) => sum + one, 0)).toBe(bad.length + own.length)
  })

  test("when they are too many fail the run instead of training on what is left", async () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ id: i, conversations: null }))
    const error = failed(await runWith({ "sharegpt.json": JSON.stringify(rows) }))
    expect(error.message).toMatch(/60 of .*60/)
    expect(digestsOf(completed(await whole.run()))).toEqual(undisturbed)
  })
})

/** Captions, and an archive in which the k-th of their images is what `change` makes of it. */
const picturesWith = async (change: (entries: Array<ZipEntry>) => void): Promise<Uint8Array> => {
  const captions = JSON.parse(await text("chat.json")) as ReadonlyArray<{ readonly image: string }>
  const entries = [
    ...(await entriesOf(
      "cc595k/images.zip",
      captions.slice(0, 50).map((row) => row.image)
    ))
  ]
  change(entries)
  return zipBytes(entries)
}

const countOf = (counts: Readonly<Record<string, number>> | undefined): number =>
  Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0)

describe("pictures that are not to be trusted", () => {
  const node = "pretrain/tokenizeImages"
  const until = ["--until", node] as const
  let before = 0
  /** Captions that reach the node and whose images are good. */
  let good: ReadonlyArray<number> = []
  /** The memory of the node that decodes, bytes. */
  const peakOf = (ended: Ended): number => {
    const end = ended.events.find((event) => event.event === "node-end" && event.node === node)
    return end?.event === "node-end" ? (end.peakMemory ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
  }

  beforeAll(async () => {
    // As many as the sample's own dirt takes.
    const ended = await runWith({ "images.zip": await picturesWith((entries) => void entries.reverse()) }, ...until)
    before = countOf(refusedBy(ended, node))
    const refused = new Set<string>()
    for (const name of ["filterCaptions", node]) {
      const { code, stdout } = await whole.run(["quarantine", name, "--limit", "100", "--json"], { plain: true })
      expect(code).toBe(0)
      for (const line of stdout.trim().split("\n")) {
        const { error } = JSON.parse(line) as { readonly error: { readonly id?: string; readonly name?: string } }
        refused.add((error.id ?? error.name ?? "").replace(".jpg", ""))
      }
    }
    const rows = JSON.parse(await text("chat.json")) as ReadonlyArray<{ readonly id: string }>
    good = [...rows.keys()].slice(0, 50).filter((i) => !refused.has(rows[i]!.id))
    expect(good.length).toBeGreaterThan(20)
  })

  test("bombs: an entry that inflates past any picture, one that lies about its size, one of a billion pixels", async () => {
    const zeros = Buffer.alloc(80 * 2 ** 20)
    const zip = Buffer.from(
      await picturesWith((entries) => {
        entries[0] = { ...entries[0]!, data: zeros, method: "deflate" }
        entries[1] = { ...entries[1]!, data: zeros, method: "deflate" }
        const picture = Buffer.from(entries[2]!.data)
        const frame = picture.indexOf(Buffer.from([0xff, 0xc0]))
        expect(frame).toBeGreaterThan(0)
        picture.writeUInt16BE(60_000, frame + 5) // height
        picture.writeUInt16BE(60_000, frame + 7) // width
        entries[2] = { ...entries[2]!, data: picture }
      })
    )
    // The second bomb says that it is a kilobyte, in both of its headers.
    const packed = deflateRawSync(zeros)
    const size = Buffer.alloc(8)
    size.writeUInt32LE(packed.length, 0)
    size.writeUInt32LE(zeros.length, 4)
    const sizes: Array<number> = []
    for (let at = zip.indexOf(size); at >= 0; at = zip.indexOf(size, at + 1)) sizes.push(at)
    expect(sizes.length).toBe(4) // two local headers, two records of the directory
    zip.writeUInt32LE(1024, sizes[1]! + 4)
    zip.writeUInt32LE(1024, sizes[3]! + 4)
    const ended = await runWith({ "images.zip": zip }, ...until)
    completed(ended)
    expect(countOf(refusedBy(ended, node))).toBe(before + 3)
    expect(peakOf(ended)).toBeLessThan(600 * 2 ** 20)
  })

  test("a flipped bit, noise, an empty file and a page of HTML are refused one by one", async () => {
    const zip = Buffer.from(
      await picturesWith((entries) => {
        entries[1] = { ...entries[1]!, data: Buffer.alloc(4096, 0x5a) }
        entries[2] = { ...entries[2]!, data: new Uint8Array() }
        entries[3] = { ...entries[3]!, data: Buffer.from("<!doctype html><p>Not found") }
      })
    )
    const [first] = await entriesOf("cc595k/images.zip", [JSON.parse(await text("chat.json"))[0].image])
    const at = zip.indexOf(first!.data)
    zip[at + first!.data.length - 40]! ^= 1
    const ended = await runWith({ "images.zip": zip }, ...until)
    completed(ended)
    expect(countOf(refusedBy(ended, node))).toBe(before + 4)
  })

  test("names that lead out of an archive or a folder are refused, and links are not followed out", async () => {
    const rows = JSON.parse(await text("chat.json")) as ReadonlyArray<{ readonly image: string }>
    const names = ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "..\\secret.jpg", "secret\0.jpg"]
    const chosen = good.slice(0, names.length)
    const renamed = rows.map((row, i) => (chosen.includes(i) ? { ...row, image: names[chosen.indexOf(i)] } : row))
    const zipped = await runWith({ "chat.json": JSON.stringify(renamed) }, ...until)
    completed(zipped)
    expect(countOf(refusedBy(zipped, node))).toBe(before + names.length)

    // The same from a folder, beside which a good image lies that must not be reached.
    const folder = freshFolder()
    const sources = await writeSources(join(folder, "sources"), {
      "chat.json": JSON.stringify(renamed),
      "images.zip": undefined
    })
    const pictures = join(sources, "images.zip")
    mkdirSync(pictures)
    const entries = await entriesOf(
      "cc595k/images.zip",
      rows.slice(0, 50).map((row) => row.image)
    )
    for (const { data, name } of entries) writeFileSync(join(pictures, name), data)
    writeFileSync(join(sources, "secret.jpg"), entries[0]!.data)
    const opened = await whole.run(until, { env: { E2E_SOURCES: sources } })
    completed(opened)
    expect(countOf(refusedBy(opened, node))).toBe(before + names.length)

    const link = rows[good[names.length]!]!.image
    rmSync(join(pictures, link))
    symlinkSync("../secret.jpg", join(pictures, link))
    const linked = await whole.run(until, { env: { E2E_SOURCES: sources } })
    if (lastOf(linked).status === "failed") expect(failed(linked).message).toContain(link)
    else expect(countOf(refusedBy(linked, node))).toBe(before + names.length + 1)
  })
})

describe("a store that cannot be used", () => {
  test("because its path leads through a file", async () => {
    const file = join(whole.folder, "file")
    writeFileSync(file, "")
    expect(failed(await whole.run(["--store", join(file, "store")]))).toMatchObject({ tag: "StoreError" })
  })

  test("because it may not be written", async ({ skip }) => {
    const bench = await makeBench()
    const root = process.getuid?.() === 0
    const uid = 65_534 // nobody: for root nothing is read-only
    if (root) {
      const look = spawnSync(process.execPath, ["-e", `fs.readFileSync(${JSON.stringify(small)})`], { uid, gid: uid })
      if (look.status !== 0) skip("runs as root, and user 65534 may not read this folder")
      chmodSync(bench.folder, 0o755)
    }
    mkdirSync(bench.store)
    chmodSync(bench.store, 0o555)
    const error = failed(await bench.run([], root ? { uid, env: { HOME: bench.folder } } : {}))
    expect(error.tag).toBe("StoreError")
    expect(error.hint).toMatch(/may not write/)
    expect(readdirSync(bench.store)).toEqual([])
    chmodSync(bench.store, 0o755)
  })

  test("because another version made it, and it stays as it is", async () => {
    const store = join(freshFolder(), "store")
    mkdirSync(store)
    writeFileSync(join(store, "format.json"), '{"store":9}\n')
    const error = failed(await whole.run(["--store", store]))
    expect(error).toMatchObject({ tag: "StoreError", message: expect.stringContaining("version 9") })
    expect(readdirSync(store)).toEqual(["format.json"])
  })
})

describe("a disk that fills up", () => {
  const decode = Schema.decodeUnknownSync(Event)
  /** What a shell script left of the run `name`. */
  const endedOf = (folder: string, name: string): Ended => {
    const read = (ending: string) => readFileSync(join(folder, name + ending), "utf8")
    const stdout = read(".out")
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => decode(JSON.parse(line)))
    return { code: Number(read(".code")), signal: null, stdout, stderr: read(".err"), events }
  }

  test("file by file (a limit on sizes) fails typed, and goes on where it stopped", async () => {
    const bench = await makeBench()
    const limited = await bench.run([], { wrap: ["/bin/sh", "-c", 'ulimit -f 300; exec "$@"', "sh"] })
    expect(failed(limited).hint).toMatch(/space/)
    const good = await bench.run()
    expect(digestsOf(completed(good))).toEqual(undisturbed)
    expectTidy(bench.store)
  }, 120_000)

  test("at any moment (a small tmpfs) fails typed, and goes on when there is room", async ({ skip }) => {
    const bench = await makeBench()
    const disk = join(bench.folder, "disk")
    mkdirSync(disk)
    const command = `"$NODE" "$RECIPE" --store "${disk}/store" --workers 0 --json`
    const once = (name: string, size: string) =>
      `mount -o remount,size=${size} "${disk}" && ${command} > ${name}.out 2> ${name}.err; echo $? > ${name}.code`
    const probe = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "none", disk])
    if (probe.status !== 0) skip("a disk of a given size needs the right to mount (unshare -rm)")
    const sizes = ["100k", "700k", "1700k", "2600k"]
    const script = [
      `cd "${bench.folder}"`,
      `mount -t tmpfs -o size=1m none "${disk}"`,
      ...sizes.map((size, i) => once(`full${i}`, size)),
      once("good", "200m"),
      `find "${disk}/store/work" "${disk}/store/locks" -mindepth 1 > left; find "${disk}/store" -name "*.tmp" >> left`
    ].join("\n")
    const shell = spawnSync("unshare", ["-rm", "/bin/sh", "-c", script], {
      env: { ...process.env, NODE: process.execPath, RECIPE: small, E2E_SOURCES: bench.sources },
      encoding: "utf8"
    })
    expect(shell.stderr).toBe("")
    for (const i of sizes.keys()) expect(failed(endedOf(bench.folder, `full${i}`)).hint).toMatch(/space/)
    const good = endedOf(bench.folder, "good")
    expect(digestsOf(completed(good))).toEqual(undisturbed)
    expect(nodesThat("cached", good).length).toBeGreaterThan(0)
    expect(readFileSync(join(bench.folder, "left"), "utf8")).toBe("")
  }, 240_000)
})

describe("company", () => {
  test("two runs at once on one store both complete, and share the work", async () => {
    const bench = await makeBench()
    const both = await Promise.all([bench.run(), bench.run(["--workers", "1"])])
    for (const ended of both) expect(digestsOf(completed(ended))).toEqual(undisturbed)
    expect(both.reduce((sum, ended) => sum + lastOf(ended).nodesRun, 0)).toBe(nodes)
    expectTidy(bench.store)
  }, 120_000)

  test("a run that is killed while another waits for its node leaves the other to finish it", async () => {
    const bench = await makeBench()
    const first = bench.start()
    await first.until(/"event":"node-start".*"node":"sft\/train"/)
    const second = bench.start()
    await second.until(/"event":"start"/)
    first.child.kill("SIGKILL")
    expect((await first.ended).signal).toBe("SIGKILL")
    expect(digestsOf(completed(await second.ended))).toEqual(undisturbed)
    await expectTidyAfterKills(bench)
  }, 120_000)
})

describe("a stored result that was damaged", () => {
  const portOf = (ended: Ended, node: string, bench: Bench, port: string): string => {
    const end = ended.events.find((event) => event.event === "node-end" && event.node === node)
    if (end?.event !== "node-end" || end.key === undefined) throw new Error(`${node} has no key`)
    const entry = join(bench.store, "entries", end.key.slice(0, 2), end.key)
    return join(entry, readdirSync(entry)[0]!, "ports", port)
  }

  test("is noticed when it is cut, found by --verify when a bit flipped, and made again alone", async () => {
    const bench = await makeBench()
    cpSync(whole.store, bench.store, { recursive: true })
    rmSync(join(bench.store, "work"), { recursive: true }) // what failed runs of other tests left
    const cached = await bench.run()
    expect(completed(cached).nodesRun).toBe(0)

    const cut = portOf(cached, "cleanShareGpt", bench, "rows")
    const [shard] = readdirSync(cut).sort()
    truncateSync(join(cut, shard!), 10)
    const mended = await bench.run()
    expect(digestsOf(completed(mended))).toEqual(undisturbed)
    expect(nodesThat("ran", mended)).toEqual(["cleanShareGpt"])

    const flip = join(portOf(cached, "sft/train", bench, "model"), "model.safetensors")
    const weights = readFileSync(flip)
    weights[weights.length - 5]! ^= 1
    writeFileSync(flip, weights)
    expect(statSync(flip).size).toBe(weights.length)
    const verified = await bench.run(["--verify"])
    expect(digestsOf(completed(verified))).toEqual(undisturbed)
    expect(nodesThat("ran", verified)).toEqual(["sft/train"])
    expectTidy(bench.store)
  }, 120_000)
})

test("a preset whose files are not there names all of them and where they belong", () => {
  const recipe = fileURLToPath(new URL("../../pipelines/llava-phi.ts", import.meta.url))
  const data = join(freshFolder(), "data")
  const args = [recipe, "--preset", "paper", "--plan", "--store", join(freshFolder(), "store")]
  args.push("--set", "filterCaptions.minWords=3")
  const { status, stderr, stdout } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "", MILLRACE_DATA: data }
  })
  expect(status).toBe(1)
  expect(stderr).toContain("error: SourceError in 10 sources")
  for (const name of ["sharegpt", "cc595k/images.zip", "llava-instruct/train2017.zip", "phi-2", "held-out/images"])
    expect(stderr).toContain(name)
  expect(stderr).toContain("hint: Set MILLRACE_DATA")
  // What can be said without them is said all the same, for the parameters that were asked for.
  expect(stdout).toContain("TooFewWords (minWords=3): 441;")
  expect(stdout).toContain("OverRepresented (perPhrase=null): 0; off")
})
