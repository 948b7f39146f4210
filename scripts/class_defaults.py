"""Makes test/model/fixtures/class-defaults.json: the defaults of transformers' config classes.

Not needed by the tests, which read what is committed. Run from the repository's root with transformers and torch installed:
python scripts/class_defaults.py. `src/model/ClassDefaults.ts` has the same values, and a test compares the two.
"""

import json
import os

import transformers

OUT = "test/model/fixtures/class-defaults.json"


def values(config, fields):
    return {field: getattr(config, field) for field in fields}


def main():
    phi = transformers.PhiConfig()
    clip = transformers.CLIPVisionConfig()
    llava = transformers.LlavaConfig()
    sizes = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"]
    shared = [*sizes, "attention_dropout", "initializer_range", "layer_norm_eps"]
    vision = ["projection_dim", "image_size", "patch_size"]
    found = {
        "transformers": transformers.__version__,
        "phi": {
            **values(phi, shared),
            **values(phi, ["vocab_size", "num_key_value_heads", "resid_pdrop", "embd_pdrop", "max_position_embeddings"]),
            **values(phi, ["tie_word_embeddings", "qk_layernorm", "bos_token_id", "eos_token_id", "pad_token_id"]),
            "partial_rotary_factor": phi.rope_parameters["partial_rotary_factor"],
            "rope_theta": phi.rope_parameters["rope_theta"],
        },
        "clipVision": {**values(clip, [*shared, *vision, "num_channels"])},
        "llava": values(
            llava,
            [
                "image_token_index",
                "image_seq_length",
                "projector_hidden_act",
                "vision_feature_select_strategy",
                "vision_feature_layer",
                "multimodal_projector_bias",
                "tie_word_embeddings",
            ],
        ),
        "llavaVision": values(llava.vision_config, [*sizes[:4], *vision]),
        "llavaNestedTypes": {
            "text_config": llava.text_config.model_type,
            "vision_config": llava.vision_config.model_type,
        },
    }
    # What the key-value heads' default becomes is the number of heads: null says so.
    assert found["phi"]["num_key_value_heads"] == phi.num_attention_heads
    found["phi"]["num_key_value_heads"] = None
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as file:
        json.dump(found, file, indent=2, sort_keys=True)
        file.write("\n")


main()
