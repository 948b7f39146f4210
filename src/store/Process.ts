/**
 * Which process someone is, and whether it still lives.
 *
 * Not a lock: facts only. A pid alone is not an identity (it is reused), so its start time, the machine's boot and the
 * pid namespace stand beside it. `/proc` is read with `node:fs`: it is no part of the store's folder. Where there is no
 * `/proc`, the pid's liveness alone decides.
 */
import { readFileSync, readlinkSync, statfsSync } from "node:fs"
import { hostname } from "node:os"
import { Schema } from "effect"

export const Identity = Schema.Struct({
  pid: Schema.Number,
  /** Clock ticks from boot to the process's start; "" where `/proc` is missing. */
  start: Schema.String,
  host: Schema.String,
  /** Id of the machine's boot, and of the pid namespace (a container has its own); "" where unknown. */
  boot: Schema.String,
  namespace: Schema.String
})
export type Identity = typeof Identity.Type

const quiet = (read: () => string): string => {
  try {
    return read()
  } catch {
    return "" // no /proc, or no such process: both mean "unknown" to the callers below
  }
}

/** State letter and start time from `/proc/PID/stat`; the command's name may hold blanks and parentheses. */
const statOf = (pid: number): { readonly state: string; readonly start: string } | undefined => {
  const text = quiet(() => readFileSync(`/proc/${pid}/stat`, "utf8"))
  if (text === "") return undefined
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return { state: fields[0] ?? "", start: fields[19] ?? "" }
}

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" // exists, and is somebody else's
  }
}

let own: Identity | undefined

/** This process. */
export const self = (): Identity =>
  (own ??= {
    pid: process.pid,
    start: statOf(process.pid)?.start ?? "",
    host: hostname(),
    boot: quiet(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    namespace: quiet(() => readlinkSync("/proc/self/ns/pid"))
  })

/** The pid namespace of a kernel's first process: the same number on every Linux machine. */
const FIRST_NAMESPACE = "pid:[4026531836]"

/**
 * Whether another process ran under a kernel that was there before this one, given that both see a folder on a disk
 * that their own kernel has mounted (`isOnDisk`). A disk is mounted by one kernel at a time, so the other one is gone,
 * or has lost the disk. Containers may be given a boot id of their own (systemd-nspawn does): only processes of the
 * first pid namespace, which no container is, are taken at their word.
 */
export const isOfEarlierBoot = (other: Identity, me: Identity = self()): boolean =>
  other.boot !== "" &&
  me.boot !== "" &&
  other.boot !== me.boot &&
  other.namespace === FIRST_NAMESPACE &&
  me.namespace === FIRST_NAMESPACE

/** Types of file systems that one kernel mounts from a disk, as `statfs` numbers them. */
const DISKS = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010]) // ext2 to ext4, XFS, Btrfs, F2FS

/**
 * Whether a type of file system is one that one kernel at a time mounts from a disk. Networks and overlays are none.
 */
export const isDisk = (type: number): boolean => DISKS.has(type)

/** Whether a path lies on such a file system, as this process sees it. */
export const isOnDisk = (path: string): boolean => {
  try {
    return process.platform === "linux" && isDisk(statfsSync(path).type)
  } catch {
    return false // not there, or not to be told
  }
}

/**
 * Whether a process lives. `unknown`: it runs, or ran, where this process cannot see: another machine, container or
 * boot. Then only its lease can tell (`Lease.ts`).
 *
 * Same boot, namespace and host: pid and start time decide, zombies are dead. Another boot under the same host name is
 * no proof: a cloned machine has the name too, and may share the folder over the network.
 */
export const liveness = (other: Identity): "alive" | "dead" | "unknown" => {
  const me = self()
  if (other.boot !== me.boot || other.namespace !== me.namespace || other.host !== me.host) return "unknown"
  if (other.start === "" || me.start === "") return exists(other.pid) ? "alive" : "dead"
  const now = statOf(other.pid)
  if (now === undefined) return exists(other.pid) ? "alive" : "dead"
  return now.start === other.start && now.state !== "Z" && now.state !== "X" ? "alive" : "dead"
}
