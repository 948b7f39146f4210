/** `npm run soak`: the first word says which soak; without one of these it is the kill soak. */
const which = process.argv[2]
if (which === "--help" || which === "-h") {
  console.log(`npm run soak                                     SIGKILLs at random moments of a recipe
npm run soak -- RECIPE.ts --kills 200 --seed 7   another recipe; flags of its own after a second --
npm run soak -- chaos                            kills, power cuts, disk errors and damage, under five minutes
npm run soak -- fuzz                             damaged inputs to every reader
npm run soak -- memory                           inputs of ten times the memory that is allowed
npm run soak -- captions 3300000 stored          the caption filter at the size of CC-3M`)
} else if (which === "chaos") await import("./chaos.ts")
else if (which === "fuzz") await import("./fuzz.ts")
else if (which === "memory") await import("./memory.ts")
else if (which === "captions") {
  process.argv.splice(2, 1)
  await import("./captions.ts")
} else await import("./soak.ts")
