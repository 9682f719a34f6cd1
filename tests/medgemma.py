"""A random checkpoint in MedGemma-4B's own layout with Gemma 3's real tokenizer and template, saved as it is released.

    python -m tests.medgemma DIRECTORY [--layers 4] [--narrow]

`--narrow`: the same vocabulary, template and layer kinds, but layers of 64 and pictures of 128 pixels, for tests.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medinterp.phantom.training.layouts import config_of, layout, processor_of

VOCABULARY = 262_208
"""Rows of the embedding: 63 more than the tokenizer has tokens."""
ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
NARROW: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
}
NARROW_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 128,
    "patch_size": 4,
}


def save_medgemma(directory: Path, *, layers: int = 4, narrow: bool = False, seed: int = 0) -> Path:
    """Save it in bfloat16; the last of the layers is global, where MedGemma's are each sixth.

    The head is the embedding's own, as released: the layers then outweigh the embedding, or a random model would write
    its last token for ever.
    """
    import torch
    from transformers import Gemma3ForConditionalGeneration, GenerationConfig

    from tests.models import real_tokenizer

    told, tokenizer = layout("MedGemma-4B"), real_tokenizer()
    config = config_of(
        told,
        tokenizer,
        vision={"num_hidden_layers": 27, **(NARROW_VISION if narrow else {})},
        **{
            "num_hidden_layers": layers,
            "layer_types": ["f" if k % 6 == 5 or k == layers - 1 else "s" for k in range(layers)],
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 131_072,
            "rope_parameters": ROPE,
            **(NARROW if narrow else {}),
        },
    )
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    ends = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    config.eos_token_id = ends
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            model = Gemma3ForConditionalGeneration(config)
            model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.1)
            model.model.language_model.norm.weight.fill_(3.0)
            for name, weight in model.named_parameters():
                if "language_model" in name and name.endswith(
                    ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")
                ):
                    weight.normal_(5.0, 1.0)
    finally:
        torch.set_default_dtype(before)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        cache_implementation="hybrid",
        do_sample=True,
        top_k=64,
        top_p=0.95,
    )
    if narrow:
        told["processor"] = {"size": {"height": 128, "width": 128}}
    _, processor = processor_of(told, tokenizer, tokenizer.chat_template)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--narrow", action="store_true")
    asked = parser.parse_args()
    print(save_medgemma(asked.directory, layers=asked.layers, narrow=asked.narrow))
