"""Makes test/nodes/fixtures/chat-template.json: what transformers makes of the exported chat template.

Not needed by the tests, which read what is committed. Run from the repository's root with transformers installed:
python scripts/chat_template.py. The template is asked of src/nodes/ChatTemplate.ts, the tokenizer is one of the sample's, kept beside. Each case
has messages, the text (or the error) and, where a conversation ends with an answer, ids and the mask of assistant tokens.
"""

import json
import os
import subprocess

import transformers
from transformers import PreTrainedTokenizerFast

OUT = "test/nodes/fixtures/chat-template.json"
TOKENIZER = "test/nodes/fixtures/chat-tokenizer.json"
ASK = 'import("./src/nodes/ChatTemplate.ts").then((m) => process.stdout.write(m.chatTemplate))'


def text(value):
    return {"type": "text", "text": value}


IMAGE = {"type": "image"}


def say(role, content):
    return {"role": role, "content": content}


CASES = {
    "one question": [say("user", "Who are you?")],
    "one question in parts": [say("user", [text("Who are "), text("you?")])],
    "a picture first": [say("user", [IMAGE, text("What is it?")])],
    "a picture last": [say("user", [text("What is it?"), IMAGE])],
    "a picture alone": [say("user", [IMAGE])],
    "a picture by its mark": [say("user", "What is this?\n<image>")],
    "a picture in the second question": [
        say("user", "Hello."),
        say("assistant", "Hello!"),
        say("user", [IMAGE, text("And this?")]),
    ],
    "an answer": [say("user", "Who are you?"), say("assistant", "I am a test.")],
    "an answer in parts": [say("user", [text("Who?")]), say("assistant", [text("A "), text("test.")])],
    "two answers about a picture": [
        say("user", [IMAGE, text("What is it?")]),
        say("assistant", "A red square."),
        say("user", "Where?"),
        say("assistant", "At the top: it isn't \\ below 'that'."),
    ],
    "blanks are kept": [say("user", "  What?  "), say("assistant", "  This.\n")],
    "a system message": [say("system", "Be brief."), say("user", "Who?"), say("assistant", "Me.")],
    "a system message in parts": [say("system", [text("Be brief.")]), say("user", [IMAGE, text("What is it?")])],
    "an empty system message": [say("system", ""), say("user", "Who?")],
    "no message": [],
    "an unknown role": [say("user", "Who?"), say("tool", "{}")],
    "a system message later": [say("user", "Who?"), say("system", "Be brief.")],
    "an answer first": [say("assistant", "Hello.")],
    "two questions": [say("user", "Who?"), say("user", "What?")],
    "two pictures": [say("user", [IMAGE, IMAGE, text("Which?")])],
    "a picture in an answer": [say("user", "Who?"), say("assistant", [IMAGE, text("This.")])],
    "a video": [say("user", [{"type": "video"}, text("What?")])],
    "content that is one part": [say("user", text("What?"))],
}


def main():
    template = subprocess.run(["npx", "tsx", "-e", ASK], check=True, capture_output=True, text=True).stdout
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=TOKENIZER, eos_token="<|endoftext|>", chat_template=template)
    cases = []
    for name, messages in CASES.items():
        case = {"name": name, "messages": messages}
        for prompt in (False, True):
            try:
                made = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
                case["prompt" if prompt else "text"] = made
            except Exception as error:  # noqa: BLE001
                case["error"] = str(error)
        if messages and messages[-1]["role"] == "assistant" and "error" not in case:
            encoded = tokenizer.apply_chat_template(
                messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, add_special_tokens=False
            )
            case["ids"], case["mask"] = list(encoded["input_ids"]), list(encoded["assistant_masks"])
        cases.append(case)
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as file:
        json.dump({"transformers": transformers.__version__, "template": template, "cases": cases}, file, indent=1)
        file.write("\n")


main()
