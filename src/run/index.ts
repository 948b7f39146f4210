/**
 * Recipes and runs in one import: for files that define a recipe, and for programs that run one. Not the command line.
 */

export { type Event, Events } from "./Events.ts"
export { build, type Choice, type Recipe, recipe, type Summary } from "./Recipe.ts"
export { Interrupted, NodeFailed, NodesFailed, type RunOptions, SelectionError, Stop } from "./Run.ts"
export { planRecipe, type RunError, type RunResult, runRecipe } from "./Scheduler.ts"
