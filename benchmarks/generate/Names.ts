/** Names as the originals have them, by a row's place. */

/** CC-595K: ids are numbers in CC-3M with gaps, here one in five or so. */
export const captionId = (at: number): string => `GCC_train_${String(at * 5 + (at % 4)).padStart(9, "0")}`

export const pictureName = (at: number): string => `${captionId(at)}.jpg`

/** COCO train2017: twelve digits. */
export const photoName = (at: number): string => `${String(at * 5 + 9).padStart(12, "0")}.jpg`
