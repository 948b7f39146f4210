"""Trains a Phi with transformers and PyTorch: a plain loop with SDPA and fused AdamW, the peer of `bench -- train` and `gpu`.

Not tuned and not compiled: forward with labels, backward, step, gradients set to none, no clipping and no dropout. In
bfloat16 that is autocast over float32 weights and moments. It answers "do k steps" and times them itself. Biases and
norms are not decayed, as in millrace.
"""

import contextlib
import json
import os
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from serve import need, serve  # noqa: E402

torch, transformers = need(torch="torch", transformers="transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Loop:
    """What is trained: a model, its optimiser, batches that are gone through again and again, the next one's number."""

    model = optimiser = None
    device = "cpu"
    bf16 = False
    batches = []
    at = 0


def card():
    """The device's name and memory, where there is one."""
    if not torch.cuda.is_available():
        return {"seconds": 0, "name": None, "bytes": 0}
    properties = torch.cuda.get_device_properties(0)
    return {"seconds": 0, "name": properties.name, "bytes": properties.total_memory}


def load(folder, batches, lr, threads, device="cpu", bf16=False):
    """A folder of `config.json` and `model.safetensors`; batches as JSON: rows, time, flat ids, labels and mask (or null)."""
    model = transformers.PhiForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    return begin(model.to(device), batches, lr, threads, device, bf16)


def make(config, std, batches, lr, threads, device="cpu", bf16=False):
    """A model of these sizes with weights by formula (`hashed`), made where it computes: nothing is read or sent."""
    with torch.device(device):
        sizes = transformers.PhiConfig(**config)
        model = transformers.AutoModelForCausalLM.from_config(sizes, attn_implementation="sdpa", dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layernorm" in name and name.endswith(".weight"):
                weight.fill_(1)
            elif name.endswith(".bias"):
                weight.zero_()
            else:
                weight.copy_(hashed(weight.numel(), zlib.crc32(name.encode()), std, device).reshape(weight.shape))
    return begin(model, batches, lr, threads, device, bf16)


PERIOD = 2**22


def hashed(count, salt, std, device):
    """Numbers in [-a, a) of this deviation, each a function of its index and the salt: `work/Formula.ts` gives the same bits."""
    if count > PERIOD:
        return hashed(PERIOD, salt, std, device).repeat(-(-count // PERIOD))[:count]
    low = 0xFFFFFFFF
    x = torch.arange(count, dtype=torch.int64, device=device)
    x.mul_(2654435761).add_(salt).bitwise_and_(low)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x.bitwise_xor_(x >> shift).mul_(factor).bitwise_and_(low)
    x.bitwise_xor_(x >> 16)
    return x.double().div_(4294967296).sub_(0.5).mul_(std * 12**0.5).float()


def begin(model, batches, lr, threads, device, bf16):
    torch.set_num_threads(threads)
    model.train()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    Loop.model, Loop.device, Loop.bf16, Loop.at = model, device, bf16, 0
    Loop.optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=lr,
        betas=(0.9, 0.98),
        eps=1e-7,
        fused=True,
    )
    batching(batches)
    return {"seconds": 0, "parameters": sum(p.numel() for p in model.parameters()), "threads": torch.get_num_threads()}


def batching(batches):
    """Other batches for the same model."""
    with open(batches, encoding="utf8") as file:
        Loop.batches = [tensors(batch) for batch in json.load(file)]
    Loop.at = 0
    return {"seconds": 0}


def tensors(batch):
    def of(flat):
        if flat is None:
            return None
        return torch.tensor(flat, dtype=torch.int64, device=Loop.device).reshape(batch["rows"], batch["time"])

    return {"input_ids": of(batch["ids"]), "labels": of(batch["labels"]), "attention_mask": of(batch["mask"])}


def loss_of(batch):
    precision = torch.autocast(Loop.device, dtype=torch.bfloat16) if Loop.bf16 else contextlib.nullcontext()
    with precision:
        return Loop.model(**batch, use_cache=False).loss


def on_cuda():
    return Loop.device != "cpu"


def steps(count):
    """`count` updates. Losses are read when all are done, so that nothing waits for them."""
    losses = []
    if on_cuda():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    try:
        for _ in range(count):
            loss = loss_of(Loop.batches[Loop.at % len(Loop.batches)])
            loss.backward()
            Loop.optimiser.step()
            Loop.optimiser.zero_grad(set_to_none=True)
            losses.append(loss.detach())
            Loop.at += 1
        losses = [float(loss) for loss in losses]
        if on_cuda():
            torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError:
        full = True
    else:
        full = False
    if full:  # outside of the handler, whose traceback holds what the step held
        loss = None
        Loop.optimiser.zero_grad(set_to_none=True)
        Loop.optimiser.state.clear()  # it may be half made
        torch.cuda.empty_cache()
        return {"seconds": 0, "full": True}
    peak = torch.cuda.max_memory_allocated() if on_cuda() else None
    return {"seconds": time.perf_counter() - started, "losses": losses, "peak": peak}


def gradients(into, bf16):
    """Loss and gradients of the first batch; the gradients go to a safetensors file, as float32 under the names of the weights."""
    from safetensors.torch import save_file

    Loop.bf16 = bf16
    loss = loss_of(Loop.batches[0])
    loss.backward()
    save_file({name: p.grad.float().cpu().contiguous() for name, p in Loop.model.named_parameters()}, into)
    Loop.optimiser.zero_grad(set_to_none=True)
    return {"seconds": 0, "loss": float(loss)}


if __name__ == "__main__":
    serve(card=card, load=load, make=make, batching=batching, steps=steps, gradients=gradients)
