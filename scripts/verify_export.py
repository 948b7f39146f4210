"""Opens exported checkpoints in transformers and compares them with what they answered where they were made.

    python scripts/verify_export.py DIR [DIR ...]

Each folder's parity.safetensors is the reference: logits within 1e-4 of the largest, equal greedy tokens, pixels that go
back to equal bytes, prompt and picture through the folder's own processor. A folder with a head bias needs its custom
class, so only such a folder is opened with trust_remote_code. Prints what was compared; exit status 1 if anything differs.
"""
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy
import PIL
import safetensors
import tokenizers
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor, GenerationConfig
from transformers import LlavaForConditionalGeneration, LlavaProcessor

LOGITS = 1e-4
PIXELS = 1e-6
transformers.logging.set_verbosity_error()


class Report:
    """Prints each comparison; remembers whether all held."""

    def __init__(self):
        self.failed = 0

    def check(self, what, holds, detail):
        print(f"  {'ok  ' if holds else 'FAIL'}  {what}: {detail}")
        self.failed += not holds


def parity_of(folder):
    with safe_open(os.path.join(folder, "parity.safetensors"), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def load_model(folder, report):
    config = json.load(open(os.path.join(folder, "config.json")))
    custom = "auto_map" in config
    opener = AutoModelForImageTextToText if custom else LlavaForConditionalGeneration
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, info = opener.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **({"trust_remote_code": True} if custom else {})
        )
    wrong = {key: sorted(value) for key, value in info.items() if key != "error_msgs" and len(value) > 0}
    report.check("weights", not wrong, f"{sum(p.numel() for p in model.parameters()):,} in {type(model).__name__}, {wrong or 'none missing or unexpected'}")
    kinds = {str(w.message).split("\n")[0] for w in caught if not issubclass(w.category, (DeprecationWarning, FutureWarning))}
    if kinds:
        print(f"        warnings: {sorted(kinds)}")
    return model.eval(), custom


def compare_logits(model, parity, report):
    inputs = {name: parity[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    with torch.no_grad():
        logits = model(**inputs).logits.float()
    seen = inputs["attention_mask"].bool()
    ours, theirs = parity["logits"][seen], logits[seen]
    worst = (ours - theirs).abs().max().item()
    scale = ours.abs().max().item()
    report.check("logits", logits.shape == parity["logits"].shape and worst <= LOGITS * max(1.0, scale), f"{list(logits.shape)}, largest {scale:.3f}, largest difference {worst:.2e}")
    report.check("most likely tokens", bool((ours.argmax(-1) == theirs.argmax(-1)).all()), f"{ours.shape[0]} positions")


def compare_greedy(model, parity, report):
    wanted = parity["greedy"].tolist()
    row = {name: parity[name][:1] for name in ("input_ids", "attention_mask", "pixel_values")}
    made = model.generate(**row, max_new_tokens=len(wanted), do_sample=False)[0, row["input_ids"].shape[1]:].tolist()
    report.check("greedy", made == wanted, f"{len(wanted)} tokens {wanted}" if made == wanted else f"{made}, not {wanted}")
    pad = model.generation_config.pad_token_id
    left = {
        "input_ids": torch.nn.functional.pad(row["input_ids"], (5, 0), value=pad),
        "attention_mask": torch.nn.functional.pad(row["attention_mask"], (5, 0), value=0),
        "pixel_values": row["pixel_values"],
    }
    made = model.generate(**left, max_new_tokens=len(wanted), do_sample=False)[0, left["input_ids"].shape[1]:].tolist()
    report.check("greedy, padded on the left", made == wanted, f"{len(made)} tokens")


def levels(pixels, processor):
    """Normalised pixels back to the bytes they are of."""
    mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
    return ((pixels * std + mean) * 255).round().to(torch.int32)


def compare_processor(folder, opener, parity, meta, report):
    processor = opener.from_pretrained(folder)
    image = Image.open(os.path.join(folder, meta["image"]))
    kind = f"{opener.__name__} ({type(processor.image_processor).__name__})"
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": meta["question"]}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=image, text=text, return_tensors="pt")
    pixels = inputs["pixel_values"]
    worst = (pixels - parity["pixels"]).abs().max().item() if pixels.shape == parity["pixels"].shape else float("inf")
    same = worst <= PIXELS and torch.equal(levels(pixels, processor.image_processor), levels(parity["pixels"], processor.image_processor))
    report.check(f"pixels, {kind}", same, f"{image.size[0]} x {image.size[1]} to {list(pixels.shape)}, equal bytes, largest difference {worst:.1e}")
    report.check(f"prompt, {kind}", torch.equal(inputs["input_ids"], parity["input_ids"][:1]), f"{inputs['input_ids'].shape[1]} ids from the chat template")
    whole = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": meta["question"]}]}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )
    report.check(f"prompt and picture at once, {kind}", torch.equal(whole["input_ids"], inputs["input_ids"]) and torch.equal(whole["pixel_values"], pixels), "apply_chat_template(tokenize=True)")
    both = processor(images=[image, image], text=[text, text + " It is"], return_tensors="pt", padding=True)
    first = both["attention_mask"][0]
    report.check(f"padding, {kind}", int(first[0]) == 0 and int(first[-1]) == 1, f"on the left, {int((first == 0).sum())} tokens")
    return processor, inputs


def compare_chat(folder, processor, meta, report):
    def parts(*texts):
        return [{"type": "text", "text": text} for text in texts]

    system = {"role": "system", "content": parts("Be brief.")}
    asked = {"role": "user", "content": [{"type": "image"}, *parts(meta["question"])]}
    text = processor.apply_chat_template([system, asked], add_generation_prompt=True)
    report.check("a system message in parts", text == f"Be brief. USER: <image>\n{meta['question']} ASSISTANT:", repr(text))
    talk = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "A test."}]
    made = processor.tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    answer = [i for i, mask in zip(made["input_ids"], made["assistant_masks"]) if mask]
    report.check("the assistant's tokens", processor.tokenizer.decode(answer).strip() == "A test.<|endoftext|>", f"{len(answer)} of {len(made['input_ids'])}")
    try:
        processor.apply_chat_template([{"role": "tool", "content": "x"}])
        report.check("an unknown role", False, "was accepted")
    except Exception as error:
        report.check("an unknown role", "tool" in str(error), str(error))


def verify(folder, report):
    parity, meta = parity_of(folder)
    shards = sorted(name for name in os.listdir(folder) if name.startswith("model") and name.endswith(".safetensors"))
    with safe_open(os.path.join(folder, shards[0]), framework="pt") as file:
        stored = str(file.get_tensor(next(iter(file.keys()))).dtype)
    print(f"{folder}\n  {len(shards)} file(s) of weights, {stored}; parity: " + ", ".join(f"{k} {list(v.shape)}" for k, v in sorted(parity.items())))
    model, custom = load_model(folder, report)
    for opener in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
        kind = type(opener.from_pretrained(folder, **({"trust_remote_code": True} if custom else {}))).__name__
        report.check(opener.__name__, kind == type(model).__name__, kind)
    compare_logits(model, parity, report)
    compare_greedy(model, parity, report)
    report.check("pixels, first of the batch", torch.equal(parity["pixels"][0], parity["pixel_values"][0]), "the stored picture's")
    for opener in (AutoProcessor, LlavaProcessor):
        processor, inputs = compare_processor(folder, opener, parity, meta, report)
    compare_chat(folder, processor, meta, report)
    out = model.generate(**inputs, max_new_tokens=len(parity["greedy"]), do_sample=False)
    said = processor.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    ours = processor.tokenizer.decode(parity["greedy"], skip_special_tokens=True)
    report.check("from picture to text", said == ours, repr(said))
    generation = GenerationConfig.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder, **({"trust_remote_code": True} if custom else {}))
    ends = {generation.eos_token_id, config.text_config.eos_token_id, processor.tokenizer.eos_token_id}
    report.check("end of text", len(ends) == 1, f"{ends} in generation config, model and tokenizer")
    report.check("vocabulary", len(processor.tokenizer) <= config.text_config.vocab_size, f"{len(processor.tokenizer)} tokens, {config.text_config.vocab_size} rows")
    tied = model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    report.check("head", not tied, "apart from the embeddings")


def main(folders):
    if not folders:
        sys.exit(__doc__)
    torch.manual_seed(0)
    names = {"python": sys.version.split()[0], "transformers": transformers.__version__, "torch": torch.__version__, "tokenizers": tokenizers.__version__, "safetensors": safetensors.__version__, "pillow": PIL.__version__, "numpy": numpy.__version__}
    print(", ".join(f"{name} {version}" for name, version in names.items()))
    report = Report()
    for folder in folders:
        verify(folder, report)
    print("all equal" if report.failed == 0 else f"{report.failed} comparisons failed")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
