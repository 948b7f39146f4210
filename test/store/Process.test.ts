/** What proves that a process is gone which cannot be looked at, and what does not. */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type Identity, isDisk, isOfEarlierBoot, isOnDisk, self } from "../../src/store/Process.ts"

const first = "pid:[4026531836]"
const me: Identity = { pid: 7, start: "70", host: "here", boot: "b2", namespace: first }
const before: Identity = { ...me, pid: 9, boot: "b1" }

describe("a process of another boot that had the same disk", () => {
  it("is gone where both are in no container, whatever the host is called by now", () => {
    assert.isTrue(isOfEarlierBoot(before, me))
    assert.isTrue(isOfEarlierBoot({ ...before, host: "renamed" }, me))
  })

  for (const [name, other, own] of [
    ["of this boot", { ...before, boot: "b2" }, me],
    ["of a boot that is not known", { ...before, boot: "" }, me],
    ["seen from a boot that is not known", before, { ...me, boot: "" }],
    ["in a container, which may have a boot id of its own", { ...before, namespace: "pid:[4026532198]" }, me],
    ["seen from a container", before, { ...me, namespace: "pid:[4026532198]" }]
  ] as const)
    it(`may live where it is ${name}`, () => {
      assert.isFalse(isOfEarlierBoot(other, own))
    })

  it("had that disk only where the file system is one that a single kernel mounts", () => {
    for (const type of [0xef53, 0x58465342, 0x9123683e, 0xf2f52010]) assert.isTrue(isDisk(type))
    const shared = {
      NFS: 0x6969,
      SMB: 0xfe534d42,
      "9P": 0x01021997,
      FUSE: 0x65735546,
      Ceph: 0x00c36400,
      Lustre: 0x0bd00bd0
    }
    const others = { overlay: 0x794c7630, tmpfs: 0x01021994, GFS2: 0x01161970, OCFS2: 0x7461636f, hostfs: 0x00c0ffee }
    for (const [name, type] of Object.entries({ ...shared, ...others })) assert.isFalse(isDisk(type), name)
    assert.isFalse(isOnDisk(join(mkdtempSync(join(tmpdir(), "millrace-disk-")), "missing", "folder")))
    assert.isFalse(isOfEarlierBoot(self()))
  })
})
