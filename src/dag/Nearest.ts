/**
 * The name a person probably meant.
 *
 * Distance is optimal string alignment (insert, delete, replace, swap of neighbours; Damerau 1964), without case. Ids
 * are paths, so the last segment alone is compared too: `images` is near `instruct/images`.
 */

/** Edits between two short names. */
export const distance = (a: string, b: string): number => {
  let before: Array<number> = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1)
      row.push(best)
    }
    before = above
    above = row
  }
  return above[b.length]!
}

/** The nearest of `names`, or undefined when none is near (more than a third of the letters, at least 2, differ). */
export const nearest = (name: string, names: Iterable<string>): string | undefined => {
  const wanted = name.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1
  for (const candidate of names) {
    const whole = candidate.toLowerCase()
    const last = whole.slice(whole.lastIndexOf("/") + 1)
    const edits = Math.min(
      distance(wanted, whole),
      distance(wanted, last) + (last === whole ? 0 : 1),
      wanted.length >= 3 && whole.includes(wanted) ? 1 : Number.POSITIVE_INFINITY
    )
    if (edits < least) {
      least = edits
      best = candidate
    }
  }
  return best
}

/** `; did you mean "x"?`, or nothing. */
export const didYouMean = (name: string, names: Iterable<string>): string => {
  const near = nearest(name, names)
  return near === undefined ? "" : `; did you mean "${near}"?`
}
