"""What FastChat's own scripts make of rows that touch each of their rules: which rule looks at which form of a text.

    python make.py FASTCHAT        writes cases.json beside itself

FASTCHAT is a checkout of lm-sys/FastChat (made with 0e6d3e4, beautifulsoup4 4.15.0, markdownify 0.11.6, tqdm, Python
3.11). The language detector of optional_clean is not needed and not imported; its other rule is called as it stands.
"""
import contextlib
import importlib.util
import io
import json
import random
import sys
import types
from argparse import Namespace
from pathlib import Path

HERE = Path(__file__).parent
ROOT = Path(sys.argv[1]) / "fastchat" / "data"
for name in ["polyglot", "polyglot.detect", "pycld2", "transformers"]:
    sys.modules[name] = types.ModuleType(name)
sys.modules["polyglot.detect"].Detector = None


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


clean, optional, split, wrong = map(
    script, ["clean_sharegpt", "optional_clean", "split_long_conversation", "filter_wrong_format"]
)
dice = random.Random(0)
NOTICE = "Too many requests in 1 hour. Try again later."

# Each is a reply or a question as it could be found; what matters is where a rule's words stand before and after conversion.
VALUES = [
    NOTICE, f"!{NOTICE}", f"!!{NOTICE}", f"<p>{NOTICE}</p>", f"<p>!{NOTICE}</p>", f" {NOTICE}", f"\n\t {NOTICE} ", f"\u00a0{NOTICE}",
    f"&nbsp;{NOTICE}", f"<div class=\"markdown\"><p>{NOTICE}</p></div>", f"<span>{NOTICE}</span>", f"<b>{NOTICE}</b>", f"<em>{NOTICE}</em>",
    f"<li>{NOTICE}</li>", f"<h2>{NOTICE}</h2>", f"<pre>{NOTICE}</pre>", f"<code>{NOTICE}</code>", f"1 / 2{NOTICE}", f"2 / 2 {NOTICE}",
    f"Copy12 chars / 3 words{NOTICE}", f"{NOTICE} Or ask me later.", f"<p>{NOTICE}</p><p>Then more.</p>", f"<p>Wait.</p><p>{NOTICE}</p>",
    "Too many requests in 1 hour", "Too many requests in 1 hour is what it says.", "<p>Too many requests in 1 hour. Try again!</p>",
    "too many requests in 1 hour. try again later.", "Too many requests in 1&nbsp;hour. Try again later.", "Too many  requests in 1 hour. Try again later.",
    "<p>Too many <i>requests</i> in 1 hour. Try again later.</p>", "Too&#32;many requests in 1 hour. Try again later.", f"&#33;{NOTICE}", f"<!-- x -->{NOTICE}",
    f"<script>x</script>{NOTICE}", f"\u200b{NOTICE}", f"\u0007{NOTICE}",
    "I am ChatGPT.", "Open<b>AI</b> made it.", "Open<i></i>AI made it.", "Open&#65;I made it.", "<a href=\"https://chat.openai.com\">here</a> it is",
    "<div class=\"chatgpt\">A clean text of some length</div>", "OPENA\u0130 is not it", "OPENAI is", "open ai is two words", "<!-- openai -->A clean text of some length",
    "", " ", "<p></p>", "<br>", "&nbsp;", "<div></div>", "1 / 2", "Copy12 chars / 3 words", "```Copy code```", "<p>\u200b</p>", "\u200bhello there friend",
    "&#8203;hello there friend", "\u0007bell", "\u00adsoft", "\ue000private", "\ufeffmark", "\u00a0space first", "&#160;space first", "\u2028line", "\ud83d\ude00 smile",
    "<![foo]>", "<!doctype x [", "a", "ok", "hi there", "0123456789abcde", "0123456789abcdef", "\ud83d\ude00" * 8,
    "What colour is the kettle?", "<p>It is <strong>red</strong>.</p>", "It is red.", "<pre>python<div>Copy code</div><code>x = 1\n</code></pre>",
    "So:\n1. Mix\n1. Bake", "<ol><li>Mix</li><li>Bake</li></ol>", "000000000", "<p>0<b>00000000</b></p>",
]


def turn(role, value):
    return {"from": role, "value": value}


def good():
    return dice.choice(["What colour is the kettle?", "<p>It is <strong>red</strong> and it stands there.</p>", "Tell me more about it, please."])


def rows():
    made = []
    for i, value in enumerate(VALUES):
        made.append([turn("human", f"Question number {i}?"), turn("gpt", value)])
        made.append([turn("human", value), turn("gpt", f"<p>Answer number {i}.</p>")])
        made.append([turn("human", f"First of {i}?"), turn("gpt", "<p>Yes, it is.</p>"), turn("human", "And then?"), turn("gpt", value)])
        made.append([turn("human", f"Second of {i}?"), turn("gpt", "<p>Yes, it is.</p>"), turn("human", value), turn("gpt", NOTICE)])
    for _ in range(160):
        length = dice.randrange(0, 7)
        roles = ["human", "gpt"] * 4
        if dice.random() < 0.3:
            roles = [dice.choice(["system", "gpt", "bing"])] + roles
        talk = [turn(roles[i], dice.choice(VALUES) if dice.random() < 0.25 else good()) for i in range(length)]
        if talk and dice.random() < 0.15:
            talk[dice.randrange(len(talk))]["from"] = dice.choice(["human", "gpt", "system", "user"])
        made.append(talk)
    out = []
    for i, talk in enumerate(made):
        row = {"id": f"r{i if dice.random() > 0.05 else dice.randrange(len(made))}", "conversations": talk}
        if dice.random() < 0.06:
            row["plugins"] = dice.choice([None, [], ["browser"]])
        out.append(row)
    return out


def cleaned(given):
    """The code of each row by itself (0 is kept), and what the script writes for the whole file."""
    copies = json.loads(json.dumps(given))
    codes = [clean.clean_html_one_sample(json.loads(json.dumps(row)))[1] for row in given]
    with contextlib.redirect_stdout(io.StringIO()):
        kept = clean.clean_html_all(copies, None, None)
    return codes, kept


LINES = ["1. Mix", "1. Fry", "1. Bake", "Take 2 eggs", "Then stop", "Stir well", " 1. In", "1.No space", "12345678", "1" * 8] * 6 + [
    "000000000", "0.111111111", "\u0662" * 9,
]


def prepared():
    """Split, then the format filter on the parts, where the original's split loses and keeps nothing by mistake."""
    split.tokenizer = lambda text: Namespace(input_ids=text.split())
    made = []
    while len(made) < 60:
        talk = [
            turn(["human", "gpt"][i % 2], "\n".join(dice.choice(LINES) for _ in range(dice.randrange(1, 5))))
            for i in range(2 * dice.randrange(1, 9))
        ]
        split.max_length = dice.choice([36, 40, 60, 2048])
        lengths = [len(x["value"].split()) + 6 for x in talk]
        pairs = [lengths[i] + lengths[i + 1] for i in range(0, len(lengths), 2)]
        if max(pairs) > split.max_length:
            continue
        row = {"id": f"s{len(made)}", "conversations": talk}
        parts = split.split_one_sample(row)
        if sum(len(part["conversations"]) for part in parts) != len(talk):
            continue
        if len(parts) < 2 and dice.random() < 0.8:
            continue
        kept = [part["id"] for part in parts if not wrong.should_skip(part)]
        options = Namespace(keep_lang="all", skip_lang=None, reduce_rep=True)
        made.append({
            **row,
            "maxTokens": split.max_length,
            "repeatedDigits": optional.skip(row, options),
            "parts": [{"id": part["id"], "turns": len(part["conversations"])} for part in parts],
            "kept": kept,
        })
    return made


given = rows()
codes, kept = cleaned(given)
out = {"rows": given, "codes": codes, "kept": kept, "prepared": prepared()}
(HERE / "cases.json").write_text(json.dumps(out, indent=1, ensure_ascii=True) + "\n")
print(len(given), "rows", {code: codes.count(code) for code in set(codes)}, len(kept), "kept")
