"""Makes test/model/lora/variants: what PEFT saves for each way of making a LoRA adapter, and what it merges it into.

Not needed by the tests, which read what is committed. Run from the repository's root with torch, transformers, peft and
safetensors installed, after scripts/peft_golden.py: python scripts/peft_variants.py

fields.json                   every field of LoraConfig with its default, as a list of names, and peft's version
NAME/adapter_config.json      as save_pretrained writes it, B trained a little; and adapter_model.safetensors (or .bin)
NAME/merged.safetensors       the adapted weights after PeftModel.from_pretrained(base).merge_and_unload()
"""

import dataclasses
import json
import os
import shutil

import peft
import safetensors.torch
import torch
import transformers

BASE = "test/model/lora/fixtures/base"
OUT = "test/model/lora/variants"
TARGETS = ["q_proj", "v_proj"]

VARIANTS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "eva": {"init_lora_weights": "eva", "eva_config": peft.EvaConfig()},
    "no-init": {"init_lora_weights": False},
    "regex": {"target_modules": r".*\.(q_proj|v_proj)"},
    "all-linear": {"target_modules": "all-linear"},
    "bin": {},
    # What is refused.
    "pissa": {"init_lora_weights": "pissa"},
    "pissa-niter": {"init_lora_weights": "pissa_niter_4"},
    "olora": {"init_lora_weights": "olora"},
    "mica": {"init_lora_weights": "mica"},
    "dora": {"use_dora": True},
    "alora": {"alora_invocation_tokens": [1, 2]},
    "lora-bias": {"lora_bias": True},
    "bias-all": {"bias": "all"},
    "rank-pattern": {"rank_pattern": {"q_proj": 1}},
    "alpha-pattern": {"alpha_pattern": {"q_proj": 1}},
    "layers": {"layers_to_transform": [0], "layers_pattern": "layers"},
    "save-head": {"modules_to_save": ["lm_head"]},
    "tokens": {"trainable_token_indices": [1, 2]},
    "replicated": {"layer_replication": [[0, 2], [1, 2]]},
    "parameters": {"target_parameters": ["mlp.fc1.weight"]},
}
NUMBERS = {"plain", "rslora", "gaussian", "orthogonal", "eva", "no-init", "regex", "all-linear", "bin"}


def make(name, changes):
    torch.manual_seed(3)
    folder = f"{OUT}/{name}"
    base = transformers.PhiForCausalLM.from_pretrained(BASE)
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 6, "task_type": "CAUSAL_LM", "target_modules": TARGETS, **changes})
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder, safe_serialization=name != "bin")
    os.remove(f"{folder}/README.md")
    if name not in NUMBERS:
        os.remove(f"{folder}/adapter_model.safetensors")
        return
    loaded = peft.PeftModel.from_pretrained(transformers.PhiForCausalLM.from_pretrained(BASE), folder)
    merged = loaded.merge_and_unload().state_dict()
    kept = {k: v.contiguous() for k, v in merged.items() if ".layers.1." in k and k.endswith("proj.weight")}
    safetensors.torch.save_file(kept, f"{folder}/merged.safetensors")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    for name, changes in VARIANTS.items():
        try:
            make(name, changes)
        except Exception as error:  # noqa: BLE001
            print(f"{name}: {type(error).__name__}: {error}")
            raise
    fields = sorted(one.name for one in dataclasses.fields(peft.LoraConfig))
    with open(f"{OUT}/fields.json", "w") as file:
        json.dump({"peft": peft.__version__, "fields": fields}, file, indent=2)
        file.write("\n")
    for folder, _, names in os.walk(OUT):
        for one in names:
            os.chmod(os.path.join(folder, one), 0o644)


main()
