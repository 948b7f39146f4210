/**
 * Vicuna v1.1 as a chat template (Jinja), for those who open an exported folder. It stands in the tokenizer's config
 * and, for the processor, in a file of its own.
 *
 * Not the renderer that training uses (`text/Template.ts`): this writes the same text, and a test compares the two.
 * Content is text or a list of `{type: "text"}` parts, in every role; a user's list may have one `{type: "image"}`,
 * which goes to the front of the first question, as the mark `<image>` does. What training has never seen is refused:
 * other roles, roles that do not alternate, other parts, more than one picture.
 *
 * An answer and its end stand inside `{% generation %}`: `apply_chat_template(..., return_assistant_tokens_mask=True)`
 * gives the tokens that carry loss here.
 */
import { END_MARK, IMAGE_MARK, VICUNA_SYSTEM } from "../text/Template.ts"

const quoted = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`
const mark = quoted(IMAGE_MARK)

/** Text of a message, whichever form its content has. */
const words = [
  "{%- macro words(message) -%}",
  "{%- if message['content'] is string -%}{{ message['content'] }}",
  "{%- elif message['content'] is iterable and message['content'] is not mapping -%}",
  "{%- for part in message['content'] -%}",
  "{%- if part['type'] == 'text' -%}{{ part['text'] }}",
  "{%- elif part['type'] != 'image' or message['role'] != 'user' -%}",
  "{{ raise_exception('a part of type ' + part['type'] + ' cannot stand in a message of ' + message['role']) }}",
  "{%- endif -%}{%- endfor -%}",
  "{%- else -%}{{ raise_exception('content must be text or a list of parts') }}{%- endif -%}",
  "{%- endmacro -%}"
]

/** Whether the conversation has a picture: a part, or the mark in a question. */
const pictures = [
  "{%- set seen = namespace(parts=0, marks=false) -%}",
  "{%- for message in messages if message['role'] == 'user' -%}",
  "{%- if message['content'] is not string -%}{%- for part in message['content'] -%}",
  "{%- if part['type'] == 'image' -%}{%- set seen.parts = seen.parts + 1 -%}{%- endif -%}",
  "{%- endfor -%}{%- endif -%}",
  `{%- if ${mark} in words(message) -%}{%- set seen.marks = true -%}{%- endif -%}`,
  "{%- endfor -%}",
  "{%- if seen.parts > 1 -%}{{ raise_exception('a conversation has one picture at most') }}{%- endif -%}",
  "{%- set image = seen.parts == 1 or seen.marks -%}"
]

const question = [
  `{%- set text = (words(message) | replace(${mark}, '') | trim) if image and ${mark} in words(message) else words(message) -%}`,
  `{{ 'USER: ' }}{%- if image and loop.first -%}{{ ${mark} }}{%- if text -%}{{ '\\n' }}{%- endif -%}{%- endif -%}`,
  "{{ text }}{{ ' ' }}"
]

const answer = [
  "{{ 'ASSISTANT: ' }}",
  `{%- generation -%}{{ words(message) }}{{ ${quoted(END_MARK)} }}{%- endgeneration -%}`
]

export const chatTemplate: string = [
  ...words,
  ...pictures,
  "{%- if messages and messages[0]['role'] == 'system' -%}",
  "{%- set system = words(messages[0]) -%}{%- set turns = messages[1:] -%}",
  `{%- else -%}{%- set system = ${quoted(VICUNA_SYSTEM)} -%}{%- set turns = messages -%}{%- endif -%}`,
  "{%- if system -%}{{ system }}{{ ' ' }}{%- endif -%}",
  "{%- for message in turns -%}",
  "{%- if message['role'] not in ['user', 'assistant'] -%}",
  "{{ raise_exception('a message of ' + message['role'] + ' cannot stand here: roles are system (first), user and assistant') }}",
  "{%- elif (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}",
  "{{ raise_exception('messages must alternate: user, assistant, user and so on') }}",
  "{%- elif message['role'] == 'user' -%}",
  ...question,
  "{%- else -%}",
  ...answer,
  "{%- endif -%}{%- endfor -%}",
  "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"
].join("")
