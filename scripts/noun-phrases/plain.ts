/**
 * Plain captions, one a line, to compare taggers on: people, animals and things that do what they do, where they do it.
 *
 *     tsx scripts/noun-phrases/plain.ts 10000 > plain.txt
 *
 * Not training text (`captions.ts` is): it shares neither grammar nor lists with it, and nothing is marked.
 */
const rows = Number(process.argv[2] ?? "10000")

let state = 0x2545f491
const unit = (): number => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) / 4294967296
}
const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(unit() * list.length)]!
const items = (text: string): ReadonlyArray<string> => text.split("|").map((item) => item.trim())

const one = items(
  `a man|a woman|young woman|little girl|a small boy|an old fisherman|the bride|actor|person|football player|pop artist|politician|a street musician|the chef|a tired nurse|business man|a tourist|a farmer in a straw hat|a teenager with long hair|the queen|a police officer|tennis player|a toddler|a construction worker|the goalkeeper|a ballet dancer|a female student`
)
const several = items(
  `people|two children|young couple|tourists|students|soldiers|the players|a group of friends|fans|three old men|villagers|school children|the band members|many cyclists|some workers|football players|business people|a family of four|protesters|runners`
)
const acts: ReadonlyArray<readonly [string, string, string]> = items(
  `ride rides riding a bicycle|play plays playing the guitar|hold holds holding a bunch of flowers|drink drinks drinking coffee|walk walks walking the dog|read reads reading a newspaper|wait waits waiting for the bus|look looks looking at the camera|run runs running through the rain|celebrate celebrates celebrating a goal|watch watches watching the sunset|take takes taking a photo|wear wears wearing traditional clothes|cook cooks cooking dinner|carry carries carrying a heavy bag|dance dances dancing together|sit sits sitting on a wooden bench|stand stands standing near a brick wall|swim swims swimming with dolphins|plant plants planting a young tree|cross crosses crossing the busy street|wave waves waving national flags|eat eats eating ice cream|sell sells selling fresh fruit|paint paints painting the old fence|climb climbs climbing a steep hill|talk talks talking on mobile phones|feed feeds feeding pigeons|throw throws throwing snowballs|load loads loading a truck`
).map((text) => {
  const [many, single, doing, ...rest] = text.split(" ")
  return [`${many} ${rest.join(" ")}`, `${single} ${rest.join(" ")}`, `${doing} ${rest.join(" ")}`]
})
const places = items(
  `in the park|on the beach at sunset|in front of the town hall|at home|during the festival|in new york city|on a rainy day|near the river bank|at the railway station|in a crowded market|under a cherry tree|on the roof of a tall building|by the lake|in the old town|at the world cup|after the match|before the wedding ceremony|in a modern kitchen|on the left|in black and white|`
)
const things = items(
  `a red double decker bus|old wooden boats|the ruins of a medieval castle|a bowl of vegetable soup|traditional stone houses|a vintage sports car|fresh strawberries|a black leather jacket|the interior of a luxury hotel room|snow covered mountains|a yellow school bus|hot air balloons|an empty swimming pool|christmas tree decorations|colourful fishing nets|a close - up of a ripe tomato|a stack of old books|apartment buildings|a large oil painting|the city skyline|hand made pottery|a white swan|wild horses|a baby elephant|the opening ceremony|a wedding dress with long sleeves|a glass of red wine|autumn leaves|the national flag|storm clouds`
)
const kinds = items(
  `vector illustration of|portrait of|black and white photo of|aerial view of|close up of|seamless pattern with|a set of icons with|a painting of|stock photo of|cartoon of`
)
const states = items(
  `isolated on white background|at night|for sale|in the snow|on display at the museum|covered with moss|seen from the air|with a blue sky in the background|made of recycled glass|lit up for the holidays|on a wooden table|in spring|along the coast|against a grey wall`
)

const line = (): string => {
  const [many, single, doing] = pick(acts)
  const place = pick(places)
  const kind = unit()
  if (kind < 0.22) return `${pick(one)} ${single} ${place}`
  if (kind < 0.38) return `${pick(several)} ${many} ${place}`
  if (kind < 0.58) return `${pick(unit() < 0.6 ? one : several)} ${doing} ${place}`
  if (kind < 0.76) return `${pick(things)} ${pick(states)}`
  if (kind < 0.88) return `${pick(kinds)} ${unit() < 0.5 ? pick(things) : `${pick(one)} ${doing}`} ${pick(states)}`
  if (kind < 0.94) return `${pick(things)} and ${pick(things)} ${place}`
  return `${pick(things)} , ${place === "" ? "usa" : place}`
}
const lines = new Set<string>()
while (lines.size < rows) lines.add(`${line()}${unit() < 0.3 ? " ." : ""}`.replaceAll(/\s+/g, " ").trim())
process.stdout.write(`${[...lines].join("\n")}\n`)
