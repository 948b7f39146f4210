"""Trains a Phi with transformers and PyTorch: a plain loop with SDPA and fused AdamW, the peer of `npm run bench -- train`.

Not tuned and not compiled: forward with labels, backward, step, gradients set to none, no clipping and no dropout. It
answers "do k steps" and times them itself. Biases and norms are not decayed, as in millrace.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from serve import need, serve  # noqa: E402

torch, transformers = need(torch="torch", transformers="transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Loop:
    """What is trained: a model, its optimiser, batches that are gone through again and again, the next one's number."""

    model = optimiser = None
    batches = []
    at = 0


def load(folder, batches, lr, threads):
    """A folder of `config.json` and `model.safetensors`; batches as JSON: rows, time, flat ids, labels and mask (or null)."""
    torch.set_num_threads(threads)
    model = transformers.PhiForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    model.train()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    Loop.model = model
    Loop.optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=lr,
        betas=(0.9, 0.98),
        eps=1e-7,
        fused=True,
    )
    with open(batches, encoding="utf8") as file:
        Loop.batches = [tensors(batch) for batch in json.load(file)]
    Loop.at = 0
    return {"seconds": 0, "parameters": sum(p.numel() for p in model.parameters()), "threads": torch.get_num_threads()}


def tensors(batch):
    def of(flat):
        return None if flat is None else torch.tensor(flat, dtype=torch.int64).reshape(batch["rows"], batch["time"])

    return {"input_ids": of(batch["ids"]), "labels": of(batch["labels"]), "attention_mask": of(batch["mask"])}


def steps(count):
    """`count` updates. Losses are read when all are done, so that nothing waits for them."""
    losses = []
    started = time.perf_counter()
    for _ in range(count):
        loss = Loop.model(**Loop.batches[Loop.at % len(Loop.batches)], use_cache=False).loss
        loss.backward()
        Loop.optimiser.step()
        Loop.optimiser.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        Loop.at += 1
    losses = [float(loss) for loss in losses]
    return {"seconds": time.perf_counter() - started, "losses": losses}


if __name__ == "__main__":
    serve(load=load, steps=steps)
