/** Words of web captions for `captions.ts`: objects, their looks, actions. WordNet adds the rest. */

const words = (text: string): ReadonlyArray<string> => text.trim().split(/\s+/)

export const people = words(
  `person actor artist man woman boy girl child baby player singer dancer politician author writer musician driver model
  designer athlete soldier officer doctor nurse teacher student worker farmer fisherman chef tourist visitor traveller
  cyclist runner swimmer skier climber surfer rider hunter gardener painter photographer reporter director producer judge
  king queen prince princess bride groom father mother son daughter brother sister grandmother grandfather couple family
  friend neighbour guest fan crowd team band group audience class army police coach captain goalkeeper boxer champion
  winner founder owner leader president minister priest monk pilot sailor firefighter businessman businesswoman model
  celebrity comedian guitarist drummer rapper villager protester voter customer shopper buyer vendor passenger commuter
  toddler teenager pupil lady gentleman guy kid dad mom husband wife twin hero villain cowboy pirate ghost angel witch`
)
export const kinds = [
  "football player",
  "basketball player",
  "tennis player",
  "baseball player",
  "ice hockey player",
  "racing driver",
  "film director",
  "tv personality",
  "hip hop artist",
  "pop artist",
  "rock artist",
  "heavy metal artist",
  "military commander",
  "military person",
  "noble person",
  "religious leader",
  "us president",
  "fashion designer",
  "visual artist",
  "award winner",
  "olympic athlete",
  "country artist",
  "business woman",
  "business man",
  "police officer",
  "young man",
  "little girl",
  "old woman",
  "organization leader",
  "cricket player",
  "soccer player",
  "martial artist",
  "comedy actor",
  "musical group",
  "sports team",
  "film character",
  "cartoon character"
]
export const animals = words(
  `dog cat puppy kitten horse pony cow bull sheep lamb goat pig chicken hen rooster duck goose swan bird eagle owl parrot
  pigeon gull crow sparrow robin penguin fish shark whale dolphin seal turtle crab lobster frog toad snake lizard spider
  bee butterfly ant beetle fly moth lion tiger leopard bear wolf fox deer elk moose rabbit hare mouse rat squirrel
  elephant giraffe zebra monkey gorilla camel llama donkey bat kangaroo panda otter beaver hedgehog`
)
export const things = words(
  `photo picture image illustration drawing painting sketch portrait print poster postcard map flag sign logo icon symbol
  vector pattern texture background design template banner frame border label badge card letter book page magazine
  newspaper notebook pen pencil brush paper paint canvas wall floor ceiling roof window door gate fence house home
  building tower castle palace church cathedral temple mosque bridge road street path trail track lane avenue square park
  garden lawn field meadow forest wood tree leaf branch root flower rose tulip lily daisy plant grass bush hedge moss
  mountain hill valley cliff rock stone cave desert dune beach coast shore sea ocean wave lake river stream waterfall pond
  pool island bay harbour port pier dock boat ship yacht canoe ferry sail car truck bus train tram bicycle bike motorcycle
  scooter plane jet helicopter balloon rocket satellite wheel engine tyre seat table chair desk sofa couch bed lamp light
  candle mirror clock watch phone computer laptop tablet keyboard screen monitor camera lens television radio speaker
  guitar piano violin drum trumpet ball bat racket net goal stadium court pitch arena stage concert show festival parade
  march party wedding ceremony birthday christmas halloween easter holiday vacation trip tour journey walk ride run race
  game match final cup medal trophy award prize event conference meeting interview speech premiere screening performance
  film movie album song novel story food meal breakfast lunch dinner salad soup bread cake pie pizza pasta rice noodle
  meat beef fish cheese egg fruit apple orange lemon lime banana grape berry strawberry cherry tomato potato onion carrot
  pepper garlic mushroom spice salt sugar chocolate cookie candy ice cream coffee tea milk juice water wine beer cocktail
  glass cup mug bottle plate bowl dish spoon fork knife pan pot kitchen bathroom bedroom room hall office shop store
  market mall restaurant cafe bar hotel hospital school library museum factory farm barn village town city capital suburb
  street corner centre middle edge side front back top bottom left right view sunset sunrise dawn dusk night day morning
  evening afternoon sky cloud sun moon star rain snow ice fog mist storm wind fire smoke flame shadow silhouette
  reflection colour color shape circle square triangle line dot stripe ribbon bow box bag basket suitcase backpack wallet
  dress skirt shirt blouse suit jacket coat sweater jeans trousers shorts hat cap scarf glove sock shoe boot sandal heel
  ring necklace bracelet earring jewel crown mask costume uniform hair face eye nose mouth smile hand finger arm leg foot
  head back shoulder skin body heart toy doll teddy puzzle gift present decoration ornament statue sculpture fountain bench
  swing slide tent camp fence wire cable pipe brick tile metal wood plastic leather silk cotton wool gold silver bronze
  money coin bank business work job project plan idea concept style fashion art culture history science nature world earth
  planet space landscape scene season spring summer autumn winter weather season number team league club country nation
  border war battle weapon gun sword bomb tank helmet crime court law vote election campaign protest strike rally flag
  stretch catch throw kick jump dive climb drive cruise flight landing launch crash fall break cut drop push pull turn
  start finish end stop stand stay look gaze stare glance kiss hug embrace handshake wave cheer laugh cry shout talk chat
  cover surface layer pile stack row line queue bunch bundle slice piece pair set collection range variety selection`
)
export const adjectives = words(
  `old young new big small large little tiny huge tall short long wide narrow high low deep shallow thick thin heavy light
  dark bright pale vivid colourful colorful beautiful pretty lovely handsome ugly cute funny happy sad angry tired busy
  lazy quiet loud calm wild fresh dry wet hot cold warm cool frozen clean dirty empty full open clear cloudy sunny rainy
  snowy foggy stormy windy red blue green yellow orange purple pink brown black white grey gray golden silver wooden
  stone metallic plastic modern ancient medieval historic traditional classic vintage retro rustic elegant simple plain
  complex abstract geometric floral seamless decorative ornate royal public private local foreign national international
  american british french german italian spanish greek russian chinese japanese korean indian african asian european
  mexican indian tropical urban rural industrial commercial digital electric electronic mechanical medical military
  religious sacred holy famous popular rare unique special strange different various similar same perfect ideal best
  better worst great good nice bad rich poor cheap expensive free safe dangerous strong weak hard soft smooth rough sharp
  flat round square straight curved sweet sour spicy salty bitter tasty delicious healthy organic raw ripe fresh vegan
  romantic mysterious magical spooky scary creepy evil brave proud shy curious playful cheerful serious nervous lonely
  main central upper lower inner outer front rear final first second third last next early late daily annual recent
  upcoming former current female male adult senior junior elderly pregnant blond blonde bald nude barefoot dense lush
  steep rocky sandy muddy dusty rusty shiny glossy matte transparent blank bare lone single double triple multiple top
  solid liquid natural artificial fake real live alive dead blind deaf sick asleep awake outdoor indoor aerial panoramic
  overhead underwater close distant remote nearby northern southern eastern western coastal alpine arctic solar lunar
  political social cultural economic financial legal official original creative artistic musical theatrical dramatic`
)
export const colours = words("red blue green yellow orange purple pink brown black white grey gold silver")
/** Participles that stand before nouns. */
export const passives = words(
  `abandoned painted broken cracked carved decorated printed embroidered knitted woven framed lighted parked crowded
  blurred detailed isolated colored coloured tattooed bearded aged dried fried baked roasted grilled boiled smoked stuffed
  sliced chopped mixed frozen burnt torn worn faded damaged ruined destroyed restored renovated furnished covered hidden
  lost forgotten fallen cut sunken closed locked fenced paved forested flooded polluted protected injured wounded retired
  married engaged excited surprised shocked worried bored relaxed tired confused dressed masked armed trained distressed
  folded rolled wrapped packed stacked curved pointed rounded striped dotted spotted patterned textured polished`
)
export const actives = words(
  `smiling laughing crying sleeping running walking dancing singing flying swimming jumping sitting standing waiting
  working playing moving falling rising setting shining glowing burning boiling melting blooming flowering growing hanging
  floating rolling winding leading living loving charming stunning amazing interesting exciting relaxing surprising
  breathtaking outstanding matching missing following surrounding setting racing marching grazing howling barking`
)
/** What is not counted: stands without an article. */
export const stuff = words(
  `water snow rain fog mist smoke steam light lightning thunder sunlight moonlight sunshine ice sand mud dust dirt grass
  traffic music art food fruit wood metal glass paper plastic fabric fur hair skin blood oil gas money gold silver love
  hope faith peace freedom justice beauty health fitness yoga football basketball hockey golf cricket tennis baseball
  fashion furniture luggage equipment clothing jewelry makeup cheese bread butter honey pasta rice coffee tea wine beer
  milk juice chocolate meat beef pork chicken salmon seafood vegetation foliage moss wildlife nature technology`
)
/** Nouns of a verb and a particle, written apart. */
export const particles = [
  "close up",
  "cut out",
  "mock up",
  "pin up",
  "line up",
  "check up",
  "warm up",
  "pick up",
  "set up",
  "take off",
  "kick off",
  "stand off",
  "hang out",
  "print out",
  "work out",
  "sell out",
  "pop up"
]
/** Gerunds that name what the next noun is for. */
export const purposes = words(
  `living dining swimming wedding shopping parking training fishing hiking running walking sewing washing writing reading
  cooking cutting sleeping riding racing skating dancing drawing painting marching meeting landing boxing steering`
)
export const adverbs = words(
  `very really extremely highly freshly newly recently beautifully brightly carefully finely fully partially heavily
  lightly richly poorly badly hand well so quite too most more naturally incredibly`
)
/** Third person, gerund, participle and base of verbs with an object. */
export const transitive = words(
  `hold carry wear use take make play watch see show give pull push throw catch kick hit lift cut cook eat drink feed milk
  serve pour mix bake paint draw write read sign film photograph shoot record visit enter leave cross climb ride drive
  steer park wash clean dry brush comb kiss hug greet thank help teach train lead follow chase hunt catch plant water pick
  harvest gather collect sell buy offer open close lock build repair fix destroy burn break bend fold wrap pack load
  unload hang light decorate design celebrate win lose defend attack tackle block score mark head beat defeat face join
  meet interview address support lead host attend enjoy love like need want create cover surround fill hide reveal touch
  hug hold embrace wave swing shake raise lower drop guard protect rescue search check examine measure test study explore
  overlook face line frame flank cross span circle reflect block shade top promote perform sing`
)
export const intransitive = words(
  `walk run jump dance sing sit stand lie sleep rest wait work play swim fly float sail drive ride travel move march pose
  smile laugh cry talk speak chat shout cheer wave look stare gaze glance point lean kneel crawl climb fall rise set shine
  glow burn bloom grow hang drip pour flow rain snow melt freeze crash land arrive leave depart return gather meet compete
  train practice perform rehearse pray fish hunt camp hike ski skate surf race shop cook eat drink graze feed hunt bark
  howl roar fight protest demonstrate vote celebrate relax exercise stretch study line warm slide swing spin turn roll
  stop start end appear perch nest hide peer emerge stroll wander cruise drift anchor dock park`
)
export const irregular: Readonly<Record<string, string>> = {
  hold: "held",
  wear: "worn",
  take: "taken",
  make: "made",
  see: "seen",
  show: "shown",
  give: "given",
  throw: "thrown",
  catch: "caught",
  hit: "hit",
  cut: "cut",
  eat: "eaten",
  drink: "drunk",
  feed: "fed",
  draw: "drawn",
  write: "written",
  read: "read",
  shoot: "shot",
  leave: "left",
  ride: "ridden",
  drive: "driven",
  teach: "taught",
  lead: "led",
  sell: "sold",
  buy: "bought",
  build: "built",
  break: "broken",
  bend: "bent",
  hang: "hung",
  light: "lit",
  win: "won",
  lose: "lost",
  beat: "beaten",
  meet: "met",
  hide: "hidden",
  swing: "swung",
  shake: "shaken",
  sing: "sung",
  run: "run",
  fly: "flown",
  fall: "fallen",
  rise: "risen",
  set: "set",
  grow: "grown",
  spin: "spun",
  stand: "stood",
  sit: "sat",
  lie: "lain",
  sleep: "slept",
  speak: "spoken",
  fight: "fought",
  swim: "swum",
  find: "found",
  keep: "kept",
  tell: "told",
  bring: "brought"
}
export const plurals: Readonly<Record<string, string>> = {
  man: "men",
  woman: "women",
  child: "children",
  person: "people",
  foot: "feet",
  mouse: "mice",
  goose: "geese",
  leaf: "leaves",
  knife: "knives",
  wife: "wives",
  fish: "fish",
  sheep: "sheep",
  deer: "deer",
  lady: "ladies",
  businessman: "businessmen",
  fisherman: "fishermen",
  gentleman: "gentlemen",
  fly: "flies",
  wolf: "wolves",
  trousers: "trousers",
  jeans: "jeans",
  shorts: "shorts",
  businesswoman: "businesswomen",
  shelf: "shelves",
  police: "police"
}
export const names = [
  "new york",
  "new york city",
  "london",
  "paris",
  "rome",
  "san francisco",
  "los angeles",
  "berlin",
  "tokyo",
  "india",
  "china",
  "italy",
  "france",
  "spain",
  "scotland",
  "ireland",
  "mexico",
  "brazil",
  "egypt",
  "north america",
  "africa",
  "us state",
  "us national park",
  "golden gate bridge",
  "central park",
  "eiffel tower",
  "tourist attraction",
  "river thames",
  "country",
  "city",
  "state",
  "venice",
  "sydney",
  "hong kong",
  "south korea",
  "thailand",
  "iceland",
  "norway",
  "alaska",
  "hawaii",
  "florida",
  "texas",
  "california",
  "mount everest",
  "christmas day",
  "new year",
  "christmas eve",
  "easter sunday",
  "monday",
  "tuesday",
  "wednesday",
  "thursday",
  "friday",
  "saturday",
  "sunday",
  "january",
  "february",
  "march",
  "april",
  "june",
  "july",
  "august",
  "september",
  "october",
  "november",
  "december",
  "john smith",
  "mary jones",
  "google",
  "apple"
]
