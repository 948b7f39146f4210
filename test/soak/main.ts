/** `npm run soak`: the first word says which soak; without one of these it is the kill soak. */
const which = process.argv[2]
if (which === "fuzz") await import("./fuzz.ts")
else if (which === "memory") await import("./memory.ts")
else await import("./soak.ts")
