"""Opens exports in LLaVA's own layout as LLaVA's code does, and compares them with the same model's parity.safetensors.

    python scripts/verify_original.py DIR

DIR is what scripts/export-cases.ts wrote: DIR/llava/CASE/files and DIR/projector/CASE/files beside
DIR/transformers/CASE/model. LLaVA itself is not needed: what its builder does with the files is done here in a few lines
(torch.load with weights_only, names cut behind `mm_projector.`, a strict load into its Sequential, the language model and
the tower by transformers' classes, features put where the image is). Exit status 1 if anything differs.
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from PIL import Image
from safetensors import safe_open
from torch import nn
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, PhiConfig, PhiForCausalLM

LOGITS = 1e-4
transformers.logging.set_verbosity_error()
failed = 0


def check(what, holds, detail):
    global failed
    failed += not holds
    print(f"  {'ok  ' if holds else 'FAIL'}  {what}: {detail}")


def build_projector(config):
    """LLaVA's build_vision_projector for mlp2x_gelu."""
    assert config["mm_projector_type"] == "mlp2x_gelu"
    return nn.Sequential(nn.Linear(config["mm_hidden_size"], config["hidden_size"]), nn.GELU(), nn.Linear(config["hidden_size"], config["hidden_size"]))


def load_projector(folder, config):
    """As initialize_vision_modules takes --pretrain_mm_mlp_adapter."""
    weights = torch.load(os.path.join(folder, "mm_projector.bin"), map_location="cpu", weights_only=True)
    projector = build_projector(config)
    projector.load_state_dict({k.split("mm_projector.")[1]: v.float() for k, v in weights.items() if "mm_projector" in k}, strict=True)
    check("mm_projector.bin", len(weights) == 4, f"{', '.join(weights)} of {next(iter(weights.values())).dtype}, torch.load(weights_only=True)")
    return projector, weights


def loaded(kind, folder, **more):
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **more)
    wrong = {key: sorted(value) for key, value in info.items() if key != "error_msgs" and len(value) > 0}
    check(kind.__name__, not wrong, f"{sum(p.numel() for p in model.parameters()):,} weights, {wrong or 'none missing or unexpected'}")
    return model.eval()


def verify(name, folder, twin, alone):
    print(name)
    config = json.load(open(os.path.join(folder, "config.json")))
    projector, weights = load_projector(folder, config)
    language = loaded(PhiForCausalLM, folder, config=PhiConfig(**{k: v for k, v in config.items() if k not in ("model_type", "vision_config")}))
    tower = loaded(CLIPVisionModel, config["mm_vision_tower"])
    with safe_open(os.path.join(twin, "parity.safetensors"), framework="pt") as file:
        parity = {key: file.get_tensor(key) for key in file.keys()}
    image_token = json.load(open(os.path.join(twin, "config.json")))["image_token_index"]
    with torch.no_grad():
        hidden = tower(parity["pixel_values"], output_hidden_states=True).hidden_states[config["mm_vision_select_layer"]]
        features = projector(hidden[:, 1:])
        embeds = language.get_input_embeddings()(parity["input_ids"])
        embeds[parity["input_ids"] == image_token] = features.flatten(0, 1)
        logits = language(inputs_embeds=embeds, attention_mask=parity["attention_mask"]).logits
    worst = (logits - parity["logits"]).abs().max().item()
    scale = parity["logits"].abs().max().item()
    check("logits", logits.shape == parity["logits"].shape and worst <= LOGITS * max(1.0, scale), f"{list(logits.shape)}, largest {scale:.3f}, largest difference {worst:.2e}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    check("tokenizer", tokenizer.padding_side == "right" and len(tokenizer) <= config["vocab_size"], f"{len(tokenizer)} tokens, pads on the {tokenizer.padding_side}")
    processor = CLIPImageProcessor.from_pretrained(config["mm_vision_tower"])
    image = Image.open(os.path.join(twin, "parity.png")).convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(x * 255) for x in processor.image_mean))
    square.paste(image, ((side - image.size[0]) // 2, (side - image.size[1]) // 2))
    pixels = processor(square, return_tensors="pt")["pixel_values"]
    worst = (pixels - parity["pixels"]).abs().max().item()
    check("pixels", worst <= 1e-6, f"expand2square and {type(processor).__name__}, largest difference {worst:.1e}")
    small = json.load(open(os.path.join(alone, "config.json")))
    _, shared = load_projector(alone, small)
    check("projector alone", all(torch.equal(shared[k], weights[k]) for k in weights), "the same weights")


def main(folder):
    print(f"python {sys.version.split()[0]}, transformers {transformers.__version__}, torch {torch.__version__}")
    for name in sorted(os.listdir(os.path.join(folder, "llava"))):
        verify(name, os.path.join(folder, "llava", name, "files"), os.path.join(folder, "transformers", name, "model"), os.path.join(folder, "projector", name, "files"))
    print("all equal" if failed == 0 else f"{failed} comparisons failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
