"""Loads an adapter with peft on the model it was trained beside, and compares it with the merged model that was written.

    python scripts/verify_adapter.py BASE ADAPTER MERGED [--nf4]

BASE, MERGED: PhiForCausalLM folders; ADAPTER: a folder of adaptLanguageModel or tuneInstructions. Shows the largest
difference of logits between peft's adapted model and the merged one, and of merged weights between peft's merge and ours;
fails above 1e-4. With --nf4 the base's linears are first quantised to four bits and back, as training had them: by the
published definition, written here a second time.
"""

import argparse
import sys

import peft
import torch
import transformers

TOLERANCE = 1e-4
TARGETS = ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def dynamic():
    """The signed 8-bit type with a dynamic exponent: 2^i means of neighbouring boundaries for each of seven decades."""
    values = [torch.tensor([0.0, 1.0])]
    for i in range(7):
        boundaries = torch.linspace(0.1, 1, 2**i + 1)
        means = (boundaries[:-1] + boundaries[1:]) / 2
        values += [10 ** (i - 6) * means, -(10 ** (i - 6)) * means]
    return torch.cat(values).sort().values


def blockwise(values, size, code):
    """Values by blocks over their largest magnitude, each the nearest of `code`; and the magnitudes."""
    padded = torch.nn.functional.pad(values, (0, -values.numel() % size)).view(-1, size)
    largest = padded.abs().amax(1, keepdim=True)
    shares = torch.where(largest == 0, torch.zeros(()), padded / largest)
    middles = (code[:-1].double() + code[1:].double()) / 2
    return code[torch.bucketize(shares.double(), middles)], largest


def four_bits(weight):
    """What NF4 with double quantisation leaves of a matrix."""
    shares, largest = blockwise(weight.flatten(), 64, torch.tensor(NF4))
    mean = largest.double().mean().float()
    nested, outer = blockwise((largest - mean).flatten(), 256, dynamic())
    magnitudes = (nested * outer).flatten()[: largest.numel()] + mean
    return (shares * magnitudes[:, None]).flatten()[: weight.numel()].view_as(weight)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("adapter")
    parser.add_argument("merged")
    parser.add_argument("--nf4", action="store_true")
    asked = parser.parse_args()
    print(f"peft {peft.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")

    load = transformers.AutoModelForCausalLM.from_pretrained
    base = load(asked.base, dtype=torch.float32).eval()
    merged = load(asked.merged, dtype=torch.float32).eval()
    if asked.nf4:
        with torch.no_grad():
            for name, module in base.named_modules():
                if name.rsplit(".", 1)[-1] in TARGETS:
                    module.weight.copy_(four_bits(module.weight))

    torch.manual_seed(0)
    ids = torch.randint(0, base.config.vocab_size, (4, 24))
    with torch.no_grad():
        plain = base(input_ids=ids).logits
        adapted = peft.PeftModel.from_pretrained(base, asked.adapter)
        config = adapted.peft_config["default"]
        trained = sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)
        print(f"adapter: rank {config.r}, alpha {config.lora_alpha}, {', '.join(sorted(config.target_modules))}; {trained:,} weights")
        logits = adapted(input_ids=ids).logits
        ours = merged(input_ids=ids).logits
        theirs = adapted.merge_and_unload()

    weights = max(
        (a - b).abs().max().item() for (_, a), (_, b) in zip(theirs.named_parameters(), merged.named_parameters())
    )
    moved = (logits - plain).abs().max().item()
    difference = (logits - ours).abs().max().item()
    print(f"logits: largest {logits.abs().max().item():.3f}; the adapter moves them by at most {moved:.3f}")
    print(f"logits of peft's adapted model and of the merged folder differ by at most {difference:.2e}")
    print(f"weights merged by peft and those of the folder differ by at most {weights:.2e}")
    if moved == 0:
        sys.exit("the adapter changes nothing: was it loaded?")
    if max(difference, weights) > TOLERANCE:
        sys.exit(f"more than {TOLERANCE}")
    print("verified")


main()
