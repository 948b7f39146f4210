"""Trains the first steps of every stage with PyTorch and transformers, and compares losses and weights with ours.

    npx tsx scripts/export-batches.ts proof --store .millrace
    python scripts/verify_training.py proof

An independent loop: models, loss, gradients, AdamW, schedules, decoding and greedy answers are those of torch,
transformers and Pillow; nothing of this repository is used but the files that `export-batches.ts` wrote. Compared, and
the tolerance past which the script fails:

  loss      of each step: 5e-5
  weights   after the last step, in parts of the distance that AdamW may have moved them (the sum of the learning rates):
            root mean square 1e-3 of every tensor, largest 1e-2. AdamW scales the rounding noise of a gradient that cancels
            up to full steps, so a single weight may differ more than others. Biases of keys are shown and not judged:
            their gradient is zero, and noise alone
  lr        of each step against transformers' schedulers: 1e-12 of the peak; multipliers of whole trainings: 1e-12
  pixels    of every stored picture against Pillow: none may differ
  answers   of the exported checkpoint by `generate`: word for word

Packed conversations are unpacked here, one a row: so that packing is compared with not packing. Needs torch, transformers,
safetensors, pillow. Exit status 1 if anything differs.
"""
import io
import json
import math
import os
import sys
import zipfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The models are small: several threads mostly wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import PIL
import safetensors
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPVisionModel, LlavaConfig, LlavaForConditionalGeneration
from transformers import PhiForCausalLM, get_scheduler
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

LOSS = 5e-5
WEIGHTS = {"root mean square": 1e-3, "largest": 1e-2}
RATE = 1e-12
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Report:
    """Prints each comparison; remembers whether all held."""

    def __init__(self):
        self.failed = 0

    def check(self, what, holds, detail):
        print(f"  {'ok  ' if holds else 'FAIL'}  {what}: {detail}", flush=True)
        self.failed += not holds


# ---- models


def language_model(folder):
    return PhiForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def state_of(folder):
    """Weights of a fold's checkpoint by our names."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(folder, name)))
    return {name[len("weights/"):]: t for name, t in tensors.items() if name.startswith("weights/")}


def llava_model(stage, folder):
    """A LLaVA of transformers from the stored language model, tower, and the projector that the stage starts from."""
    phi = language_model(stage["languageModel"])
    tower = CLIPVisionModel.from_pretrained(stage["vision"], dtype=torch.float32)
    image = json.load(open(tokenizer_file(stage["tokenizer"])))
    image_id = next(t["id"] for t in image["added_tokens"] if t["content"] == "<image>")
    config = LlavaConfig(
        vision_config=tower.config, text_config=phi.config, image_token_index=image_id, image_token_id=image_id,
        projector_hidden_act="gelu", vision_feature_layer=stage["featureLayer"], vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    model.model.language_model.load_state_dict(phi.model.state_dict())
    model.lm_head.weight.data.copy_(phi.lm_head.weight)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    start = state_of(os.path.join(folder, "before"))
    model.model.multi_modal_projector.load_state_dict(
        {name[len("projector."):]: t for name, t in start.items() if name.startswith("projector.")}
    )
    return model


def tokenizer_file(path):
    return os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path


def our_name(name, is_llava):
    """The name that the stored weights have for a parameter of transformers."""
    if not is_llava:
        return name
    for theirs, ours in (
        ("model.language_model.", "language.model."),
        ("lm_head.", "language.lm_head."),
        ("model.multi_modal_projector.", "projector."),
        ("model.vision_tower.vision_model.", "vision."),
        ("model.vision_tower.", "vision."),
    ):
        if name.startswith(theirs):
            return ours + name[len(theirs):]
    return name


# ---- batches


def unpacked(ids, labels, segments):
    """Every segment of packed rows as a row of its own, padded on the right: ids, labels, mask."""
    rows = []
    for row in range(ids.shape[0]):
        for segment in [s for s in segments[row].unique().tolist() if s > 0]:
            seen = segments[row] == segment
            rows.append((ids[row][seen], labels[row][seen]))
    longest = max(len(part) for part, _ in rows)
    out = torch.zeros(len(rows), longest, dtype=torch.long)
    wanted = torch.full((len(rows), longest), -100, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, (part, label) in enumerate(rows):
        out[i, : len(part)] = part.long()
        wanted[i, : len(part)] = label.long()
        mask[i, : len(part)] = 1
    return out, wanted, mask


def normalised(pixels_u8):
    mean = torch.tensor(OPENAI_CLIP_MEAN, dtype=torch.float32).view(1, 3, 1, 1)
    std = torch.tensor(OPENAI_CLIP_STD, dtype=torch.float32).view(1, 3, 1, 1)
    return (pixels_u8.permute(0, 3, 1, 2).float() / 255 - mean) / std


def summed_loss(model, ids, labels, mask, pixels):
    more = {} if pixels is None else {"pixel_values": normalised(pixels)}
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **more).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]).float(), labels[:, 1:].reshape(-1), ignore_index=-100, reduction="sum"
    )


def micro_batches(batches, step, count):
    for micro in range(count):
        prefix = f"{step}/{micro}/"
        ids, labels, mask = unpacked(*(batches[prefix + part] for part in ("ids", "labels", "segments")))
        yield ids, labels, mask, batches.get(prefix + "pixels")


# ---- training


def scheduler_of(optimiser, decay, warmup_ratio, steps):
    name = {"constant": "constant_with_warmup"}.get(decay, decay)
    # TrainingArguments.get_warmup_steps, which wants accelerate to be installed.
    warmup = math.ceil(steps * warmup_ratio)
    return get_scheduler(name, optimiser, num_warmup_steps=warmup, num_training_steps=steps)


def optimiser_of(trained, settings):
    """AdamW as transformers' Trainer sets it up: no decay of biases and norms."""
    decayed = [p for _, p in trained if p.ndim >= 2]
    others = [p for _, p in trained if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": settings["weightDecay"]}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=settings["eps"]
    )


def compare_weights(report, trained, is_llava, folder, moved):
    before, after = state_of(os.path.join(folder, "before")), state_of(os.path.join(folder, "after"))
    names = {our_name(name, is_llava): p for name, p in trained}
    report.check("trained", sorted(names) == sorted(after), f"{len(after)} tensors, {sum(t.numel() for t in after.values()):,} weights")
    differences = {name: (names[name].detach() - after[name]).abs() for name in after if name in names}
    keys = [name for name in differences if name.endswith("k_proj.bias")]
    change = max((after[name] - before[name]).abs().max().item() for name in after if name not in keys)
    for kind, measure in (("root mean square", lambda d: d.square().mean().sqrt().item()), ("largest", lambda d: d.max().item())):
        judged = {name: measure(d) for name, d in differences.items() if name not in keys}
        worst, limit = max(judged, key=judged.get), WEIGHTS[kind] * moved
        note = f"; biases of keys {max(measure(differences[k]) for k in keys):.1e}, not judged" if keys else ""
        report.check(f"weights, {kind}", judged[worst] <= limit, f"{judged[worst]:.1e} of {worst}, limit {limit:.1e}, largest change {change:.2f}{note}")


def train(report, stage, folder):
    settings, is_llava = stage["settings"], stage["vision"] is not None
    print(f"{stage['name']}: {len(stage['losses'])} of {stage['steps']} steps of {stage['node']}, batch {settings['batch']}, "
          f"AdamW {settings['beta1']} {settings['beta2']} {settings['eps']}, weight decay {settings['weightDecay']}, clip {settings['maxGradNorm']}, {settings['decay']}")
    batches = load_file(os.path.join(folder, "batches.safetensors"))
    model = llava_model(stage, folder) if is_llava else language_model(stage["languageModel"])
    start = state_of(os.path.join(folder, "before"))
    trained = []
    for name, p in model.named_parameters():
        p.requires_grad_(our_name(name, is_llava) in start)
        if p.requires_grad:
            trained.append((name, p))
    equal = all(torch.equal(p.detach(), start[our_name(name, is_llava)]) for name, p in trained)
    report.check("start", equal and len(trained) == len(start), f"{len(start)} tensors equal to the stored models'")
    optimiser = optimiser_of(trained, settings)
    scheduler = scheduler_of(optimiser, settings["decay"], settings["warmupRatio"], stage["steps"])
    worst, rates, tokens_seen, pictures = 0.0, 0.0, 0, 0
    for step, (wanted, micros) in enumerate(zip(stage["losses"], stage["micros"])):
        rates = max(rates, abs(scheduler.get_last_lr()[0] - stage["lr"][step]))
        parts = list(micro_batches(batches, step, micros))
        tokens = sum(int((labels[:, 1:] != -100).sum()) for _, labels, _, _ in parts)
        # Zeros, not None: as with LLaVA's dummy picture, a batch of text alone still moves the projector's moments.
        for _, p in trained:
            p.grad = torch.zeros_like(p)
        total = 0.0
        for ids, labels, mask, pixels in parts:
            loss = summed_loss(model, ids, labels, mask, pixels) / tokens
            loss.backward()
            total += loss.item()
            pictures += 0 if pixels is None else len(pixels)
        if settings["maxGradNorm"] is not None:
            torch.nn.utils.clip_grad_norm_([p for _, p in trained], settings["maxGradNorm"])
        optimiser.step()
        scheduler.step()
        tokens_seen += tokens
        worst = max(worst, abs(total - wanted))
    seen = f", {pictures:,} pictures" if pictures else ""
    report.check("loss", worst <= LOSS, f"{len(stage['losses'])} steps, {tokens_seen:,} tokens{seen}, {stage['losses'][0]:.4f} to {stage['losses'][-1]:.4f}, largest difference {worst:.1e}")
    report.check("lr", rates <= RATE * settings["lr"] + 1e-18, f"largest difference {rates:.1e}")
    compare_weights(report, trained, is_llava, folder, sum(stage["lr"]))


# ---- schedules, pixels, answers


def compare_schedules(report, schedules):
    print("schedules")
    worst, count = 0.0, 0
    for one in schedules:
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = scheduler_of(optimiser, one["decay"], one["warmupRatio"], one["totalSteps"])
        multiplier = scheduler.lr_lambdas[0]
        for step, ours in enumerate(one["multipliers"]):
            worst = max(worst, abs(multiplier(step) - ours))
            count += 1
    report.check("multipliers", worst <= RATE, f"{len(schedules)} trainings, {count:,} steps, largest difference {worst:.1e}")


def opener_of(path):
    if os.path.isdir(path):
        return lambda name: open(os.path.join(path, name), "rb").read()
    archive = zipfile.ZipFile(path)
    return archive.read


def prepared(picture, size, fit):
    """LLaVA's preprocessing: crop (CLIP's own), or pad to a square with CLIP's mean colour."""
    picture = picture.convert("RGB")
    if fit == "pad":
        width, height = picture.size
        if width != height:
            side = max(width, height)
            square = Image.new("RGB", (side, side), tuple(int(m * 255) for m in OPENAI_CLIP_MEAN))
            square.paste(picture, ((side - width) // 2, (side - height) // 2))
            picture = square
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    other = int(size * long / short)
    picture = picture.resize((size, other) if width <= height else (other, size), Image.Resampling.BICUBIC)
    left, top = (picture.size[0] - size) // 2, (picture.size[1] - size) // 2
    return picture.crop((left, top, left + size, top + size))


def compare_pixels(report, folder, pictures):
    print("pixels")
    for one in pictures:
        stored = load_file(os.path.join(folder, one["file"]))["pixels"]
        read = opener_of(one["images"])
        differing = 0
        for name, ours in zip(one["names"], stored):
            made = prepared(Image.open(io.BytesIO(read(one["folder"] + name))), one["size"], one["fit"])
            differing += made.tobytes() != bytes(ours.numpy().tobytes())
        report.check(one["node"], differing == 0 and len(one["names"]) == len(stored), f"{len(stored)} pictures, {one['fit']}, {differing} differ")


def compare_answers(report, folder, answered, pictures):
    print("answers")
    if answered is None:
        report.check("answers", False, "not in the store; let the sample run to its end and export again")
        return
    checkpoint = answered["checkpoint"]
    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    template = open(os.path.join(checkpoint, "chat_template.jinja")).read()
    stored = next(one for one in pictures if one["node"] == answered["pictures"])
    pixels = load_file(os.path.join(folder, stored["file"]))["pixels"]
    place = {}
    for i, name in enumerate(stored["names"]):
        place.setdefault(name, i)
    config = model.config.vision_config
    patches = (config.image_size // config.patch_size) ** 2
    image = tokenizer.convert_ids_to_tokens(model.config.image_token_id)

    def prompt(question):
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = tokenizer.apply_chat_template([{"role": "user", "content": content}], chat_template=template, add_generation_prompt=True, tokenize=False)
        return tokenizer(text.replace(image, image * patches), return_tensors="pt")["input_ids"][0]

    groups = {}
    for row in answered["answers"]:
        ids = prompt(row["question"])
        groups.setdefault(len(ids), []).append((ids, row))
    equal, count, example = 0, 0, None
    for rows in groups.values():
        for at in range(0, len(rows), 50):
            some = rows[at : at + 50]
            ids = torch.stack([one for one, _ in some])
            shown = normalised(torch.stack([pixels[place[row["image"]]] for _, row in some]))
            with torch.no_grad():
                made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=shown, max_new_tokens=answered["maxNewTokens"], do_sample=False)
            for (_, row), out in zip(some, made):
                said = tokenizer.decode(out[ids.shape[1] :], skip_special_tokens=True).strip()
                count += 1
                equal += said == row["answer"]
                if said != row["answer"] and example is None:
                    example = f"; {row['id']}: {said!r}, ours {row['answer']!r}"
    report.check("answers", equal == count and count > 0, f"{equal} of {count} word for word, {len({r['answer'] for r in answered['answers']})} different ones{example or ''}")


def main(folder):
    names = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__, "safetensors": safetensors.__version__, "pillow": PIL.__version__}
    print(", ".join(f"{name} {version}" for name, version in names.items()))
    torch.manual_seed(0)
    proof = json.load(open(os.path.join(folder, "proof.json")))
    report = Report()
    compare_schedules(report, proof["schedules"])
    compare_pixels(report, folder, proof["pictures"])
    for stage in proof["stages"]:
        train(report, {"vision": None, **stage}, os.path.join(folder, stage["name"]))
    compare_answers(report, folder, proof["answered"], proof["pictures"])
    print("all within tolerance" if report.failed == 0 else f"{report.failed} comparisons failed")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
