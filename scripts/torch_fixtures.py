"""Makes test/model/pickle/fixtures: checkpoints as torch writes them, their values as safetensors, and hostile pickles.

Not needed by the tests, which read what is committed. Run from the repository's root with torch, transformers and
safetensors installed: python scripts/torch_fixtures.py
"""

import base64
import collections
import io
import json
import os
import pickle
import shutil
import sys

import safetensors.torch
import torch
import transformers

OUT = "test/model/pickle/fixtures"


def contiguous(state):
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def views():
    """Every kind of storage, and tensors that are views of storages that others view too."""
    torch.manual_seed(0)
    matrix = torch.randn(5, 7)
    block = torch.randn(3, 4, 5).to(torch.bfloat16)
    numbers = torch.arange(24, dtype=torch.int64).reshape(4, 6) - 12
    return collections.OrderedDict(
        matrix=matrix,
        transposed=matrix.t(),
        shared=matrix[1:4],
        columns=matrix[:, 2:6:2],
        strided=matrix[::2, ::3],
        element=matrix[2, 3],
        alias=matrix,
        half=torch.randn(3, 3).to(torch.float16),
        half_transposed=torch.randn(3, 5).to(torch.float16).t(),
        bfloat=block,
        permuted=block.permute(2, 0, 1),
        double=torch.randn(2, 3, dtype=torch.float64).t(),
        long=numbers,
        long_transposed=numbers.t(),
        int=torch.arange(5, dtype=torch.int32),
        short=torch.arange(5, dtype=torch.int16).flip(0),
        char=torch.arange(-2, 3, dtype=torch.int8),
        byte=torch.arange(6, dtype=torch.uint8).reshape(2, 3).t(),
        bool=torch.tensor([[True, False], [False, True]]),
        scalar=torch.tensor(2.5),
        empty=torch.empty(0, 4),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        special=torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45]),
        positions=torch.arange(4).expand((1, -1)),
    )


class Reduced:
    """Pickles as a call of `function` with `arguments`, which is what every attack comes down to."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile():
    import builtins
    import functools
    import importlib
    import shutil as trash
    import subprocess

    calls = {
        "os.system": Reduced(os.system, "echo millrace"),
        "builtins.eval": Reduced(builtins.eval, "1 + 1"),
        "builtins.exec": Reduced(builtins.exec, "pass"),
        "builtins.getattr": Reduced(builtins.getattr, Reduced(importlib.import_module, "os"), "system"),
        "builtins.open": Reduced(builtins.open, "/etc/passwd"),
        "subprocess.Popen": Reduced(subprocess.Popen, ["true"]),
        "shutil.rmtree": Reduced(trash.rmtree, "/nowhere"),
        "functools.partial": Reduced(functools.partial, os.system, "true"),
        "torch.load": Reduced(torch.load, "/nowhere"),
        "torch.hub.load": Reduced(torch.hub.load, "a/b", "c"),
        "_io.BytesIO": Reduced(__import__("_io").BytesIO, b"1"),
        "builtins.set": {1, 2},
        "fractions.Fraction": __import__("fractions").Fraction(1, 3),
        "_codecs.encode": Reduced(__import__("_codecs").encode, "a", "latin1"),
        "builtins.complex": 1j,
    }
    cases = []

    class Asked(Exception):
        pass

    class Watch(pickle.Unpickler):
        """Says the first global that is no container; nothing is called before it."""

        def find_class(self, module, name):
            if (module, name) == ("collections", "OrderedDict"):
                return collections.OrderedDict
            raise Asked(f"{module}.{name}")

    def asks(made):
        # Names as they stand in the file: protocols below 3 spell Python 2's.
        try:
            Watch(io.BytesIO(made), fix_imports=False).load()
        except Asked as asked:
            return str(asked)
        return None

    for name, value in calls.items():
        for protocol in range(6):
            nested = collections.OrderedDict(weight=[{"deep": (1, [value])}])
            for where, root in (("alone", value), ("nested", nested)):
                made = pickle.dumps(root, protocol=protocol)
                title = f"{name}, {where}, protocol {protocol}"
                cases.append({"name": title, "asks": asks(made), "pickle": base64.b64encode(made).decode()})
    return cases


def clip():
    torch.manual_seed(1)
    sizes = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2)
    config = transformers.CLIPConfig(
        text_config=dict(sizes, vocab_size=40, max_position_embeddings=9, projection_dim=6, eos_token_id=2),
        vision_config=dict(sizes, image_size=8, patch_size=4, projection_dim=6),
        projection_dim=6,
    )
    return transformers.CLIPModel(config)


def phi():
    torch.manual_seed(2)
    return transformers.PhiForCausalLM(
        transformers.PhiConfig(
            vocab_size=37,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
            partial_rotary_factor=0.5,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def save(folder, model, state, shards):
    """A folder as save_pretrained wrote it before safetensors."""
    path = os.path.join(OUT, folder)
    os.makedirs(path)
    model.config.save_pretrained(path)
    names = list(state)
    if shards == 1:
        torch.save(state, os.path.join(path, "pytorch_model.bin"))
    else:
        files = [f"pytorch_model-{i + 1:05}-of-{shards:05}.bin" for i in range(shards)]
        weight_map = {name: files[i * shards // len(names)] for i, name in enumerate(names)}
        for file in files:
            part = collections.OrderedDict((name, state[name]) for name in names if weight_map[name] == file)
            torch.save(part, os.path.join(path, file))
        total = sum(value.numel() * value.element_size() for value in state.values())
        with open(os.path.join(path, "pytorch_model.bin.index.json"), "w") as out:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, out, indent=2, sort_keys=True)
            out.write("\n")
    safetensors.torch.save_file(contiguous(state), os.path.join(OUT, f"{folder}.safetensors"))


def fused(state, heads):
    """The names and the layout of Phi before its q, k and v were apart, with the table that was saved too."""
    out = collections.OrderedDict()
    for name, value in state.items():
        if ".self_attn.q_proj." in name:
            parts = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            rows = value.shape[0] // heads
            split = [part.reshape(heads, 1, rows, *part.shape[1:]) for part in parts]
            joined = torch.cat(split, dim=1).reshape(3 * value.shape[0], *value.shape[1:])
            out[name.replace("q_proj", "query_key_value")] = joined
        elif ".self_attn.k_proj." not in name and ".self_attn.v_proj." not in name:
            out[name] = value
    out["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.arange(4.0)
    return out


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    state = views()
    for protocol in (2, 3, 4, 5):
        torch.save(state, os.path.join(OUT, f"views-{protocol}.bin"), pickle_protocol=protocol)
    torch.save(state, os.path.join(OUT, "legacy.bin"), _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), os.path.join(OUT, "module.bin"))
    torch.save({"a": torch.ones(1, dtype=torch.uint16)}, os.path.join(OUT, "uint16.bin"))
    torch.save({"a": torch.eye(2).to_sparse()}, os.path.join(OUT, "sparse.bin"))
    safetensors.torch.save_file(contiguous(state), os.path.join(OUT, "views.safetensors"))

    tower = clip()
    beside = collections.OrderedDict(tower.state_dict())
    beside["text_model.embeddings.position_ids"] = torch.arange(9).expand((1, -1))
    beside["vision_model.embeddings.position_ids"] = torch.arange(5).expand((1, -1))
    save("clip", tower, beside, 1)

    language = phi()
    half = collections.OrderedDict((name, value.to(torch.float16)) for name, value in language.state_dict().items())
    save("phi", language, half, 3)
    save("phi-fused", language, fused(half, 2), 1)

    made = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "safetensors": safetensors.__version__,
    }
    with open(os.path.join(OUT, "made-with.json"), "w") as out:
        json.dump(made, out, indent=2)
        out.write("\n")
    with open(os.path.join(OUT, "hostile.json"), "w") as out:
        json.dump(hostile(), out, indent=2)
        out.write("\n")
    for folder, _, names in os.walk(OUT):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o644)


main()
