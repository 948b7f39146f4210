/**
 * What the general conversations talk about: our own sentences, questions and code, by topic.
 *
 * Not facts to learn from: plain prose so that cleaning, language detection and splitting have real work.
 */

export interface Topic {
  readonly name: string
  readonly questions: ReadonlyArray<string>
  readonly sentences: ReadonlyArray<string>
  readonly terms: ReadonlyArray<string>
}

export const topics: ReadonlyArray<Topic> = [
  {
    name: "bread",
    questions: ["How do I keep bread fresh?", "Why did my dough not rise?", "Give me a plan for baking on Sunday."],
    sentences: [
      "A slow rise in a cool room gives bread more taste than a quick one.",
      "Weigh the flour, because a cup can hold very different amounts.",
      "If the dough sticks to the bowl, wet your hands & fold it once more.",
      "Let the loaf cool for an hour before you cut it.",
      "Old yeast is the usual reason for a flat loaf.",
      "Stale slices are good for soup, crumbs or a sweet pudding."
    ],
    terms: ["flour", "water", "salt", "yeast", "oven at 230 degrees"]
  },
  {
    name: "tides",
    questions: [
      "Why are there two tides a day?",
      "When is the best time to walk on the beach?",
      "What is a neap tide?"
    ],
    sentences: [
      "The moon pulls the water on the near side a little more than the earth itself.",
      "On most coasts the water rises and falls twice in about 25 hours.",
      "When sun and moon pull at a right angle the range is small.",
      "Walk out while the water is falling and turn back before it is lowest.",
      "A narrow bay can make the range much larger than on the open coast."
    ],
    terms: ["high water", "low water", "spring tide", "neap tide", "current"]
  },
  {
    name: "gardening",
    questions: ["What can I plant in a shady yard?", "My tomatoes have spots. What now?", "When should I water?"],
    sentences: [
      "Ferns, hostas and wild garlic are happy with two hours of sun.",
      "Water in the morning, close to the ground, so that leaves stay dry.",
      "Remove the lowest leaves as soon as they show brown spots.",
      "A layer of straw keeps the soil moist and the slugs busy elsewhere.",
      "Do not feed a plant that stands in dry soil."
    ],
    terms: ["compost", "seedlings", "trowel", "shade", "first frost"]
  },
  {
    name: "sorting",
    questions: [
      "How do I count words in a file?",
      "Write a function that sorts numbers.",
      "Why is my loop so slow?",
      "What does if (a<b && c>d) { x[i] = '*'; } do?"
    ],
    sentences: [
      "Reading the file once and counting in a map is enough for most cases.",
      "A loop inside a loop over the same list takes four times as long when the list doubles.",
      "Sort a copy when somebody else still needs the old order.",
      "Measure first, then change one thing & measure again.",
      "The name snake_case_is_long *and* has stars in it on purpose."
    ],
    terms: ["a map", "a list", "the index", "an early return", "x_1"]
  },
  {
    name: "travel",
    questions: ["Plan three days in a small port town.", "What should I pack for a rainy week?", "Train or bus?"],
    sentences: [
      "Take the morning boat, because the afternoon wind delays the later ones.",
      "The market hall closes at noon, so start the day there.",
      "Two thin layers dry faster than one thick coat.",
      "From the old lighthouse you can see both islands.",
      "Trains are slower on this line, yet you can walk around and read."
    ],
    terms: ["tickets", "a rain coat", "the ferry", "a map", "good shoes"]
  },
  {
    name: "music",
    questions: ["How do I learn a song by ear?", "What is a minor scale?", "Help me practise with little time."],
    sentences: [
      "Hum the melody until you can sing it without the record.",
      "Find the lowest note first; it often names the chord.",
      "Ten minutes a day beat two hours on a weekend.",
      "A minor scale has its third note a half step lower than the major one.",
      "Play slowly enough that you make no mistake, then a little faster."
    ],
    terms: ["a metronome", "the bass line", "a chord", "a rest", "the chorus"]
  },
  {
    name: "letters",
    questions: ["Write a short note to my landlord.", "Make this sentence kinder.", "How do I end a formal letter?"],
    sentences: [
      "Say in the first line what you ask for.",
      "Name a date, for example the 3rd of May, and how you can be reached.",
      "A short letter is read at once, a long one is put aside.",
      "Thank the reader before you close.",
      "Leave out every word that only shows you are angry."
    ],
    terms: ["the date", "the subject", "a greeting", "one request", "your name"]
  },
  {
    name: "bicycles",
    questions: ["My chain makes a noise. What can I do?", "How high should the saddle be?", "Is a helmet needed?"],
    sentences: [
      "Wipe the chain with a cloth, oil every link and wipe again.",
      "With the heel on the pedal your leg should be straight.",
      "A rubbing brake is often just a wheel that sits askew.",
      "Check both tyres once a week; soft ones wear out early.",
      "Ask for 2 < 3 < 4 mm keys in the shop, they are cheap."
    ],
    terms: ["chain oil", "a tyre lever", "a pump", "the saddle", "brake pads"]
  }
]

export interface Snippet {
  readonly language: string
  readonly text: string
}

export const snippets: ReadonlyArray<Snippet> = [
  {
    language: "python",
    text: "def tally(lines):\n    # words -> how often\n    seen = {}\n    for line in lines:\n        for word in line.split():\n            seen[word] = seen.get(word, 0) + 1\n    return seen\n\nprint(tally(['a b', 'a']))"
  },
  {
    language: "javascript",
    text: "const biggest = (xs) => {\n  let best = -1\n  for (const x of xs) {\n    if (x > best && x < 100) best = x\n  }\n  return best\n}"
  },
  {
    language: "cpp",
    text: "#include <vector>\n\nint sum(const std::vector<int>& v) {\n\tint s = 0;\n\tfor (int i = 0; i < (int)v.size(); i++) s += v[i];\n\treturn s;\n}"
  },
  { language: "bash", text: 'for f in *.txt; do\n  wc -l "$f" | sort -n\ndone' },
  {
    language: "sql",
    text: "select name, count(*)\nfrom boats\nwhere length_m > 12 and name <> 'Swift'\ngroup by name;"
  },
  { language: "", text: "a plain block\n  with  two  spaces\nand_under_scores *stars*" }
]
