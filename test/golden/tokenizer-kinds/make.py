"""Small tokenizers of the byte-level kinds, and what Hugging Face's `tokenizers` makes of awkward texts with them.

    python make.py        writes NAME.json (one a kind) and cases.json beside itself

Made with tokenizers 0.23.2. Offsets are written as UTF-16 code units; the library counts code points.
"""
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
TEXT = """A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful answers.
The quick brown fox jumps over the lazy dog; the dog didn't mind, it's what dogs do. I'll say they've won.
In 2024 there were 1,234,567 people and 42 cats. Price: $19.99 (50% off!)
Der schnelle braune Fuchs springt über den faulen Hund. Crème brûlée, naïve façade, Ångström.
def f(x):\n    return x ** 2 + 3 * x\n\tif x:\n\t\tpass
日本語のテキスト。中文文本。한국어 텍스트. Привет мир, как дела? 😀 👩‍👩‍👧 the end  of   the    text
the the the and and and of of of to to to in in in""".split("\n") * 4

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST

CASES = [
    "", " ", "  ", "a", " a", "hello world", "  hello   world  ", "The quick brown fox", "It's I'LL we'Ve 'S 'ſ don’t",
    "12345 1,234 3.14 ½ ٣ 四 Ⅷ", "a\n\n b\r\n\tc \n", "\u0085x\u00a0y\u3000z\ufeff\u200b\u2028w", "x\u001c\u001d\u001fy\u0000\u007f",
    "😀", "a😀b👩‍👩‍👧 🏳️‍🌈🇩🇪👍🏽", "日本語のテキスト 한국어 텍스트", "Привет мир", "é e\u0301 n\u0303 \u212b A\u030a ﬁ ẞ",
    "\u0301 start", "a\u0345\u0301\u0334b", "\u1100\u1161\u11a8 \u1112\u1161\u11ab", "\U0001d7d8\U00010437 \U0001e030",
    "\U00010d4a\U00016ea0 \u1c89\ua7da", "a\u0308\u1ae0\u0301e\u0897\u0301", "\U0010ffff\uffff\ue000", "<s>a</s> <mask> b<mask>c",
    "x <mask>", "<mask>", " <mask> ", "<|begin_of_text|>a<|eot_id|>b<|end_of_text|", "<|im_start|>user\n hi<|im_end|>\n",
    "b  <l>b", "b<r> \n b", " <b>  <b>x", "a cat cats concat cat", "ca cacao cat", "x   y    z", "Ünder Ünders", "x  <L>y", "<l><r>",
    "Ångström A\u030angstro\u0308m", "def f(x):\n    return x ** 2\n\n\n", "$$$ !!!... — «»", "foo_bar CamelCase http://a.b/c?d=e",
    "the" * 20, " " * 40 + "x", "\t" * 12 + "\n" * 7,
]


def byte_level(prefix, regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def isolated(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level(False, False)])


def template(single):
    return lambda t: processors.TemplateProcessing(
        single=single, special_tokens=[(w, t.token_to_id(w)) for w in single.split() if not w.startswith("$")]
    )


def plain(_):
    return processors.ByteLevel(trim_offsets=False)


def make(name, pre, specials, norm=None, post=plain, added=(), ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if norm is not None:
        tokenizer.normalizer = norm
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_tokens(list(added))
    tokenizer.post_processor = post(tokenizer)
    tokenizer.save(str(HERE / f"{name}.json"), pretty=False)
    return tokenizer


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


KINDS = {
    "gpt2": make("gpt2", byte_level(False), ["<|endoftext|>"]),
    "roberta": make(
        "roberta", byte_level(True), ["<s>", "<pad>", "</s>", "<unk>"], added=[special("<mask>", lstrip=True)],
        post=lambda t: processors.RobertaProcessing(
            ("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")), trim_offsets=False, add_prefix_space=True
        ),
    ),
    "llama3": make(
        "llama3", isolated(LLAMA3), ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True,
        post=lambda t: processors.Sequence([plain(t), template("<|begin_of_text|> $A")(t)]),
    ),
    "qwen2": make(
        "qwen2", isolated(QWEN2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], norm=normalizers.NFC(),
        added=[AddedToken("Ångström", normalized=True)],
    ),
    "added": make(
        "added", byte_level(False), ["<eos>"], post=template("$A <eos>"),
        added=[
            AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True),
            AddedToken("<b>", lstrip=True, rstrip=True, normalized=False), AddedToken("cat", single_word=True),
            AddedToken("Ünder", single_word=True, normalized=False), AddedToken("   "), special("ca"),
            special("<L>", lstrip=True),
        ],
    ),
    "digits": make(
        "digits", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(False)]), ["<eos>"]
    ),
    "digits-prefix": make(
        "digits-prefix", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), byte_level(True)]), ["<eos>"]
    ),
}


def units(text):
    places = [0]
    for character in text:
        places.append(places[-1] + (2 if ord(character) > 0xFFFF else 1))
    return places


def case(tokenizer, text):
    encoding = tokenizer.encode(text, add_special_tokens=False)
    at = units(text)
    return {
        "ids": encoding.ids,
        "starts": [at[start] for start, _ in encoding.offsets],
        "ends": [at[end] for _, end in encoding.offsets],
    }


out = {
    "texts": CASES,
    "kinds": {name: [case(tokenizer, text) for text in CASES] for name, tokenizer in KINDS.items()},
    "around": {name: tokenizer.encode("a b").ids for name, tokenizer in KINDS.items()},
}
(HERE / "cases.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
