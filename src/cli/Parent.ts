/**
 * Notices that the `tsx` which started this process is gone: killed, or out of memory.
 *
 * Not for any other parent. A run whose shell, `nohup` or `setsid` ends goes on, as it is meant to. tsx stands between
 * a person and this process: it starts it, passes signals on and waits for its exit code. Without it nobody hears of
 * this run any more, while it would keep its locks and its cores. tsx opens no channel to the process, so the parent's
 * id is looked at.
 */

/** What of a process identifies its parent. */
export interface Child {
  readonly execArgv: ReadonlyArray<string>
  /** Of the parent that it has now. */
  readonly ppid: number
}

const LOOK_MS = 500

/** Whether node was started by tsx, which adds its own modules. */
export const underTsx = (execArgv: ReadonlyArray<string>): boolean => execArgv.some((arg) => /[\\/]tsx[\\/]/.test(arg))

/** Looks once whether the parent is still `parent`, as long as there is one to be missed. */
export const parentLook = (child: Child, gone: (pid: number) => void): (() => void) | undefined => {
  if (!underTsx(child.execArgv)) return undefined
  const parent = child.ppid
  let reported = false
  return () => {
    if (reported || child.ppid === parent) return
    reported = true
    gone(parent)
  }
}

/**
 * Calls `gone` once with the parent's id when it is gone; gives a function that ends the watch. Keeps no process alive.
 */
export const watchParent = (gone: (pid: number) => void): (() => void) => {
  const look = parentLook(process, gone)
  if (look === undefined) return () => undefined
  const timer = setInterval(look, LOOK_MS).unref()
  return () => clearInterval(timer)
}
