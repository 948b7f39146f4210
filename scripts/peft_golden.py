"""Makes test/model/lora/fixtures: a small Phi with LoRA as peft computes it.

Not needed by the tests, which read what is committed. Run from the repository's root with torch, transformers, peft and
safetensors installed: python scripts/peft_golden.py

base/     PhiForCausalLM, float32
adapter/  what save_pretrained of peft writes, every A and B of it random
golden.safetensors  input_ids, labels (-100 = no loss); loss; grad.NAME of every A and B; merged.NAME of merged weights; logits
"""

import json
import os
import shutil
import sys

import peft
import safetensors.torch
import torch
import transformers

OUT = "test/model/lora/fixtures"


def main():
    torch.manual_seed(0)
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    config = transformers.PhiConfig(
        vocab_size=67,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        partial_rotary_factor=0.5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attention_dropout=0.0,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    base = transformers.PhiForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    base.save_pretrained(f"{OUT}/base")

    lora = peft.LoraConfig(
        r=4,
        lora_alpha=10,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base, lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(f"{OUT}/adapter")
    os.remove(f"{OUT}/adapter/README.md")  # a template with nothing filled in

    ids = torch.randint(2, 67, (3, 12))
    labels = ids.clone()
    labels[:, :3] = -100
    made = model(input_ids=ids, labels=labels)
    made.loss.backward()
    golden = {
        "input_ids": ids.to(torch.int32),
        "labels": labels.to(torch.int32),
        "loss": made.loss.detach().reshape(1),
        "logits": made.logits.detach(),
    }
    for name, parameter in model.named_parameters():
        ours = name.removeprefix("base_model.model.").replace(".default.", ".")
        if parameter.requires_grad:
            golden[f"grad.{ours}"] = parameter.grad
    merged = model.merge_and_unload()
    for name, parameter in merged.named_parameters():
        if name.endswith("weight") and ".layers." in name and "layernorm" not in name:
            golden[f"merged.{name}"] = parameter.detach()
    safetensors.torch.save_file({k: v.contiguous() for k, v in golden.items()}, f"{OUT}/golden.safetensors")
    versions = {one.__name__: one.__version__ for one in (peft, torch, transformers)}
    with open(f"{OUT}/made-with.json", "w") as file:
        json.dump({"python": sys.version.split()[0], **versions}, file, indent=2)
        file.write("\n")
    for folder, _, names in os.walk(OUT):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o644)


main()
