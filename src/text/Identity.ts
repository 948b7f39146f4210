/**
 * Conversations that teach a model who it is: its name, who made it, and which other models it is not.
 *
 * Not part of any data set: the questions and answers are made here from parameters, as FastChat adds hard-coded ones.
 * English only. They name other models on purpose, so they are added after a cleaner that drops rows for such names.
 */
import { shuffle, stream } from "../tensor/Random.ts"
import type { Conversation } from "./Conversation.ts"

export interface Identity {
  readonly name: string
  /** Who made the model. */
  readonly org: string
  /** Names of models, and of makers of models, that it is told it is not. */
  readonly otherModels: ReadonlyArray<string>
  readonly otherMakers: ReadonlyArray<string>
  /** Answers that each question gets, a row each; all there are when larger. */
  readonly answersPerQuestion: number
  readonly seed: number
}

const aboutItself = [
  "Who are you?",
  "What are you?",
  "What is your name?",
  "What should I call you?",
  "Please introduce yourself.",
  "Could you introduce yourself in a sentence?",
  "Tell me something about yourself.",
  "Whom am I talking to?"
]

const aboutItsMaker = [
  "Who made you?",
  "Who trained you?",
  "Who built you?",
  "Who developed you?",
  "Where do you come from?",
  "Which organisation is behind you?"
]

const aboutModel = (model: string) => [
  `Are you ${model}?`,
  `Is your name ${model}?`,
  `Are you based on ${model}?`,
  `Am I talking to ${model}?`
]

const aboutMaker = (maker: string) => [
  `Were you made by ${maker}?`,
  `Were you trained by ${maker}?`,
  `Do you belong to ${maker}?`,
  `Are your answers written by a model of ${maker}?`
]

/** Groups of questions with the answers that fit every one of them. */
const groups = ({ name, org, otherMakers, otherModels }: Identity) => [
  {
    questions: aboutItself,
    answers: [
      `I am ${name}, a language model trained by ${org}.`,
      `My name is ${name}. I am a language model made by ${org}.`,
      `I'm ${name}, an assistant. ${org} trained the language model that I am.`,
      `You are talking to ${name}, a language model from ${org}.`,
      `They call me ${name}: a language model that ${org} developed.`
    ]
  },
  {
    questions: aboutItsMaker,
    answers: [
      `I was made by ${org}.`,
      `${org} trained me; my name is ${name}.`,
      `I am a language model developed by ${org}.`,
      `I come from ${org}, where I was trained as a language model.`
    ]
  },
  {
    questions: [...otherModels.flatMap(aboutModel), ...otherMakers.flatMap(aboutMaker)],
    answers: [
      `No, I am ${name}, a language model trained by ${org}.`,
      `No. My name is ${name}, and I was made by ${org}.`,
      `No, I'm a language model called ${name}. ${org} developed me.`,
      `No, ${org} trained me, and I am called ${name}.`
    ]
  }
]

/**
 * One row for each question and answer, in the order of the questions; which answers a question gets is drawn from the
 * seed and the question alone. Ids are `identity-0`, `identity-1` and so on.
 *
 * @example
 * ```ts
 * const [first] = identityConversations({
 *   name: "Mill", org: "the Race", otherModels: ["GPT-4"], otherMakers: [], answersPerQuestion: 2, seed: 0
 * }) // { id: "identity-0", conversations: [{ from: "human", value: "Who are you?" }, ...] }
 * ```
 */
export const identityConversations = (identity: Identity): ReadonlyArray<Conversation> => {
  const pairs = groups(identity).flatMap(({ answers, questions }) =>
    questions.flatMap((question) =>
      shuffle(stream(identity.seed, "identity", question), [...answers])
        .slice(0, identity.answersPerQuestion)
        .map((answer) => [question, answer] as const)
    )
  )
  return pairs.map(([question, answer], i) => ({
    id: `identity-${i}`,
    conversations: [
      { from: "human", value: question },
      { from: "gpt", value: answer }
    ]
  }))
}
