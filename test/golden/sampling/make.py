"""Makes cases.json: logits and what transformers' warpers make of them, in the order generate() applies them.

    python make.py > cases.json

Scores are written as float32; what was taken away is null. Temperatures and shares are such that no float32 rounding of
a cumulative sum decides what stays: each case is redone in float64 and must keep the same tokens.
"""
import json
import sys

import torch
import transformers
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

CASES = [
    dict(size=50, scale=3.0, temperature=1.0),
    dict(size=50, scale=3.0, temperature=0.3),
    dict(size=50, scale=3.0, temperature=1.7, topK=5),
    dict(size=50, scale=3.0, temperature=1.0, topK=1),
    dict(size=50, scale=3.0, temperature=1.0, topK=500),
    dict(size=50, scale=3.0, temperature=1.0, topP=0.9),
    dict(size=50, scale=3.0, temperature=0.7, topP=0.5),
    dict(size=50, scale=3.0, temperature=1.0, topP=0.01),
    dict(size=50, scale=1.0, temperature=0.8, topK=12, topP=0.8),
    dict(size=50, scale=6.0, temperature=2.5, topK=7, topP=0.95),
    dict(size=400, scale=2.0, temperature=1.3, topK=40, topP=0.9),
    dict(size=400, scale=0.1, temperature=1.0, topP=0.3),
    dict(size=12, scale=0.0, temperature=1.0, topK=4),
]


def warp(logits, case):
    processors = LogitsProcessorList([TemperatureLogitsWarper(case["temperature"])])
    if "topK" in case:
        processors.append(TopKLogitsWarper(case["topK"]))
    if "topP" in case:
        processors.append(TopPLogitsWarper(case["topP"]))
    return processors(torch.zeros(1, 1, dtype=torch.long), logits[None])[0]


torch.manual_seed(0)
out = []
for case in CASES:
    logits = (torch.randn(case["size"]) * case["scale"]).float()
    scores = warp(logits, case)
    assert torch.equal(torch.isinf(scores), torch.isinf(warp(logits.double(), case)))
    settings = {name: case[name] for name in ("temperature", "topK", "topP") if name in case}
    kept = [None if value == float("-inf") else value for value in scores.tolist()]
    out.append(dict(settings=settings, logits=logits.tolist(), scores=kept))
made = f"transformers {transformers.__version__}, torch {torch.__version__}"
json.dump(dict(madeWith=made, cases=out), sys.stdout, indent=0)
print()
