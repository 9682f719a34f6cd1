"""Tiny random checkpoints of every family (phantom/training/layouts.toml), saved as released ones are. Every number
that a family has is drawn, so that one that is passed over shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medinterp.phantom.training.layouts import LAYOUTS, byte_level, config_of, layout, processor_of

KINDS = tuple(LAYOUTS["kinds"])
"""What there is."""
CELL = 12
"""Pixels at each side of a cell."""
_SENTENCES = (
    "DEVICES: No tube. LUNGS: Small nodule in the left upper zone. No consolidation.",
    "PLEURA: Moderate right pleural effusion. HEART: The heart is enlarged. BONES: No rib fracture.",
)
_TURN = (
    "{% for message in messages %}{{ 'OPEN' + message['role'] + '\\n' }}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ 'IMAGE' }}{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}"
    "{{ 'CLOSE\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'OPENROLE\\n' }}{% endif %}"
)
_ONES = ("layer_scalar", "std_scale", "norm.weight", "norm1.weight", "norm2.weight", "ln1.weight", "ln2.weight")
_NOUGHTS = ("bias", "mm_input_projection_weight", "pos_embedding", "position_embedding_table")


def save_tiny(name: str, directory: Path, seed: int = 0) -> Path:
    """Save a random checkpoint of one of KINDS."""
    import torch
    import transformers

    told = layout(name)
    tokenizer = _tokenizer(LAYOUTS["tokenizers"][told["tokenizer"]])
    config = config_of(told, tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{told['name']}ForConditionalGeneration")(config)
        _draw(model)
    generation_class: Any = transformers.GenerationConfig
    model.generation_config = generation_class(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    for part in (model, tokenizer, *processor_of(told, tokenizer, tokenizer.chat_template)):
        if part is not None:
            part.save_pretrained(directory)
    return directory


def _tokenizer(told: Mapping[str, Any]) -> Any:
    """Of few words; Gemma's add a BOS by themselves, Qwen's have none."""
    opened, closed = told["marks"][:2]
    template = "{{ bos_token }}" + _TURN if told["bos"] else _TURN
    for word, stands in {"OPEN": opened, "CLOSE": closed, "IMAGE": told["image"], "ROLE": told["role"]}.items():
        template = template.replace(word, stands)
    control = ["<pad>", "<eos>", *(["<bos>"] if told["bos"] else []), *told["marks"]]
    named = {"eos_token": closed, "chat_template": template, "extra_special_tokens": told.get("named", {})}
    return byte_level(_SENTENCES, control, 112, bos=told["bos"], **named)


def _draw(model: Any) -> None:
    """Draw what begins as ones and noughts: what is passed over would not show."""
    import torch

    with torch.no_grad():
        for key, tensor in (*model.named_parameters(), *model.named_buffers()):
            if key.endswith(("q_norm.weight", "k_norm.weight")):
                tensor.uniform_(0.3, 0.8)
            elif key.endswith(_ONES):
                tensor.add_(torch.empty_like(tensor).uniform_(-0.4, 0.4))
            elif key.endswith(_NOUGHTS):
                tensor.normal_(std=0.3)
        model.model.language_model.norm.weight.fill_(3.0)  # sharper than uniform
