/**
 * Records which rows were damaged, and by which rule, so that tests can check what a cleaner drops.
 *
 * Written beside the sample as `ledger.json`: part -> rule -> row ids (image names for image rules).
 */

export interface Ledger {
  readonly note: (rule: string, id: string) => void
  /** Rules in alphabetical order, ids in the order of noting. */
  readonly rules: () => Readonly<Record<string, ReadonlyArray<string>>>
}

export const ledger = (): Ledger => {
  const byRule = new Map<string, Array<string>>()
  return {
    note: (rule, id) => {
      const ids = byRule.get(rule)
      if (ids) ids.push(id)
      else byRule.set(rule, [id])
    },
    rules: () => Object.fromEntries([...byRule].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
